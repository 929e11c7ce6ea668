"""What every prior has to offer."""

from abc import ABC, abstractmethod
from typing import ClassVar

import pyro.distributions as dist
from torch import Tensor, nn

from ..pieces import Context as Context
from ..pieces import Entry


class Prior(nn.Module, ABC):
    """A distribution over one example's latent. Its parameters and buffers move with the model.

    A prior of its own is a small class:

    >>> import pyro.distributions as dist
    >>> from explainaway.models import Prior
    >>> class Cauchy(Prior):
    ...     def distribution(self):
    ...         return dist.Cauchy(0.0, 1.0).expand([5]).to_event(1)
    """

    entry: ClassVar[Entry]
    """Its line of the catalogue; a prior of one's own needs none."""

    @abstractmethod
    def distribution(self) -> dist.TorchDistribution:
        """Return the prior of one example: no batch shape, the latent's shape as event shape."""

    def given(self, context: Context | None) -> dist.TorchDistribution:
        """Return the prior of the examples that a context belongs to.

        Parameters
        ----------
        context : mapping of Tensor, optional
            Example-first tensors (labels, lengths).

        Returns
        -------
        Distribution
            Batch shape () or (n,), the latent's shape as event shape.
        """
        return self.distribution()

    def transformed(self, latents: Tensor, context: Context | None) -> Tensor:
        """Return the latents as the network sees them, made of the chain's coordinates.

        Scaled, or with what the context knows of them in its place; by default as they are. What
        Stan calls transformed parameters: no density is asked of the result.
        """
        return latents

    def log_normaliser(self, num_draws: int, seed: int) -> Tensor | None:
        """Return a scalar with the gradient of the log normalising constant, or None.

        A prior that is known up to a constant returns the mean of its unnormalised log density
        at ``num_draws`` draws of its own, ``∇ log Z = E[∇ log p̃(z)]``; the loop adds its gradient
        to that of θ. None where :meth:`distribution` is normalised.
        """
        return None

    def starts(self, noise: Tensor) -> Tensor:
        """Return where chains start, from standard normal noise in unconstrained space.

        By default there. A prior that is spread otherwise makes draws of its own of it.

        Parameters
        ----------
        noise : Tensor, (n, k)
            Flat; k is a multiple of one latent's size.

        Returns
        -------
        Tensor
            Of the same shape.
        """
        return noise

    def log_volume(self) -> Tensor | None:
        """Return ``log |det L|`` of a learned map ``z = m + L u`` from white latents, or None.

        The density of u is that of z times ``|det L|``. A prior whose scale follows the chains
        returns it, so that losses are comparable however large the latents are: -log p(y, z) less
        it is -log p(y, u).
        """
        return None

    def expect_examples(self, num_examples: int) -> None:
        """Be told before learning how many examples there are; by default it does not matter."""

    @property
    def has_closed_form(self) -> bool:
        """Whether :meth:`closed_form_step` learns something."""
        return False

    def closed_form_step(self, latents: Tensor, context: Context | None = None) -> None:
        """Learn from a batch of posterior latents (n, ...) what needs no gradient."""
