"""What a clock chooses for a run; a checkpoint keeps it, so that a resumed run does the same."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..potentials.evaluation import PLAIN, Evaluator
from ..potentials.potential import Potential
from ..potentials.trace import Model
from .choices import Choices
from .compile_choice import Compile, CompileChoice
from .evaluator import CapturingEvaluator
from .precision import Arithmetic, Precision, chosen_arithmetic, with_arithmetic


def evaluator_for(model: Model, capture: bool, compile: Compile) -> Evaluator:
    """Return who evaluates a model's potentials in a run, as a user has set it.

    Raises
    ------
    ValueError
        If something shall be compiled of which nothing shall be captured.
    """
    if capture:
        return CapturingEvaluator(model, compiles=compile is True)
    if compile is not False:
        raise ValueError(f"compile must be False with capture=False, got {compile!r}")
    return PLAIN


@dataclass
class Chosen:
    """Whether a run is compiled and in which arithmetic its network is evaluated.

    Attributes
    ----------
    compile : CompileChoice
        Told by the driver how long iterations take.
    arithmetic : Arithmetic
        Of the network.
    timed : bool
        Whether timing chose the arithmetic; else the user has named it, and that stands.
    of_graphs : Choices
        Of the form in which graphs are fastest.
    """

    compile: CompileChoice
    arithmetic: Arithmetic
    timed: bool
    of_graphs: Choices

    @staticmethod
    def made(
        compile: Compile,
        precision: Precision,
        potential: Potential,
        position: Float[Tensor, "n d"],
    ) -> "Chosen":
        """Return what the user has set; where that is ``"auto"``, what timing finds."""
        arithmetic = chosen_arithmetic(precision, potential, position)
        evaluator = potential.evaluator
        compile_choice = CompileChoice(compile, evaluator)
        return Chosen(compile_choice, arithmetic, precision == "auto", _choices_of(evaluator))

    @staticmethod
    def of(potential: Potential) -> "Chosen":
        """Return those that a potential has been made with."""
        evaluator = potential.evaluator
        compile_choice = CompileChoice(evaluator.compiles, evaluator)
        arithmetic = Arithmetic(potential.autocast)
        return Chosen(compile_choice, arithmetic, False, _choices_of(evaluator))

    def applied(self, potential: Potential) -> Potential:
        """Return the potential evaluated as chosen."""
        return with_arithmetic(potential, self.arithmetic)

    def to_dict(self) -> dict[str, bool | str | None]:
        """Return what was chosen, by name; None is not decided yet."""
        return {
            **self.of_graphs.made,
            "compile": self.compile.decided,
            "precision": str(self.arithmetic),
        }

    def resumed(self, choices: Mapping[str, bool | str | None], potential: Potential) -> Potential:
        """Take over the choices of an earlier part of the run and return the potential with them.

        What the user has named stays as it is.
        """
        of_graphs = {k: v for k, v in choices.items() if k not in ("compile", "precision")}
        self.of_graphs.update({k: v for k, v in of_graphs.items() if v is not None})
        compiles = choices["compile"]
        self.compile.resume(None if compiles is None else bool(compiles))
        if not self.timed:
            return potential
        self.release(potential)
        self.arithmetic = Arithmetic.named(str(choices["precision"]))
        return self.applied(potential)

    def release(self, potential: Potential) -> None:
        """Give the model's weights the memory format back that they had."""
        if self.arithmetic.channels_last and isinstance(potential.model, nn.Module):
            potential.model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def _choices_of(evaluator: Evaluator) -> Choices:
    return evaluator.choices if isinstance(evaluator, CapturingEvaluator) else Choices()
