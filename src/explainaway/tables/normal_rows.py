"""Rows of a table as normal vectors: what is not known of them is drawn, given the rest."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..inference.noise.keyed import Generator, standard_normal, uniform
from .column_models import places_among
from .coordinates import CategoryColumn, Coordinates, Map, NumberColumn
from .normal_noise import truncated_normal
from .row_chains import unwhitened
from .table import Rows

EDGE = 0.5
"""How far within its limit a coordinate starts."""

PRODUCTS_AT_ONCE = 4_000_000
"""Rows times coordinates squared that are held at once."""


class Parameters(NamedTuple):
    """Of a multivariate normal distribution of a table's rows.

    Attributes
    ----------
    mean : Tensor, (p,)
    covariance, precision : Tensor, (p, p)
    maps : tuple of int
        For each column of numbers, which of its maps.
    shares : list of Tensor, (levels,)
        For each column of categories, how often each is.
    """

    mean: Tensor
    covariance: Tensor
    precision: Tensor
    maps: tuple[int, ...]
    shares: list[Tensor]


class Missing(NamedTuple):
    """Which coordinates of rows are missing.

    Attributes
    ----------
    places : Tensor, (n, m)
        Each row's missing ones first; others fill up.
    is_missing : Tensor, (n, m)
        1 for the former, 0 for the latter.
    factor : Tensor, (n, m, m)
        Cholesky factors of the precision of the missing ones, with ones for the others.
    """

    places: Tensor
    is_missing: Tensor
    factor: Tensor


class NormalRows:
    """The coordinates of rows, with those that are not known.

    Parameters
    ----------
    coordinates : Coordinates
        Of the table.
    rows : Rows
        Their cells and limits.
    known : bool array, (n, columns)
        Which cells say what they hold.
    maps : sequence of int
        Which map each column of numbers has.

    Attributes
    ----------
    x : Tensor, (n, p)
        In double precision.
    maps : list of int
    """

    def __init__(
        self,
        coordinates: Coordinates,
        rows: Rows,
        known: NDArray[np.bool_],
        maps: Sequence[int],
    ) -> None:
        self.coordinates, self.maps = coordinates, list(maps)
        shape = len(rows.numbers), coordinates.width
        self.x = torch.zeros(shape, dtype=torch.float64)
        self.free = torch.zeros(shape, dtype=torch.bool)
        self.low = torch.full_like(self.x, -torch.inf)
        self.high = torch.full_like(self.x, torch.inf)
        self.levels: list[Tensor] = []
        for column, chosen in zip(coordinates.numbers, maps, strict=True):
            self._place_number(column, column.maps[chosen], rows, known[:, column.column])
        for category in coordinates.categories:
            cells = np.where(known[:, category.column], rows.numbers[:, category.column], np.nan)
            self.levels.append(torch.as_tensor(places_among(category.levels, cells)))
            self._place_category(category, self.levels[-1])
        limited = self.low.isfinite() | self.high.isfinite()
        self._limited = [
            (place, limited[:, place].nonzero()[:, 0])
            for place in range(coordinates.width)
            if limited[:, place].any()
        ]
        unknown = self.free.any(1)
        for category, level in zip(coordinates.categories, self.levels, strict=True):
            if category.form == "indicators":
                unknown = unknown | (level < 0)
        self._open = unknown.nonzero()[:, 0]
        free = self.free[self._open]
        most = int(free.sum(1).max()) if len(free) else 0
        # Each row's missing coordinates first, as many places as the row with most of them needs.
        self._missing = free.long().argsort(dim=1, descending=True, stable=True)[:, :most]
        self._is_missing = free.gather(1, self._missing).double()

    def sweep(self, parameters: Parameters, noise: Generator) -> None:
        """Draw everything that is not known once, given the rest."""
        self.use(parameters.maps)
        normal, share = standard_normal(noise, self.x), uniform(noise, self.x)
        self._draw_missing(parameters, normal, share)
        rest = self.x - parameters.mean
        for place, index in self._limited:
            self._draw_one(parameters, rest, place, index, share)
        for category, level in zip(self.coordinates.categories, self.levels, strict=True):
            if category.form == "utilities":
                self._draw_utilities(parameters, rest, category, level, share)

    def current(self, category: CategoryColumn) -> Tensor:
        """Return the level that each row has now, of a category with indicators."""
        x = self.x[:, category.places]
        return torch.cat([1 - x.sum(1, keepdim=True), x], 1).argmax(1)

    def remapped(self, number: int, chosen: int) -> tuple[Tensor, float]:
        """Return a column's coordinates under another map, and the log of the volume's change."""
        column = self.coordinates.numbers[number]
        old, new = column.maps[self.maps[number]], column.maps[chosen]
        numbers = old.back(self.x[:, column.place].numpy())
        change = float((new.log_slope(numbers) - old.log_slope(numbers)).sum())
        return torch.as_tensor(new.to(numbers)), change

    def use(self, maps: Sequence[int]) -> None:
        """Take these maps: what was drawn stays the number that it was."""
        for number, chosen in enumerate(maps):
            if chosen != self.maps[number]:
                self.put(number, chosen, self.remapped(number, chosen)[0])

    def put(self, number: int, chosen: int, x: Tensor) -> None:
        """Take a column's coordinates (n,) under another map."""
        self.x[:, self.coordinates.numbers[number].place] = x
        self.maps[number] = chosen

    def _place_number(
        self, column: NumberColumn, chosen: Map, rows: Rows, known: NDArray[np.bool_]
    ) -> None:
        """Set what is known of a column of numbers: its cells, and limits of others."""
        at, numbers = column.place, rows.numbers[:, column.column]
        self.x[known, at] = torch.as_tensor(chosen.to(numbers[known]))
        for given, limits in ((rows.above, self.low), (rows.below, self.high)):
            cells = given[:, column.column]
            limited = ~np.isnan(cells)
            limits[limited, at] = torch.as_tensor(chosen.to(cells[limited]))
        for spike in column.spikes:
            here = known & (numbers == spike.value)
            self.low[here, at], self.high[here, at] = spike.low, spike.high
        unlimited = self.low[:, at].isinf() & self.high[:, at].isinf()
        self.free[:, at] = ~torch.as_tensor(known) & unlimited
        self._enter(at)

    def _place_category(self, category: CategoryColumn, level: Tensor) -> None:
        known, places = level >= 0, category.places
        if category.form == "grades":
            cuts = torch.as_tensor(category.cuts)
            self.low[known, places.start] = cuts[level[known]]
            self.high[known, places.start] = cuts[level[known] + 1]
            self.free[~known, places.start] = True
            self._enter(places.start)
            return
        identity = indicators(category)
        if category.form == "indicators":
            self.x[:, places] = identity[level.clamp(min=0)]
            return
        start = (1 + EDGE) * identity[level.clamp(min=0)] - EDGE
        self.x[:, places] = torch.where(known[:, None], start, 0.0)
        self.free[:, places] = ~known[:, None]

    def _enter(self, place: int) -> None:
        """Move a coordinate between its limits."""
        low, high = self.low[:, place], self.high[:, place]
        inner = torch.minimum(low + EDGE, 0.5 * (low + high)).nan_to_num(nan=0.0)
        outer = torch.maximum(high - EDGE, 0.5 * (low + high)).nan_to_num(nan=0.0)
        limited = low.isfinite() | high.isfinite()
        x = self.x[:, place]
        x = torch.where(limited & (x <= low), inner, x)
        self.x[:, place] = torch.where(limited & (x >= high), outer, x)

    def _draw_missing(self, parameters: Parameters, normal: Tensor, share: Tensor) -> None:
        """Draw missing categories that are indicators, then missing numbers, jointly in each row.

        A category is drawn with the row's missing numbers integrated out: given them it would
        hardly ever change.
        """
        at_once = max(1, PRODUCTS_AT_ONCE // self.x.shape[1] ** 2)
        for index, places, missing in zip(
            self._open.split(at_once),
            self._missing.split(at_once),
            self._is_missing.split(at_once),
            strict=True,
        ):
            known = self.x[index] - parameters.mean
            known.masked_fill_(self.free[index], 0.0)
            pairs = places[:, :, None] * self.x.shape[1] + places[:, None, :]
            precision = parameters.precision.take(pairs)
            precision *= missing[:, :, None]
            precision *= missing[:, None, :]
            precision.diagonal(dim1=1, dim2=2).add_(1 - missing)
            factor = torch.linalg.cholesky(precision)
            for category, level, shares in zip(
                self.coordinates.categories, self.levels, parameters.shares, strict=True
            ):
                if category.form == "indicators":
                    some = (level[index] < 0).nonzero()[:, 0]
                    given = Missing(places[some], missing[some], factor[some])
                    energy = category_energies(parameters, known[some], given, category, shares)
                    start = category.places.start
                    chances = (-energy).softmax(1).cumsum(1)
                    drawn = (share[index[some], start, None] > chances).sum(1)
                    x = indicators(category)[drawn.clamp(max=len(category.levels) - 1)]
                    self.x[index[some], category.places] = x
                    known[some, category.places] = x - parameters.mean[category.places]
            right = -missing * (known @ parameters.precision).gather(1, places)
            half = torch.linalg.solve_triangular(factor, right[..., None], upper=False)
            noise = normal[index].gather(1, places)
            drawn = unwhitened(factor, half[..., 0] + noise) + parameters.mean[places]
            old = self.x[index].gather(1, places)
            self.x[index[:, None], places] = torch.where(missing > 0, drawn, old)

    def _draw_one(
        self, parameters: Parameters, rest: Tensor, place: int, index: Tensor, share: Tensor
    ) -> None:
        """Draw a coordinate of some rows between its limits."""
        scale = parameters.precision[place, place] ** -0.5
        slope = rest[index] @ parameters.precision[:, place] * scale**2
        old = rest[index, place]
        mean = old - slope + parameters.mean[place]
        x = truncated_normal(
            mean, scale, self.low[index, place], self.high[index, place], share[index, place]
        )
        self.x[index, place] = x
        rest[index, place] = x - parameters.mean[place]

    def _draw_utilities(
        self,
        parameters: Parameters,
        rest: Tensor,
        category: CategoryColumn,
        level: Tensor,
        share: Tensor,
    ) -> None:
        """Draw the utilities of known categories one after the other."""
        index = (level >= 0).nonzero()[:, 0]
        if not len(index):
            return
        places, true = category.places, level[index]
        for number in range(1, len(category.levels)):
            place = places.start + number - 1
            utilities = self.x[index, places]
            padded = torch.cat([torch.zeros_like(utilities[:, :1]), utilities], 1)
            of_true = padded.gather(1, true[:, None])[:, 0]
            padded[:, number] = -torch.inf
            is_true = true == number
            self.low[index, place] = torch.where(is_true, padded.amax(1), -torch.inf)
            self.high[index, place] = torch.where(is_true, torch.inf, of_true)
            self._draw_one(parameters, rest, place, index, share)


def indicators(category: CategoryColumn) -> Tensor:
    """Return the coordinates of each level of a category with indicators, (levels, width)."""
    return torch.eye(len(category.levels), dtype=torch.float64)[:, 1:]


def category_energies(
    parameters: Parameters,
    known: Tensor,
    missing: Missing,
    category: CategoryColumn,
    shares: Tensor,
) -> Tensor:
    """Return minus the log probability of each level given what is known, up to a constant.

    The density of the others is normal with a mean linear in the indicators (the general location
    model of Olkin & Tate 1961 without interactions), times the level's share.

    Parameters
    ----------
    known : Tensor, (n, p)
        Coordinates less their means, zero where not known.
    """
    places = category.places
    others = known.clone()
    others[:, places] = 0
    slope = parameters.precision[:, places]
    # The precision with the missing ones integrated out: Q_NN - Q_NF Q_FF^-1 Q_FN.
    at, by_others = missing.places, (others @ parameters.precision).gather(1, missing.places)
    ahead = missing.is_missing[..., None] * torch.cat([slope[at], by_others[..., None]], 2)
    half = torch.linalg.solve_triangular(missing.factor, ahead, upper=False)
    by_slope, by_others = half[..., :-1], half[..., -1:]
    own = parameters.precision[places, places] - by_slope.mT @ by_slope
    linear = others @ slope - (by_slope.mT @ by_others)[..., 0]
    # log N(others | level) = log N(all) - log N(indicators).
    alone = torch.linalg.inv(parameters.covariance[places, places])
    offset = indicators(category) - parameters.mean[places]
    square = 0.5 * torch.einsum("ki,nij,kj->nk", offset, own - alone, offset)
    found: Tensor = square - shares.log() + linear @ offset.T
    return found
