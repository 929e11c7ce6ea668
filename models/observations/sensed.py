"""Measurements of a signal through a linear operator."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import pyro.distributions as dist
import torch
from torch import Tensor

from ..operators import LinearOperator
from ..pieces import Entry
from .base import Context, LearnsFromResiduals, NoiseAround, Observation
from .callables import check_signal_is_argument
from .wrapper import Wrapper


class Sensed(Wrapper):
    """Data that are measurements of the signal, ``y ~ base around operator(signal)``.

    The network emits the signal, of the operator's input shape; y has its output shape.
    ``decode`` gives the signal, ``reconstruct`` the measurements. An operator of each example
    reads its matrix from ``context``.

    Parameters
    ----------
    base : Observation or callable
        The noise of the measurements, an observation with ``around``. A plain callable
        ``output -> Distribution`` is one if the mean of what it returns is the output itself.
        Where the signal is a probability or a rate, the operator has to keep it one: averages do,
        random projections do not.
    operator : LinearOperator
        From the signal to the measurements.

    Raises
    ------
    TypeError
        If the base has no signal that its data lie around, learns in closed form from something
        else than residuals, or is a wrapper, which belongs around Sensed.
    ValueError
        If the base is a callable whose mean is not its argument.

    Examples
    --------
    Images learned from averages of 2 x 2 pixels, some of which are missing:

    >>> from explainaway.models import Gaussian, Masked, Sensed, operators
    >>> observation = Masked(Sensed(Gaussian(0.1), operators.Downsample((1, 8, 8), 2)))
    >>> observation.output_shape((1, 4, 4))
    (1, 8, 8)

    References
    ----------
    Han, Lu, Zhu & Wu, "Alternating Back-Propagation for Generator Network" (arXiv:1606.08571),
    Experiment 6: learning from random projections.
    """

    entry = Entry(
        "y ~ base around A signal",
        "Han et al. (arXiv:1606.08571), Experiment 6",
        "Sensed(Gaussian(0.3), operators.RandomProjection((8,), 6, seed=0))",
    )

    def __init__(
        self,
        base: Observation | Callable[[Tensor], dist.TorchDistribution],
        operator: LinearOperator,
    ) -> None:
        super().__init__(base)
        if not isinstance(operator, LinearOperator):
            raise TypeError(f"operator must be a LinearOperator, got {operator!r}")
        self.operator = operator
        _check_base(self.base, operator)

    def shape_of_base(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the operator's input shape.

        Raises
        ------
        ValueError
            If ``shape``, that of one example's measurements, is not the operator's output shape.
        """
        if tuple(shape) != self.operator.output_shape:
            raise ValueError(
                f"shape must be that of one example's measurements, the operator's output_shape "
                f"{self.operator.output_shape}, got {tuple(shape)}"
            )
        return self.operator.input_shape

    def link_range_around(self, low: float, high: float) -> tuple[float, float]:
        """Return no limits: an operator may add up what it measures."""
        return -float("inf"), float("inf")

    def measured(self, output: Tensor, context: Context | None = None) -> Tensor:
        """Return the measurements of the signal without noise, (n, *output_shape).

        Raises
        ------
        ValueError
            If the network's output does not make a signal of the operator's input shape.
        """
        signal = self.signal(output, context)
        if tuple(signal.shape[1:]) != self.operator.input_shape:
            raise ValueError(
                f"the network's output makes a signal of shape {tuple(signal.shape[1:])}, but the "
                f"operator {type(self.operator).__name__} has input_shape "
                f"{self.operator.input_shape}"
            )
        through: Tensor = self.operator(signal, context)
        return through

    def distribution(
        self, output: Tensor, *, mask: Tensor | None = None, context: Context | None = None
    ) -> dist.TorchDistribution:
        """Return the base's distribution around the measured signal."""
        return self._noise(self.measured(output, context), mask, context)

    def reconstruct(self, output: Tensor, context: Context | None = None) -> Tensor:
        """Return the mean of the measurements, or their centre where there is no mean."""
        measured = self.measured(output, context)
        mean: Tensor = self._noise(measured, None, context).mean
        return torch.where(mean.isnan(), measured, mean)

    def complete(
        self,
        output: Tensor,
        y: Tensor,
        mask: Tensor | None = None,
        context: Context | None = None,
    ) -> Tensor:
        """Return y with its hidden measurements predicted, under correlated noise from the rest."""
        if mask is None:
            return y
        made: Any = self.distribution(output, mask=mask, context=context)
        if hasattr(made, "complete"):
            return torch.where(mask, y, made.complete(y))
        return torch.where(mask, y, self.reconstruct(output, context))

    def check(self, y: Tensor, mask: Tensor | None, context: Context | None) -> None:
        """Check the shape of y and the operator's context."""
        if tuple(y.shape[1:]) != self.operator.output_shape:
            of_signals = tuple(y.shape[1:]) == self.operator.input_shape
            remedy = ": these are signals, measure them by operator(y)" if of_signals else ""
            raise ValueError(
                f"y has shape {tuple(y.shape)}, but the operator {type(self.operator).__name__} "
                f"gives measurements of shape {self.operator.output_shape} for each example{remedy}"
            )
        self.operator.validate(len(y), context)

    @torch.no_grad()
    def closed_form_step(
        self,
        output: Tensor,
        y: Tensor,
        mask: Tensor | None = None,
        context: Context | None = None,
    ) -> None:
        """Let the base learn from the residuals of the measurements."""
        learner = cast(LearnsFromResiduals, self.base)
        learner.learn_from_residuals(y - self.measured(output, context), mask, context)

    def _noise(
        self, measured: Tensor, mask: Tensor | None, context: Context | None
    ) -> dist.TorchDistribution:
        return cast(NoiseAround, self.base).around(measured, mask=mask, context=context)


def _check_base(base: Observation, operator: LinearOperator) -> None:
    name = type(base).__name__
    if isinstance(base, Sensed):
        raise TypeError("base is Sensed already: two operators are one, Sensed(base, A @ B)")
    if isinstance(base, Wrapper):
        raise TypeError(
            f"base must not be a wrapper, got {name}(...): what happens to measurements comes "
            f"after the operator, write {name}(Sensed(...))"
        )
    if not callable(getattr(base, "around", None)):
        raise TypeError(
            f"base must have a signal that its data lie around, got {name}, which does not "
            "implement around(signal)"
        )
    if base.has_closed_form and not callable(getattr(base, "learn_from_residuals", None)):
        raise TypeError(
            f"{name} learns in closed form, but has no learn_from_residuals(residual, mask, "
            "context): learn it by its gradient"
        )
    check_signal_is_argument(base, operator.output_shape)
