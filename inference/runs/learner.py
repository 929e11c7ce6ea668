"""θ and how it is learned: the second half of an iteration."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..potentials.checks import check_optimizer, check_parameters, leaves_of
from ..potentials.potential import Potential
from ..potentials.threads import turn_of
from ..potentials.trace import evaluation_mode, seeded
from ..relative_adam import RelativeAdam
from .averaging import ParameterAverage
from .score_test import ScoreTest
from .travel import Travel
from .weight_prior import Deviations, precisions, with_prior

OptimizerLike = torch.optim.Optimizer | Callable[[list[Tensor]], torch.optim.Optimizer]
SchedulerLike = Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler]


@dataclass
class Learner:
    """What one step of stochastic approximation takes.

    Attributes
    ----------
    parameters : dict of Tensor
        θ by name.
    leaves : list of Tensor
        Those that the loss depends on: what gradients are taken of.
    optimizer, scheduler
        Of θ.
    score_test : ScoreTest
        Whether the loss has a slope.
    deviations : mapping
        Standard deviations of normal priors, by patterns of the parameters' names.
    average : ParameterAverage
        Of the iterates.
    averages : bool
        Whether iterates are added to it.
    travel : Travel
        Where θ goes.
    rates : list of float
        Learning rate of each of the optimizer's groups at the start.
    """

    parameters: Mapping[str, Tensor]
    leaves: list[Tensor]
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler | None
    score_test: ScoreTest
    deviations: Deviations
    average: ParameterAverage = field(default_factory=ParameterAverage)
    averages: bool = False
    travel: Travel = field(default_factory=Travel)
    rates: list[Any] = field(init=False)
    precision: dict[int, float] = field(init=False)

    def __post_init__(self) -> None:
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self._set_precision()

    @staticmethod
    def made(
        potential: Potential,
        position: Float[Tensor, "n d"],
        num_examples: int,
        parameters: Mapping[str, Tensor],
        optimizer: OptimizerLike | None,
        scheduler: SchedulerLike | None,
        deviations: Deviations,
    ) -> "Learner":
        """Return the learner of these parameters, from what the user gave.

        ``potential`` is of a batch, ``num_examples`` are all that are learned from.

        Raises
        ------
        ValueError
            If the optimizer does not hold what the loss at ``position`` depends on, or a prior is
            of no parameter.
        """
        with evaluation_mode(potential.model):
            loss = potential.loss(position)
        check_parameters(loss, parameters)
        like = optimizer or RelativeAdam
        if not isinstance(like, torch.optim.Optimizer):
            like = like(list(parameters.values()))
        check_optimizer(loss, parameters, like)
        made = None if scheduler is None else scheduler(like)
        score_test = ScoreTest(num_examples)
        return Learner(parameters, leaves_of(loss), like, made, score_test, deviations)

    def look(self, potential: Potential, position: Float[Tensor, "n d"]) -> None:
        """See which parameters a callback has set free: they are learned from now on.

        Raises
        ------
        ValueError
            If the optimizer does not hold them.
        """
        model = potential.model
        if not isinstance(model, nn.Module):
            return
        free = {name: p for name, p in model.named_parameters() if p.requires_grad}
        known = {id(p) for p in (*self.parameters.values(), *self.leaves)}
        if all(id(p) in known for p in free.values()):
            return
        self.parameters = {**self.parameters, **free}
        self._set_precision()
        with evaluation_mode(model):
            loss = potential.loss(position)
        check_optimizer(loss, self.parameters, self.optimizer)
        found = {id(leaf): leaf for leaf in (*self.leaves, *leaves_of(loss))}
        self.leaves = list(found.values())

    def _set_precision(self) -> None:
        num_examples = self.score_test.num_examples
        self.precision = precisions(self.deviations, self.parameters, num_examples)

    def set_rate(self, share: float) -> None:
        """Let the optimizer learn at this share of the rates that it was given."""
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=False):
            group["lr"] = share * rate

    def end_epoch(self, metric: float) -> None:
        """Let the scheduler step, with what is to become small where it asks for that."""
        if isinstance(self.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            self.scheduler.step(metric)
        elif self.scheduler is not None:
            self.scheduler.step()

    def step(
        self, potential: Potential, position: Float[Tensor, "rows d"], num_examples: int, seed: int
    ) -> Float[Tensor, ""]:
        """Make one step of θ at sampled latents and return the loss there.

        Parameters
        ----------
        potential : Potential
            Of the batch, a row for each chain.
        position : Tensor, (rows, d)
            The latents.
        num_examples : int
            Draws for a normalising constant, where the model has one.
        seed : int
            Of what is random in it, such as dropout.
        """
        with turn_of(potential.model):
            return self._stepped(potential, position, num_examples, seed)

    def _stepped(
        self, potential: Potential, position: Float[Tensor, "rows d"], num_examples: int, seed: int
    ) -> Float[Tensor, ""]:
        self.optimizer.zero_grad(set_to_none=True)
        leaves = [leaf for leaf in self.leaves if leaf.requires_grad]
        with seeded(seed):
            loss, gradients = potential.loss_and_gradients(position, leaves)
        gradients = _with_normaliser(potential.model, leaves, gradients, num_examples, seed)
        gradients = with_prior(gradients, leaves, self.precision)
        self.travel.add(gradients, num_examples)
        self.score_test.add(gradients, num_examples)
        for leaf, gradient in zip(leaves, gradients, strict=True):
            if gradient.stride() != leaf.stride():
                # As autograd would leave it: an optimizer is slow on a transposed gradient.
                gradient = torch.empty_like(leaf).copy_(gradient)
            leaf.grad = gradient
        self.optimizer.step()
        _closed_form_step(potential, position)
        if self.averages:
            self.average.add(self.parameters)
        return loss


def _with_normaliser(
    model: Any, leaves: list[Tensor], gradients: list[Tensor], num_draws: int, seed: int
) -> list[Tensor]:
    """Add the gradient of a normalising constant that the model's energy leaves out."""
    log_normaliser = getattr(model, "log_normaliser", None)
    value = None if log_normaliser is None else log_normaliser(num_draws, seed)
    if value is None:
        return gradients
    more = torch.autograd.grad(value, leaves, allow_unused=True)
    return [g if m is None else g + m for g, m in zip(gradients, more, strict=True)]


def _closed_form_step(potential: Potential, position: Tensor) -> None:
    """Let the model set what has a closed form given the latents."""
    model: Any = potential.model
    if getattr(model, "has_closed_form", False):
        data = potential.data
        model.closed_form_step(potential.unflatten(position), *data.args, **data.kwargs)
