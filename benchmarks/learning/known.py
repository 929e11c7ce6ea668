"""Problems whose maximum likelihood is known, and how far below it a model stands."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

Parameters = dict[str, Tensor]
"""θ by name in double precision, free of constraints: logarithms of what is positive."""

LARGEST_SLOPE = 1e-4
"""Largest derivative that a maximum may have, in nats per example and unit of a parameter."""


class NotAvailableError(Exception):
    """A candidate does not fit a problem, or the problem lacks its data."""


@dataclass(frozen=True)
class Trial:
    """What one run of learning starts from.

    Attributes
    ----------
    model : callable
        A Pyro model with its first parameters.
    args : tuple
        What ``fit`` is given.
    kwargs : dict
        The same by keyword.
    """

    model: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)


class Gap(NamedTuple):
    """How far parameters stand below the maximum.

    Attributes
    ----------
    nats : float
        Mean over examples of the log-likelihood at the maximum less that at the parameters.
    standard_error : float
        Of the mean log-likelihood of so many examples: their standard deviation at the maximum
        over the root of their number. A gap well below it does not show in n examples.
    """

    nats: float
    standard_error: float


class Maximum(NamedTuple):
    """The largest likelihood that was found.

    Attributes
    ----------
    parameters : dict of Tensor
    log_likelihood : Tensor, (n,)
        Of each example, in nats.
    """

    parameters: Parameters
    log_likelihood: Tensor


@dataclass(frozen=True)
class KnownMaximum:
    """A model with data, whose marginal likelihood is exact.

    Attributes
    ----------
    name : str
    make : callable
        From a seed, of the first parameters, and whether a normal prior is learned to the trial.
    parameters : callable
        From a model to θ as it stands. A learned normal prior is absorbed: θ is that of a standard
        normal one with the same marginal.
    log_likelihood : callable
        From θ to the exact log-likelihood (n,) of each example, in nats.
    starts : sequence of callable
        Make the θ from which the maximum is looked for: by EM, in closed form, the true ones.
    truth : dict of Tensor, optional
        θ that the data were drawn from.
    """

    name: str
    make: Callable[[int, bool], Trial]
    parameters: Callable[[Any], Parameters]
    log_likelihood: Callable[[Parameters], Tensor]
    starts: Sequence[Callable[[], Parameters]]
    truth: Parameters | None = None

    @cached_property
    def maximum(self) -> Maximum:
        """The best of what the starts lead to.

        Raises
        ------
        ArithmeticError
            If the likelihood still rises there.
        """
        found = [maximise(self.log_likelihood, start()) for start in self.starts]
        best = max(found, key=lambda parameters: float(self.log_likelihood(parameters).mean()))
        steepest = slope(self.log_likelihood, best)
        if steepest > LARGEST_SLOPE:
            raise ArithmeticError(
                f"{self.name}: no maximum was found, the likelihood rises by {steepest:.2g} nats "
                f"per example and unit of a parameter, at most {LARGEST_SLOPE:g} was expected"
            )
        return Maximum(best, self.log_likelihood(best))

    def gap(self, model: Any) -> Gap:
        """Return how far a model's present parameters stand below the maximum."""
        return self.gap_at(self.parameters(model))

    def gap_at(self, parameters: Parameters) -> Gap:
        """Return how far θ stands below the maximum."""
        best = self.maximum.log_likelihood
        with torch.no_grad():
            there = self.log_likelihood(parameters)
        return Gap(float((best - there).mean()), float(best.std()) / len(best) ** 0.5)


def maximise(log_likelihood: Callable[[Parameters], Tensor], start: Parameters) -> Parameters:
    """Return where L-BFGS leads from ``start``.

    Parameters
    ----------
    log_likelihood : callable
        From θ to (n,), nats.
    start : dict of Tensor
    """
    names, shapes = list(start), [value.shape for value in start.values()]
    sizes = [value.numel() for value in start.values()]

    def as_parameters(flat: NDArray[np.float64]) -> Parameters:
        parts = torch.from_numpy(flat.copy()).split(sizes)
        return {
            name: part.reshape(shape).requires_grad_()
            for name, part, shape in zip(names, parts, shapes, strict=True)
        }

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        parameters = as_parameters(flat)
        try:
            value = -log_likelihood(parameters).mean()
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # it is there
            # A step that is too long: the line search takes a shorter one.
            return 1e10, np.zeros_like(flat)
        slopes = torch.autograd.grad(value, list(parameters.values()))
        return value.item(), torch.cat([s.reshape(-1) for s in slopes]).numpy()

    first = torch.cat([value.reshape(-1) for value in start.values()]).double().numpy()
    # L-BFGS stops where a line search fails by rounding; begun anew it forgets its curvature.
    for _ in range(3):
        found = minimize(
            objective,
            first,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 3000, "maxfun": 6000, "maxcor": 30, "ftol": 1e-15, "gtol": 1e-9},
        )
        first = found.x
    return {name: value.detach() for name, value in as_parameters(first).items()}


def slope(log_likelihood: Callable[[Parameters], Tensor], parameters: Parameters) -> float:
    """Return the largest derivative of the mean log-likelihood in any parameter."""
    free = {name: value.clone().requires_grad_() for name, value in parameters.items()}
    slopes = torch.autograd.grad(log_likelihood(free).mean(), list(free.values()))
    return max(float(s.abs().max()) for s in slopes)
