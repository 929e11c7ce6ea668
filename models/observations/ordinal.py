"""Ordered grades."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, pad

from ..arguments import first_place
from ..distributions.cells import Cells
from ..distributions.levels import Grades
from ..pieces import Entry
from .base import Context, Observation
from .level_checks import check_num_levels
from .noise_settings import by_column


class Ordinal(Observation):
    """Independent grades by cumulative logits, ``P(y ≥ k) = sigmoid(output - c_k)`` in each cell.

    y holds the grade's number, 0 to K - 1. The network gives one score a cell, which K - 1 ordered
    cut points divide into grades; with two grades and the cut at 0 it is :class:`Bernoulli`.

    The distances between cut points are learned. The first one stays where it starts: to move all
    of them is what the network's bias does.

    Parameters
    ----------
    num_grades : int
        K, at least 2.
    cut_points : Tensor or sequence of float, optional
        Where they start, increasing, shape (K - 1,), or (..., K - 1) to have some of their own in
        each cell, such as (columns, K - 1). By default grades are equally probable at score 0.

    Raises
    ------
    ValueError
        If ``num_grades`` is not an integer of at least 2, or ``cut_points`` are not K - 1, not
        finite, or not increasing.

    References
    ----------
    McCullagh, "Regression models for ordinal data" (1980), eq. 2.1.

    Examples
    --------
    >>> import torch
    >>> from explainaway.models import Ordinal
    >>> grade = Ordinal(4, cut_points=[-2.0, 0.0, 2.0])
    >>> grade.reconstruct(torch.tensor([[-3.0, -1.0, 1.0, 3.0]]))
    tensor([[0., 1., 2., 3.]])
    """

    entry = Entry(
        "P(y ≥ k) = sigmoid(output - c_k), c_1 < … < c_(K-1)", "McCullagh (1980)", "Ordinal(5)"
    )

    first_cut_point: Tensor
    log_gaps: Tensor

    estimates_mean = False

    def __init__(
        self, num_grades: int, cut_points: Tensor | list[float] | tuple[float, ...] | None = None
    ) -> None:
        super().__init__()
        check_num_levels("num_grades", num_grades)
        self.num_grades = num_grades
        if cut_points is None:
            start = (torch.arange(1, num_grades) / num_grades).logit()
        else:
            start = torch.as_tensor(cut_points, dtype=torch.get_default_dtype()).detach().clone()
            _check_cut_points(start, num_grades)
        self.register_buffer("first_cut_point", start[..., :1])
        log_gaps = start.diff().log()
        if num_grades > 2:
            self.log_gaps = nn.Parameter(log_gaps)
        else:
            self.register_buffer("log_gaps", log_gaps)

    def learn_by_column(self, number: int) -> None:
        """Learn cut points for each column, if they are the same for all cells."""
        if self.num_grades > 2:
            by_column(self, "log_gaps", number, own_dims=1)
            by_column(self, "first_cut_point", number, own_dims=1)

    @property
    def cut_points(self) -> Tensor:
        """The cut points c_1 < … < c_(K-1), (..., K - 1)."""
        steps = torch.cat([self.first_cut_point, self.log_gaps.exp()], -1)
        return steps.cumsum(-1)

    def distribution(
        self, output: Tensor, *, mask: Tensor | None = None, context: Context | None = None
    ) -> dist.TorchDistribution:
        """Return independent distributions over grades with the output as scores."""
        return self.around(output, mask=mask, context=context)

    def around(
        self, signal: Tensor, *, mask: Tensor | None = None, context: Context | None = None
    ) -> dist.TorchDistribution:
        """Return independent distributions over grades with the signal as scores."""
        return Cells(Grades(logits=self._log_probabilities(signal)), mask)

    def signal(self, output: Tensor, context: Context | None = None) -> Tensor:
        """Return the score, which the cut points divide."""
        return output

    def reconstruct(self, output: Tensor, context: Context | None = None) -> Tensor:
        """Return the most probable grade."""
        return self._log_probabilities(output).argmax(-1).to(output.dtype)

    def _log_probabilities(self, score: Tensor) -> Tensor:
        """Return log probabilities of the grades, (n, ..., K), exact in both tails.

        ``σ(b) - σ(a) = σ(b) σ(-a) (1 - exp(a - b))``: no difference of numbers near 1.
        """
        distance = self.cut_points - score[..., None]  # (n, ..., K - 1)
        width = (-torch.expm1(-self.log_gaps.exp())).log()
        below, above = pad(logsigmoid(distance), (0, 1)), pad(logsigmoid(-distance), (1, 0))
        return below + above + pad(width, (1, 1))


def _check_cut_points(cut_points: Tensor, num_grades: int) -> None:
    if cut_points.dim() < 1 or cut_points.shape[-1] != num_grades - 1:
        raise ValueError(
            f"cut_points must have {num_grades - 1} in their last dimension for {num_grades} "
            f"grades, got shape {tuple(cut_points.shape)}"
        )
    if not bool(cut_points.isfinite().all()):
        place = list(first_place(~cut_points.isfinite()))
        raise ValueError(
            f"cut_points must be finite, got cut_points{place} = {float(cut_points[tuple(place)])}"
        )
    falling = cut_points.diff() <= 0
    if bool(falling.any()):
        *cell, k = first_place(falling)
        before, after = (float(cut_points[(*cell, i)]) for i in (k, k + 1))
        raise ValueError(
            f"cut_points must increase, got cut_points{[*cell, k]} = {before:g} followed by "
            f"cut_points{[*cell, k + 1]} = {after:g}"
        )
