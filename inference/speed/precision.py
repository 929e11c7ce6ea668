"""In which precision and memory format the network is fastest, found out by timing."""

import copy
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..potentials.potential import Potential
from .evaluator import CapturingEvaluator

Precision = Literal["float32", "bfloat16", "auto"]

FASTER_BY = 0.9
"""Share of the plain evaluation's time that another form may take to be chosen."""

TIMED_EXAMPLES = 32
TIMED_EVALUATIONS = 5


class Arithmetic(NamedTuple):
    """How a network is evaluated.

    Attributes
    ----------
    autocast : torch.dtype or None
        What torch's autocast takes for matrix products and convolutions; None for none.
    channels_last : bool
        Whether the weights of 2-D convolutions, and with them their results, are stored with the
        channels innermost.
    """

    autocast: torch.dtype | None = None
    channels_last: bool = False

    def __str__(self) -> str:
        name = "float32" if self.autocast is None else str(self.autocast).removeprefix("torch.")
        return f"{name}, channels last" if self.channels_last else name

    @staticmethod
    def named(name: str) -> "Arithmetic":
        """Return what :meth:`__str__` names."""
        dtype, *layout = name.split(", ")
        return Arithmetic(None if dtype == "float32" else torch.bfloat16, bool(layout))


def check_precision(precision: Precision) -> None:
    """Raise ValueError unless it is one of the three."""
    if precision not in ("float32", "bfloat16", "auto"):
        raise ValueError(f'precision must be "float32", "bfloat16" or "auto", got {precision!r}')


def chosen_arithmetic(
    precision: Precision, potential: Potential, position: Float[Tensor, "n d"]
) -> Arithmetic:
    """Return what a user asked for; for ``"auto"`` the fastest of what there is.

    Evaluations of up to 32 examples are timed: plain, with channels last for a module with 2-D
    convolutions, and both in bfloat16 if the processor multiplies such numbers fast.
    """
    if precision != "auto":
        return Arithmetic(torch.bfloat16 if precision == "bfloat16" else None)
    layouts = [False, True] if _has_convolutions(potential.model) else [False]
    dtypes = [None, torch.bfloat16] if is_bfloat16_fast(position.device) else [None]
    some = torch.arange(min(TIMED_EXAMPLES, potential.num_examples), device=position.device)
    potential, position = potential.rows(some), position[some]
    times = {
        form: evaluation_seconds(form, potential, position)
        for form in (Arithmetic(dtype, last) for dtype in dtypes for last in layouts)
    }
    plain, fastest = Arithmetic(), min(times, key=times.__getitem__)
    return fastest if times[fastest] < FASTER_BY * times[plain] else plain


def with_arithmetic(potential: Potential, arithmetic: Arithmetic) -> Potential:
    """Return the potential evaluated so; its model's weights change their strides, if anything."""
    if arithmetic.channels_last:
        potential.model.to(memory_format=torch.channels_last)  # type: ignore[attr-defined]
    return potential.cast(arithmetic.autocast)


def _has_convolutions(model: Callable[..., Any]) -> bool:
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    return isinstance(model, nn.Module) and any(isinstance(m, kinds) for m in model.modules())


def is_bfloat16_fast(device: torch.device) -> bool:
    """Multiply two matrices: without units for it, bfloat16 can be some hundred times slower."""
    a = torch.ones(256, 256, device=device)
    b = a.bfloat16()
    return _median_seconds(lambda: b @ b, device) < _median_seconds(lambda: a @ a, device)


def evaluation_seconds(form: Arithmetic, potential: Potential, position: Tensor) -> float:
    """Return how long an evaluation takes in some form; the potential's model stays as it is."""
    model = copy.deepcopy(potential.model) if form.channels_last else potential.model
    # Graphs of the trial are not those of the run, whose choices a checkpoint may bring.
    if isinstance(potential.evaluator, CapturingEvaluator):
        potential = replace(potential, model=model, evaluator=CapturingEvaluator(model))
    timed = with_arithmetic(replace(potential, model=model), form)
    return _median_seconds(lambda: timed(position), position.device)


def _median_seconds(work: Callable[[], object], device: torch.device) -> float:
    work()
    work()
    times = []
    for _ in range(TIMED_EVALUATIONS):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - began)
    return median(times)
