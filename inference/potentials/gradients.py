"""Work that needs gradients has them, whatever its caller has switched off."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def gradients(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function run with gradients under its caller's ``no_grad`` or ``inference_mode``."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.inference_mode(False), torch.enable_grad():
            return function(*args, **kwargs)

    return run
