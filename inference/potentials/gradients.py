"""Work that needs gradients has them, whatever its caller has switched off."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def gradients(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function run with gradients under its caller's ``no_grad`` or ``inference_mode``."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.inference_mode(False), torch.enable_grad():
            # Tensors made under inference mode are no part of a graph of gradients, copies are.
            plain = [a.clone() if isinstance(a, Tensor) and a.is_inference() else a for a in args]
            return function(*plain, **kwargs)  # type: ignore[arg-type]

    return run
