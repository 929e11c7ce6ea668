"""What a fit is made of, and its beginning."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ..arguments import checked_ids
from ..kernels.base import Kernel
from ..potentials.checks import check_uncoupled
from ..potentials.coordinates import coordinates_of
from ..potentials.data import ExampleData
from ..potentials.initialization import InitStrategy, by_chain
from ..potentials.potential import Potential
from ..potentials.trace import Model, evaluation_mode, parameters_of, read_layout
from ..speed import Chosen, Compile, Precision, evaluator_for
from .chains import Chains
from .checkpoint import check_new_file
from .epochs import must_join_last
from .fit_run import FitRun
from .held_out import HeldOut
from .held_out_cells import HoldOut
from .learner import Learner, OptimizerLike, SchedulerLike
from .probes import settings_of
from .running_means import KeepMeans
from .stretches import Stretches
from .weight_prior import Deviations


@dataclass(frozen=True)
class FitPlan:
    """The settings of a fit; :class:`AlternatingBackProp` says what each is.

    Attributes
    ----------
    model, kernel, optimizer, scheduler, batch_size, num_chains, init_strategy, chains_file
        What learns, and how.
    weight_prior : dict
        Standard deviations by patterns of the parameters' names.
    example_plate, compile, precision, capture
        How the model is read and evaluated.
    """

    model: Model
    kernel: Kernel[Any]
    optimizer: OptimizerLike | None
    scheduler: SchedulerLike | None
    weight_prior: Deviations
    batch_size: int | None
    num_chains: int
    init_strategy: InitStrategy | None
    chains_file: Path | None
    example_plate: str | None
    compile: Compile
    precision: Precision
    capture: bool

    @staticmethod
    def of(
        loop: Any, optimizer: OptimizerLike | None, scheduler: SchedulerLike | None
    ) -> "FitPlan":
        """Return the settings that a loop has under the same names, and how θ is learned."""
        own: dict[str, Any] = {"optimizer": optimizer, "scheduler": scheduler}
        others = {f.name: getattr(loop, f.name) for f in fields(FitPlan) if f.name not in own}
        return FitPlan(**own, **others)

    def begin(
        self,
        examples: ExampleData,
        seed: int,
        *,
        resumes: bool = False,
        held_out: ExampleData | None = None,
        has_checkpoint: bool = False,
        ids: Any = None,
        latents: Any = None,
        epochs: int | Literal["auto"] = 1,
        hold_out: HoldOut = None,
        posterior_means: KeepMeans = False,
    ) -> FitRun:
        """Return a fit before its first iteration: the model read, the chains placed."""
        n = examples.num_examples
        batch_size = self.batch_size or _batch_size_of(n)
        first = torch.arange(min(batch_size, n), device=examples.device)
        head = examples.select(first)
        layout = read_layout(self.model, head, self.example_plate)
        evaluator = evaluator_for(self.model, self.capture, self.compile)
        potential = Potential(self.model, head, layout, evaluator=evaluator)
        parameters = parameters_of(self.model, head)
        if self.chains_file is not None:
            check_new_file(self.chains_file, "chains_file", resumes)
        keys = checked_ids(ids, n, first.device)
        if (coordinates := coordinates_of(self.model)) is not None:
            coordinates.expect_examples(n)
        given = None if latents is None else by_chain(layout, latents, self.num_chains, n)
        chains = self._placed(
            potential, examples, seed, self.chains_file, has_checkpoint, keys, given
        )
        position = chains.at(first)[:, 0]
        check_uncoupled(potential, position)
        with evaluation_mode(self.model):
            chosen = Chosen.made(self.compile, self.precision, potential, position)
        potential = chosen.applied(potential)
        learner = Learner.made(
            potential,
            position,
            n,
            parameters,
            self.optimizer,
            self.scheduler,
            self.weight_prior,
        )
        watched = None
        if held_out is not None:
            watched = HeldOut(held_out, self._placed(potential, held_out, seed + 1, None))
        joins = must_join_last(potential, position, self.num_chains, batch_size, n)
        goes_on = latents is not None
        stretches = Stretches.of(
            potential, examples, chains, seed, epochs, hold_out, posterior_means, goes_on
        )
        settings = settings_of(self.model, learner.parameters) if has_checkpoint else {}
        return FitRun(
            potential,
            chains,
            learner,
            chosen,
            seed,
            batch_size,
            stretches,
            watched,
            joins_last=joins,
            settings=settings,
        )

    def _placed(
        self,
        potential: Potential,
        examples: ExampleData,
        seed: int,
        file: Path | None,
        unfinished: bool = False,
        ids: Tensor | None = None,
        latents: Mapping[str, Tensor] | None = None,
    ) -> Chains:
        c, kernel, strategy = self.num_chains, self.kernel, self.init_strategy
        return Chains.placed(
            potential, examples, c, kernel, seed, strategy, file, unfinished, ids, latents
        )


def _batch_size_of(num_examples: int) -> int:
    """Return a tenth of the examples, at least 10 and at most 100, in equal parts."""
    about = min(100, max(10, num_examples // 10))
    return math.ceil(num_examples / max(1, round(num_examples / about)))
