"""Missing cells."""

import math

import pyro.distributions as dist
import torch
from torch import Tensor

from ..pieces import Entry
from .base import Context
from .wrapper import Wrapper


class Masked(Wrapper):
    """Let cells be missing: NaN means not observed, and so does a false entry of ``mask``.

    What is missing is marginalised out exactly; it is filled before any density is evaluated, so
    that no NaN reaches a gradient (pytorch/pytorch#64305).

    Parameters
    ----------
    base : Observation or callable
        What the observed cells are.
    """

    entry = Entry(
        "p(observed cells), the hidden ones integrated out",
        "Han et al. (2017), section 3.3",
        "Masked(Gaussian(0.3))",
    )

    def prepare(self, y: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return y with its missing cells filled, and the mask of the observed ones.

        Raises
        ------
        TypeError
            If ``mask`` is not boolean.
        ValueError
            If its shape is not that of y.
        """
        # Where y is a number: NaN alone differs from itself.
        observed, fill = y.eq(y), self.base.fill_value
        if mask is None and isinstance(fill, float):
            # Many times as fast as a choice between two tensors, and the same numbers.
            return y.nan_to_num(nan=fill, posinf=math.inf, neginf=-math.inf), observed
        if mask is not None:
            if mask.dtype != torch.bool:
                raise TypeError(
                    f"mask must be boolean, true where y is observed, got dtype {mask.dtype}. "
                    "Weights between 0 and 1 are a linear operator, not a mask: the place for "
                    "them is an observation that applies it (Sensed)"
                )
            if mask.shape != y.shape:
                raise ValueError(
                    f"mask must have the shape of y, {tuple(y.shape)}, got {tuple(mask.shape)}"
                )
            observed = observed & mask
        return torch.where(observed, y, fill), observed

    def distribution(
        self, output: Tensor, *, mask: Tensor | None = None, context: Context | None = None
    ) -> dist.TorchDistribution:
        """Return the base's distribution of the observed cells."""
        return self.base.distribution(output, mask=mask, context=context)

    def reconstruct(self, output: Tensor, context: Context | None = None) -> Tensor:
        """Return the base's estimate of every cell, observed or not."""
        return self.base.reconstruct(output, context)

    def complete(
        self,
        output: Tensor,
        y: Tensor,
        mask: Tensor | None = None,
        context: Context | None = None,
    ) -> Tensor:
        """Return y with its hidden cells as the base estimates them."""
        return self.base.complete(output, y, mask, context)

    def impute(
        self,
        output: Tensor,
        y: Tensor,
        mask: Tensor | None = None,
        context: Context | None = None,
    ) -> Tensor:
        """Return y with its hidden cells drawn as the base draws them."""
        return self.base.impute(output, y, mask, context)

    def closed_form_step(
        self,
        output: Tensor,
        y: Tensor,
        mask: Tensor | None = None,
        context: Context | None = None,
    ) -> None:
        """Let the base learn from the observed cells."""
        self.base.closed_form_step(output, y, mask, context)
