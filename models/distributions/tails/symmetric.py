"""Tails of symmetric location-scale families."""

import math
from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from .base import Tails, finite_or, log_difference
from .incomplete_beta import continued_fraction, log_beta
from .normal_cdf import log_normal_cdf


class SymmetricTails(Tails):
    """A family ``y = loc + scale x`` whose standard density f(x) is even.

    A family of this kind says what its :meth:`log_cdf` is and, for means, the logarithm of
    ``G(t)``, the integral of x f(x) from t to infinity; G is even as well, so that
    ``E[X | a <= X <= b] = (G(a) - G(b)) / P(a <= X <= b)``.
    """

    @abstractmethod
    def log_cdf(self, standard: Tensor) -> Tensor:
        """Return ``log P(X <= x)`` of the standard distribution."""

    @abstractmethod
    def log_partial_mean(self, standard: Tensor) -> Tensor:
        """Return ``log G(x)``."""

    @property
    def spread(self) -> Tensor:
        """The scale."""
        scale: Tensor = self.cells.scale
        return scale

    def log_below(self, value: Tensor) -> Tensor:
        """Return ``log P(Y <= value)``."""
        return self.log_cdf(self._standard(value))

    def log_above(self, value: Tensor) -> Tensor:
        """Return ``log P(Y >= value)``."""
        return self.log_cdf(-self._standard(value))

    def log_beyond(self, lower: Tensor, upper: Tensor, is_below: Tensor) -> Tensor:
        """Return ``log P(Y <= lower)`` or ``log P(Y >= upper)``, by one of the two."""
        # What does not depend on the distribution is chosen first: it is evaluated once.
        side = torch.where(is_below, torch.ones_like(lower), -torch.ones_like(lower))
        return self.log_cdf(side * self._standard(torch.where(is_below, lower, upper)))

    def log_between(self, low: Tensor, high: Tensor) -> Tensor:
        """Return ``log P(low <= Y <= high)``.

        The interval is mirrored into the lower half, where the difference loses nothing. Where it
        is so narrow that the difference would lose half of its digits, it is a rectangle.
        """
        # What is not used must have a finite gradient as well.
        from_below, to_above = low.isinf(), high.isinf()
        one_sided = from_below | to_above
        a = self._standard(torch.where(from_below, finite_or(high, 0.0) - 1, low))
        b = self._standard(torch.where(to_above, finite_or(low, 0.0) + 1, high))
        mirrored = to_above | (~from_below & (a + b > 0))
        a, b = torch.where(mirrored, -b, a), torch.where(mirrored, -a, b)
        width = b - a
        smallest = torch.finfo(width.dtype).eps ** (1 / 3)
        narrow = ~one_sided & (width * b.detach().abs().clamp(min=1.0) < smallest)
        below = self.log_cdf(torch.where(narrow, b - 1, a))
        wide = log_difference(self.log_cdf(b), torch.where(one_sided, -torch.inf, below))
        middle = torch.where(narrow, (low + high) / 2, self._loc)
        rectangle = self.cells.log_prob(middle) + torch.where(narrow, high - low, 1.0).log()
        return torch.where(narrow, rectangle, wide)

    def mean_between(self, low: Tensor, high: Tensor) -> Tensor:
        """Return ``E[Y | low <= Y <= high]``; if infinite, what is nearest to the centre."""
        log_mass = self.log_between(low, high)
        ends = []
        for limit in (low, high):
            standard = self._standard(finite_or(limit, self._loc))
            ratio = torch.exp(self.log_partial_mean(standard) - log_mass)
            ends.append(torch.where(limit.isinf(), 0.0, ratio))
        mean = self._loc + self.cells.scale * (ends[0] - ends[1])
        return torch.where(mean.isfinite(), mean, self._loc).clamp(low, high)

    @property
    def _loc(self) -> Tensor:
        loc: Tensor = self.cells.loc
        return loc

    def _standard(self, value: Tensor) -> Tensor:
        standard: Tensor = (value - self.cells.loc) / self.cells.scale
        return standard


class NormalTails(SymmetricTails):
    """Of the normal distribution."""

    def log_cdf(self, standard: Tensor) -> Tensor:
        """Return ``log Φ(x)``."""
        return log_normal_cdf(standard)

    def log_partial_mean(self, standard: Tensor) -> Tensor:
        """Return the log density, ``G = φ``."""
        return -0.5 * standard**2 - 0.5 * math.log(2 * math.pi)


class LaplaceTails(SymmetricTails):
    """Of the Laplace distribution."""

    def log_cdf(self, standard: Tensor) -> Tensor:
        """Return ``x - log 2`` below 0, ``log(1 - exp(-x) / 2)`` above."""
        tail = -standard.abs() - math.log(2)
        return torch.where(standard < 0, tail, torch.log1p(-tail.exp()))

    def log_partial_mean(self, standard: Tensor) -> Tensor:
        """Return the logarithm of ``exp(-|x|) (1 + |x|) / 2``."""
        distance = standard.abs()
        return torch.log1p(distance) - distance - math.log(2)


class LogisticTails(SymmetricTails):
    """Of the logistic distribution."""

    def log_cdf(self, standard: Tensor) -> Tensor:
        """Return the logarithm of the sigmoid."""
        return logsigmoid(standard)

    def log_partial_mean(self, standard: Tensor) -> Tensor:
        """Return the logarithm of the entropy of a yes/no variable of probability sigmoid(x)."""
        distance = standard.abs()
        rest = torch.exp(-distance).clamp(min=torch.finfo(distance.dtype).tiny)
        return torch.log(distance / (1 + rest) + torch.log1p(rest) / rest) - distance


class StudentTTails(SymmetricTails):
    """Of Student's t distribution, by the regularised incomplete beta function, in float64."""

    def log_cdf(self, standard: Tensor) -> Tensor:
        """Return ``log P(X <= x)``.

        With ``w = ν / (ν + x²)`` the tail is ``I_w(ν/2, 1/2) / 2``, and what lies between 0 and x
        ``I_(1-w)(1/2, ν/2) / 2``; each by the continued fraction where that is fast.
        """
        x, df = torch.broadcast_tensors(standard.double(), self.cells.df.double())
        half, total = df / 2, df + x**2
        central = x**2 * (half + 1) < 1.5 * df
        first, second = torch.where(central, 0.5, half), torch.where(central, half, 0.5)
        fraction = continued_fraction(first, second, torch.where(central, x**2, df) / total, 20)
        log_power = half * (df / total).log() - _log_beta_with_half(half)
        # In the middle the root of 1 - w is taken with the sign of x: smooth through 0.
        inside = 2 * x / total.sqrt() * log_power.exp() * fraction
        middle = torch.log1p(torch.where(central, inside, 0.0)) - math.log(2)
        distance = torch.where(central, 1.0, x.abs())
        tail = log_power + (distance / total.sqrt() * fraction / df).log()
        upper = torch.log1p(-torch.where((x > 0) & ~central, tail, -1.0).exp())
        beyond = torch.where(x > 0, upper, tail)
        return torch.where(central, middle, beyond).to(standard.dtype)

    def log_partial_mean(self, standard: Tensor) -> Tensor:
        """Return the logarithm of ``(ν + x²) f(x) / (ν - 1)``; NaN where ν <= 1, without a mean."""
        df = self.cells.df
        power = -0.5 * (df - 1) * torch.log1p(standard**2 / df)
        constant = (df / (df - 1)).log() - 0.5 * df.log()
        log_partial: Tensor = power + constant - _log_beta_with_half(df.double() / 2).to(power)
        return log_partial


def _log_beta_with_half(half: Tensor) -> Tensor:
    return log_beta(half, torch.full_like(half, 0.5))
