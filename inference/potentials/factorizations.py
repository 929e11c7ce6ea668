"""Factorisations that fail for some examples: those alone have an infinite energy."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

LinAlgError: type[RuntimeError] = torch.linalg.LinAlgError  # type: ignore[attr-defined]
"""What torch raises when a batch holds a matrix without a factor."""

_CHOLESKY = (torch.linalg.cholesky, torch.cholesky, Tensor.cholesky)


class FailedFactorsAreNaN(TorchFunctionMode):
    """Give a matrix without a Cholesky factor one of NaN, and the others of its batch theirs."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run a function of torch, Cholesky's without its error."""
        kwargs = dict(kwargs or {})
        if func not in _CHOLESKY or kwargs.get("out") is not None:
            return func(*args, **kwargs)
        factor, info = torch.linalg.cholesky_ex(*args, **kwargs)
        return torch.where(info[..., None, None] > 0, torch.nan, factor)
