"""Latent sequences that move by a learned, non-linear transition."""

from torch import Tensor, nn

from ..arguments import check_count
from ..distributions.recurrent_chain import RecurrentChain
from ..pieces import Entry
from .sequence import SequencePrior


class Recurrent(SequencePrior):
    """Latent sequences with a GRU transition, ``z_t ~ N(μ(h_t), σ(h_t)²)``, learned.

    The GRU's memory ``h_t`` holds the latents before t; it is bounded, and so are the means.
    Learning starts from independent standard normal latents.

    Parameters
    ----------
    dim : int
        Components of a latent, d.
    length : int
        Latents of a sequence, T.
    hidden : int, default 32
        Units of the GRU.

    Raises
    ------
    ValueError
        If a size is not a positive integer.

    References
    ----------
    Cho et al., "Learning phrase representations using RNN encoder-decoder" (2014) for the GRU;
    Xie, Gao, Zheng, Zhu & Wu, "Learning dynamic generator model by alternating back-propagation
    through time" (AAAI 2019) for a non-linear transition.
    """

    entry = Entry(
        "z_t ~ N(μ(h_t), σ(h_t)²), h_t = GRU(z_{t-1}, h_{t-1})",
        "Xie et al. (2019)",
        "Recurrent(2, 3, hidden=4)",
    )

    def __init__(self, dim: int, length: int, hidden: int = 32) -> None:
        super().__init__(dim, length)
        check_count("hidden", hidden)
        self.recurrence = nn.GRU(dim, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 2 * dim)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def distribution(self) -> RecurrentChain:
        """Return the distribution of one sequence, event shape (T, d)."""
        return RecurrentChain(self.recurrence, self.head, self.length)

    def continued(self, latents: Tensor, num_steps: int) -> Tensor:
        """Draw what follows given sequences (..., T, d)."""
        return self.distribution().continued(latents, num_steps)
