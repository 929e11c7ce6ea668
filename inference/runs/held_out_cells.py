"""Held-out cells: observed cells that the likelihood does not see, for as long as they are held."""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from ..arguments import plain_number
from ..potentials.data import ExampleData
from ..potentials.potential import Potential
from ..potentials.trace import Model, evaluation_mode
from .best_parameters import BestParameters
from .chains import Chains
from .held_out_choice import chosen_cells
from .held_out_gain import QUIET, HeldOutGain
from .held_out_score import HeldOutScore
from .last_draws import latents_at
from .learner import Learner
from .running_means import parts_of

HoldOut = float | Literal["auto"] | None
"""A share of the observed cells, one that is chosen by their number, or nothing."""

LEAST_SHARE, LARGEST_SHARE = 0.02, 0.05
ENOUGH_CELLS = 2000
"""Held-out cells after which the share shrinks; observed cells from which on any are held out."""

WINDOW = 5
"""Epochs whose draws make one predictive density."""

STANDARD_ERRORS = 2.5
"""By how many of them the density must be worse than its best."""

IMPOSSIBLE = 25.0
"""Nats that a cell cannot be worse by where the density is right: that has a chance of e^-25."""

IN_A_ROW = 3
"""Windows that must be worse before learning ends."""

NAMES = ("y", "mask", "context")
"""Arguments of a model that has cells, in their order."""

LARGEST = 2.0
"""Nats of a cell's difference that count, where few cells must not hide what the others say."""

MOST_NATS = 1e4
"""What a cell counts that cannot be, so that differences stay numbers."""


class HeldOutCells:
    """Some observed cells that are not learned from, and how well they are predicted.

    After every epoch the density of each held-out cell is evaluated where the chains stand; its
    predictive density is the mean over the draws of a window of epochs.

    Parameters
    ----------
    model : callable
        Has a ``data_cells``, as a :class:`GeneratorModel` has.
    examples : ExampleData
        All data.
    held : bool Tensor, (n, ...)
        The cells.
    window : int
        Epochs of a window.

    Attributes
    ----------
    split : str
        Which cells they are.
    is_released : bool
        Whether all cells are learned from by now.
    score : HeldOutScore or None
        Of the last window; after a return to the best parameters, theirs.
    wants_to_end : bool
        Whether the parameters have got worse than their best, so that learning at this rate should
        end.
    """

    def __init__(
        self, model: Model, examples: ExampleData, held: Bool[Tensor, "n ..."], window: int
    ) -> None:
        self._model: Any = model
        self._held, self._num_held = held, int(held.sum())
        self._window = window
        self._kept = self._without(examples, held)
        same = self._kept.kwargs.keys() == examples.kwargs.keys()
        self._all = examples if same else self._without(examples, torch.zeros_like(held))
        self.split = hashlib.sha256(held.cpu().numpy().tobytes()).hexdigest()[:16]
        self._log_sum: Tensor | None = None
        self._num_draws = 0
        self._epochs = 0
        self._num_worse = 0
        self._best, self._middle = BestParameters(), BestParameters()
        self._best_score: HeldOutScore | None = None
        self._gain = HeldOutGain()
        self._let_go: Callable[[], None] | None = None
        self.is_released = False
        self.score: HeldOutScore | None = None

    @property
    def holds_noise(self) -> bool:
        """Whether the noise stays as it is."""
        return self._let_go is not None

    @property
    def data(self) -> ExampleData:
        """What is learned from now."""
        return self._all if self.is_released else self._kept

    @property
    def wants_to_end(self) -> bool:
        """Whether enough windows in a row were worse than the best by more than chance."""
        return self._num_worse >= IN_A_ROW

    @property
    def gains_nothing(self) -> bool:
        """Whether for long no span of windows was better than the one before."""
        return self._gain.quiet >= QUIET

    def _without(self, examples: ExampleData, hidden: Tensor) -> ExampleData:
        given = self._model.data_cells.without(hidden, *examples.args, **examples.kwargs)
        # As they were given, by position or by name, so that nothing else of the data changes.
        names = NAMES[: len(examples.args)]
        args = tuple(given.pop(name, None) for name in names)
        return ExampleData(args, {**examples.kwargs, **given}, examples.num_examples)

    def end_epoch(self, potential: Potential, chains: Chains, learner: Learner) -> dict[str, float]:
        """Take in where the chains are after an epoch; return what the history keeps."""
        num_held = 0 if self.is_released else self._num_held
        if num_held:
            self._add(potential, chains)
            self._epochs += 1
            if self._epochs == (self._window + 1) // 2:
                # In the middle: what the window's mean density is that of.
                self._middle.keep(self._model, learner)
            if self._epochs == self._window:
                self._end_window()
        mean, error = math.nan, math.nan
        if self.score is not None and num_held:
            mean, error = self.score.per_cell()
        return {"held_out_nats": mean, "held_out_error": error, "num_held_out": float(num_held)}

    def _add(self, potential: Potential, chains: Chains) -> None:
        found = torch.cat([*self._densities(potential, chains)], 1)
        log_sum = found.logsumexp(0)
        before = self._log_sum
        self._log_sum = log_sum if before is None else torch.logaddexp(before, log_sum)
        self._num_draws += len(found)

    def _densities(self, potential: Potential, chains: Chains) -> Iterator[Tensor]:
        """Yield log densities (chains, units) in the order of the held-out cells."""
        cells, c = self._model.data_cells, chains.num_chains
        with evaluation_mode(self._model):
            for part in parts_of(self._all, self._held[0].numel() * c):
                held = self._held[part]
                data, latents = latents_at(chains, potential, self._all, part)
                repeated = held.repeat(c, *[1] * (held.dim() - 1))
                density = cells.log_density(repeated, latents, *data.args, **data.kwargs)
                density = density.reshape(c, len(part), *density.shape[1:])
                by_cell = density.shape[1:] == held.shape
                yield density[:, held if by_cell else held.flatten(1).any(1)].double()

    def _scored(self) -> HeldOutScore:
        assert self._log_sum is not None
        nats = (math.log(self._num_draws) - self._log_sum).clamp(max=MOST_NATS).cpu()
        held = self._held.flatten(1).cpu()
        example = held.nonzero()[:, 0]
        if len(example) != len(nats):
            counts = held.sum(1)
            example = counts.nonzero()[:, 0]
            return HeldOutScore(nats, counts[example].to(nats), example, self.split)
        return HeldOutScore(nats, torch.ones_like(nats), example, self.split)

    def _end_window(self) -> None:
        self.score = self._scored()
        self._gain.add(self.score)
        self._log_sum, self._num_draws, self._epochs = None, 0, 0
        best = self._best_score
        if best is None or math.isnan(best.per_cell().mean) or self.score.less(best).mean < 0:
            self._best_score = self.score
            self._best, self._middle = self._middle, BestParameters()
        self._num_worse = self._num_worse + 1 if self.is_worse() else 0

    def is_worse(self) -> bool:
        """Return whether the last window is worse than the best by more than chance.

        A mean difference of so many standard errors is no chance. But where a scale goes to
        zero a few cells become impossible, and the error is as large as the mean: of a density that
        is right a cell is worse by x nats than of any other with a chance of at most e^-x.
        """
        if self.score is None or self._best_score is None:
            return False
        differences = [self.score.less(self._best_score, most) for most in (math.inf, LARGEST)]
        # Not a number is worse than any.
        if any(not one.mean <= STANDARD_ERRORS * one.error for one in differences):
            return True
        worst = float((self.score.nats - self._best_score.nats).max())
        return differences[0].mean > 0 and worst > IMPOSSIBLE

    def return_to_best(self, learner: Learner) -> None:
        """Put the parameters of the best window back; the noise stays as it was there."""
        self._best.put_back(self._model, learner)
        self.score = self._best_score
        self.hold_noise()

    def hold_noise(self) -> None:
        """Let nothing of the noise be learned until :meth:`close`."""
        if self._let_go is None:
            self._let_go = self._model.data_cells.hold_noise()

    def release(self, learner: Learner) -> None:
        """Learn from all cells from now on; from the best parameters, if the last are worse."""
        if self.is_worse():
            self.return_to_best(learner)
        self.is_released, self._kept = True, self._all
        self._best, self._middle = BestParameters(), BestParameters()

    def close(self) -> None:
        """Leave the model as it was given: what it learns is learned again."""
        if self._let_go is not None:
            self._let_go()
            self._let_go = None

    def to_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        return {
            "log_sum": self._log_sum,
            "num_draws": self._num_draws,
            "epochs": self._epochs,
            "num_worse": self._num_worse,
            "score": None if self.score is None else vars(self.score),
            "best_score": None if self._best_score is None else vars(self._best_score),
            "best": vars(self._best),
            "middle": vars(self._middle),
            "gain": self._gain.to_dict(),
            "is_released": self.is_released,
            "holds_noise": self.holds_noise,
        }

    def take_back(self, content: Mapping[str, Any]) -> None:
        """Be again as in :meth:`to_dict`."""
        log_sum = content["log_sum"]
        self._log_sum = None if log_sum is None else log_sum.to(self._held.device)
        self._num_draws, self._epochs = content["num_draws"], content["epochs"]
        self._num_worse = content["num_worse"]
        self.score, self._best_score = (
            None if content[name] is None else HeldOutScore(**content[name])
            for name in ("score", "best_score")
        )
        self._best, self._middle = BestParameters(), BestParameters()
        vars(self._best).update(content["best"])
        vars(self._middle).update(content["middle"])
        self._gain.take_back(content["gain"])
        self.is_released = content["is_released"]
        if content["holds_noise"]:
            self.hold_noise()


def checked_hold_out(value: Any) -> HoldOut:
    """Return what ``hold_out`` may be.

    Raises
    ------
    ValueError
        If it is not "auto", None or a share between 0 and 1/2.
    """
    number = plain_number(value)
    if number is None or (isinstance(number, str) and number == "auto"):
        return number  # type: ignore[return-value]
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < 0.5:
        raise ValueError(
            'hold_out must be "auto", None or a share of the observed cells between 0 and 0.5, got '
            f"{value!r}"
        )
    return float(number)


def held_out_cells(
    model: Model,
    examples: ExampleData,
    hold_out: HoldOut,
    seed: int,
    ids: Tensor | None,
    window: int = WINDOW,
    allowed: bool = True,
) -> HeldOutCells | None:
    """Return the cells that a fit holds out, None if it holds out none.

    Which they are is a function of the seed, of the examples' numbers and of which cells are
    missing.

    Parameters
    ----------
    model : callable
        What learns.
    examples : ExampleData
        All data.
    hold_out : "auto", float or None
        The share. ``"auto"`` holds cells out where some are missing and at least 2,000 are
        observed: as many as make 2,000, but at least 2 % and at most 5 % of them.
    seed : int
        Of the run.
    ids : int64 Tensor, (n,), optional
        The examples' numbers, by default their places.
    window : int
        Epochs whose draws make one predictive density.
    allowed : bool
        Whether ``"auto"`` may hold anything out: where there is memory for a copy of the data, an
        epoch in which all is learned from, and no chain that has seen all cells before.

    Raises
    ------
    ValueError
        If a share is given, but no cell of this model's data can be missing.
    """
    if hold_out is None:
        return None
    cells: Any = getattr(model, "data_cells", None)
    asked = getattr(cells, "observed", None)
    observed = None if asked is None else asked(*examples.args, **examples.kwargs)
    if hold_out == "auto":
        if observed is None or not allowed or bool(observed.all()):
            return None
        number = int(observed.sum())
        if number < ENOUGH_CELLS:
            return None
        hold_out = min(LARGEST_SHARE, max(LEAST_SHARE, ENOUGH_CELLS / number))
    if observed is None:
        raise ValueError(
            f"hold_out must be None here, got {hold_out}: only of a GeneratorModel whose "
            "observation is Masked(...) some cells can be hidden"
        )
    held = chosen_cells(observed, hold_out, seed, ids)
    return HeldOutCells(model, examples, held, window) if bool(held.any()) else None
