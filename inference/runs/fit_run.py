"""A fit on its way: everything of it that changes."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..potentials.potential import Potential
from ..speed import Chosen
from .chains import Chains
from .fit_record import Progress
from .held_out import HeldOut
from .learner import Learner
from .stretches import Stretches


@dataclass
class FitRun:
    """A fit on its way, made whole when it starts.

    Attributes
    ----------
    potential : Potential
        Of the first batch, evaluated as chosen; a batch's own is made from it.
    chains : Chains
        Of all examples.
    learner : Learner
        Of θ.
    chosen : Chosen
        Of compiling and arithmetic.
    seed : int
        Of everything that is random.
    batch_size : int
        Examples of a batch.
    stretches : Stretches
        What is learned from when, and what is kept of it.
    held_out : HeldOut, optional
        Examples that are only looked at.
    joins_last : bool
        Whether a last batch of one example joins the one before it, as batch normalisation needs.
    progress : Progress
        How far it has come.
    settings : dict of Tensor
        What the model holds beside what is learned, as it was at the start.
    forms : set
        Of batches that the model has checked.
    """

    potential: Potential
    chains: Chains
    learner: Learner
    chosen: Chosen
    seed: int
    batch_size: int
    stretches: Stretches
    held_out: HeldOut | None = None
    joins_last: bool = False
    progress: Progress = field(default_factory=Progress)
    settings: dict[str, Tensor] = field(default_factory=dict)
    forms: set[Any] = field(default_factory=set)

    @property
    def seed_of_learning(self) -> int:
        """What is random in the next step of θ depends on the seed and the iteration alone."""
        return self.seed + 1_000_003 * (self.progress.iteration + 1)
