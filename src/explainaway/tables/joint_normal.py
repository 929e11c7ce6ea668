"""A multivariate normal model of a table's rows, its parameters drawn from their posterior."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from ..inference.noise.keyed import KeyedSource
from .coordinates import CategoryColumn, Coordinates
from .draws import log_mean_exp
from .normal_noise import inverse_wishart
from .normal_rows import NormalRows, Parameters
from .storage import Numbers
from .table import Rows, Table

WARMUP, BETWEEN = 2 / 3, 1 / 30
"""Sweeps before the first draw of the parameters, and from one to the next, as shares of the epochs
of the network's learning."""

BETWEEN_MAPS = 5
"""Sweeps from one proposal of other maps to the next, from the middle of the warmup on: columns
that determine each other along a straight line have to be seen to do so first."""

SHAPE = 2.0
"""Of the prior of the covariance: correlations are uniform, deviations half-t of two degrees."""

WIDEST = 1e5
"""Largest auxiliary variance of that prior, so that columns that determine each other stay apart
from singular."""

MOST_ROWS, MOST_PRODUCTS = 2000, 4_000_000
"""From so many rows, chosen at random, parameters are drawn: they are well known then. Fewer where
rows times coordinates squared would be more than the second."""

MOST_COORDINATES, MOST_LEVELS = 100, 40

FIRST_SWEEPS = 150
MOST_SWEEPS, FEWEST_SWEEPS, ALL_SWEEPS = 15, 5, 600
"""Of new rows before the first draw, where utilities have far to go, and from one draw to the next:
fewer where there are many draws, in all about as many as the last."""

DRAWN = 40
"""Draws of the parameters."""

_NO_ROWS = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class NormalRecipe:
    """How a normal model is drawn.

    Cells that are not known, the mean and the covariance are drawn in turn. Whether a column of
    numbers is normal as it is or by its scores is drawn with them, the numbers themselves left as
    they are: the chances are those of the complete table with the mean and the covariance
    integrated out.

    Attributes
    ----------
    table : Table
    coordinates : Coordinates
        How columns become coordinates.
    epochs : int
        Two thirds as many sweeps before the first draw, and a thirtieth between two.
    seed : int
    start_bent : bool
        Whether columns begin as scores: chains rarely change several columns at once.
    progress : bool
        Whether to show a progress bar.

    References
    ----------
    Schafer, "Analysis of Incomplete Multivariate Data" (1997), for data augmentation; Huang &
    Wand, "Simple marginally noninformative prior distributions for covariance matrices" (2013);
    Hoff, "Extending the rank likelihood for semiparametric copula estimation" (2007).
    """

    table: Table
    coordinates: Coordinates
    epochs: int
    seed: int
    start_bent: bool = False
    progress: bool = False

    @property
    def most_rows(self) -> int:
        """From how many rows at most parameters are drawn."""
        return min(MOST_ROWS, MOST_PRODUCTS // self.coordinates.width**2)

    def model(self, rows: Rows) -> "JointNormal":
        """Return the model of some rows."""
        parameters = [each for each, _ in self._chain(rows, _NO_ROWS)]
        return JointNormal(self.table, self.coordinates, parameters)

    def draws(self, rows: Rows, index: NDArray[np.int64]) -> "NormalDraws":
        """Return draws of some of the rows of which a model is made, those of its own chain.

        Parameters
        ----------
        index : array, (n,)
            Which rows; others are added up to ``most_rows``.
        """
        kept = list(self._chain(rows, index))
        parameters, states = (list(each) for each in zip(*kept, strict=True))
        model = JointNormal(self.table, self.coordinates, parameters)
        return NormalDraws(model, rows.some(index), states, parameters)

    def _chain(self, rows: Rows, index: NDArray[np.int64]) -> Iterator[tuple[Parameters, Tensor]]:
        """Yield draws of the parameters, each with coordinates (n, p) of the rows in ``index``."""
        coordinates = self.coordinates
        others = np.setdiff1d(np.flatnonzero(rows.say_something()), index)
        room = max(self.most_rows - len(index), 0)
        if len(others) > room:
            others = np.random.default_rng(self.seed).permutation(others)[:room]
        used = np.union1d(others, index)
        some = rows.some(used)
        known = some.known(self.table.layout)
        maps = [len(each.maps) - 1 if self.start_bent else 0 for each in coordinates.numbers]
        sampler = _Sampler(NormalRows(coordinates, some, known, maps), self.seed)
        places = torch.as_tensor(np.searchsorted(used, index))
        warmup, between = math.ceil(WARMUP * self.epochs), math.ceil(BETWEEN * self.epochs)
        sweeps = range(1, warmup + DRAWN * between + 1)
        for sweep in tqdm(sweeps, desc="drawing parameters", disable=not self.progress):
            sampler.sweep(with_maps=sweep > warmup // 2 and sweep % BETWEEN_MAPS == 0)
            if sweep > warmup and (sweep - warmup) % between == 0:
                yield sampler.parameters, sampler.rows.x[places]


@dataclass(frozen=True)
class JointNormal:
    """Draws of the parameters of a normal model, which fill in rows.

    Attributes
    ----------
    table : Table
    coordinates : Coordinates
        How columns become coordinates.
    parameters : list of Parameters
    """

    table: Table
    coordinates: Coordinates
    parameters: list[Parameters]

    def drawn(self, rows: Rows, ids: NDArray[np.int64], num_draws: int, seed: int) -> "NormalDraws":
        """Return draws of rows, each under parameters of its own where there are enough.

        Parameters
        ----------
        ids : array, (n,)
            Numbers of the rows, by which they have random numbers of their own.
        """
        source = KeyedSource.of_chains(seed, torch.as_tensor(ids), 1)
        # At equal distances, from anywhere on: with each seed they are others.
        start = np.random.default_rng(seed % 2**64).random()
        share = (np.arange(num_draws) + start) / num_draws
        chosen = (share * len(self.parameters)).astype(int)
        state = NormalRows(
            self.coordinates,
            rows,
            rows.known(self.table.layout),
            self.parameters[chosen[0]].maps,
        )
        first, between = FIRST_SWEEPS, min(max(ALL_SWEEPS // num_draws, FEWEST_SWEEPS), MOST_SWEEPS)
        if self.coordinates.are_numbers:
            first, between = 1, 1
        states, step = [], 0
        for number, each in enumerate(chosen):
            for _ in range(between if number else first):
                state.sweep(self.parameters[each], source.at(step))
                step += 1
            states.append(state.x.clone())
        return NormalDraws(self, rows, states, [self.parameters[each] for each in chosen])


@dataclass(frozen=True)
class NormalDraws:
    """Draws of rows.

    Attributes
    ----------
    model : JointNormal
    rows : Rows
    states : list of Tensor, (n, p)
        Coordinates.
    parameters : list of Parameters
        Under which each was drawn.
    """

    model: JointNormal
    rows: Rows
    states: list[Tensor]
    parameters: list[Parameters]

    def completed(self) -> Numbers:
        """Return the numbers of the rows' cells, (draws, n, columns), drawn where open."""
        table, rows = self.model.table, self.rows
        filled = np.repeat(rows.numbers[None], len(self.states), 0)
        for draw, cells in zip(filled, self._decoded(), strict=True):
            for column, numbers in cells.items():
                hidden = rows.open[:, column]
                draw[hidden, column] = table.within(column, numbers, rows)[hidden]
        return filled

    def probabilities(self, column: int) -> Numbers:
        """Return those of a column's levels, (n, levels): how often they were drawn."""
        levels = self.model.table.models[column].levels
        assert levels is not None
        drawn = np.stack([cells[column] for cells in self._decoded()])
        shares: Numbers = (drawn[..., None] == levels).mean(0)
        return shares

    def log_densities(self, of: Rows) -> Numbers:
        """Return log predictive densities of these rows' cells, (n, columns), in their own units.

        Parameters
        ----------
        of : Rows
            The same rows with the cells that were hidden.
        """
        table, coordinates = self.model.table, self.model.coordinates
        found = np.zeros(of.numbers.shape)
        for k, column in enumerate(coordinates.numbers):
            if table.models[column.column].levels is None:
                cells = of.numbers[:, column.column]
                found[:, column.column] = self._densities(k, cells)
        for place, model in enumerate(table.models):
            if model.levels is not None and model.parts:
                cells, number = of.numbers[:, place, None], len(self.states)
                share = (self.probabilities(place) * (cells == model.levels)).sum(1)
                # What was never drawn is not impossible.
                chance = (number * share + 0.5) / (number + 0.5 * len(model.levels))
                found[:, place] = np.where(np.isnan(cells[:, 0]), np.nan, np.log(chance))
        return found

    def _decoded(self) -> Iterator[dict[int, Numbers]]:
        """Yield the numbers of each draw's columns."""
        for x, parameters in zip(self.states, self.parameters, strict=True):
            yield self.model.coordinates.decoded(x.numpy(), parameters.maps)

    def _densities(self, number: int, cells: Numbers) -> Numbers:
        """Return log densities of a column of numbers, each draw given the row's other cells."""
        column = self.model.coordinates.numbers[number]
        of_draws = []
        for x, parameters in zip(self.states, self.parameters, strict=True):
            chosen = column.maps[parameters.maps[number]]
            row = parameters.precision[column.place]
            scale = float(row[column.place] ** -0.5)
            slope = (x - parameters.mean) @ row * scale**2
            mean = (x[:, column.place] - slope).numpy()
            error = (chosen.to(cells) - mean) / scale
            density = -0.5 * error**2 - np.log(scale * np.sqrt(2 * np.pi)) + chosen.log_slope(cells)
            for spike in column.spikes:
                ends = torch.as_tensor((np.array([[spike.low], [spike.high]]) - mean) / scale)
                mass = torch.special.ndtr(ends).diff(dim=0)[0].clamp(min=1e-300).log().numpy()
                density = np.where(cells == spike.value, mass, density)
            of_draws.append(density)
        return log_mean_exp(np.stack(of_draws))


class _Sampler:
    """The state of the Gibbs sampler."""

    def __init__(self, rows: NormalRows, seed: int) -> None:
        self.rows = rows
        self.noise = torch.Generator().manual_seed(seed)
        width = rows.coordinates.width
        identity = torch.eye(width, dtype=torch.float64)
        shares = [torch.ones(len(c.levels)).double() for c in rows.coordinates.categories]
        self.parameters = Parameters(
            torch.zeros(width, dtype=torch.float64), identity, identity, tuple(rows.maps), shares
        )
        self.auxiliary = torch.ones(width, dtype=torch.float64)

    def sweep(self, with_maps: bool) -> None:
        """Draw everything once."""
        self.rows.sweep(self.parameters, self.noise)
        if with_maps:
            self._draw_maps()
        self._draw_parameters()

    @property
    def _degrees(self) -> float:
        """Of freedom of the covariance's posterior."""
        return SHAPE + len(self.rows.x) + self.rows.coordinates.width - 2

    def _prior(self) -> Tensor:
        return torch.diag(2 * SHAPE / self.auxiliary)

    def _draw_maps(self) -> None:
        """Propose the other map of each column of numbers that has two.

        Scores follow the cells that they are made of, so each free knot costs a nat (Akaike 1974).
        """
        rows, prior = self.rows, self._prior()
        errors = rows.x - rows.x.mean(0)
        energy = self._energy(prior, errors)
        for number, column in enumerate(rows.coordinates.numbers):
            if len(column.maps) == 1:
                continue
            chosen = 1 - rows.maps[number]
            x, change = rows.remapped(number, chosen)
            other = errors.clone()
            other[:, column.place] = x - x.mean()
            proposed = self._energy(prior, other)
            price = column.maps[chosen].freedom - column.maps[rows.maps[number]].freedom
            rate = np.exp(min(0.0, energy - proposed + change - price))
            if float(torch.rand((), generator=self.noise)) < rate:
                rows.put(number, chosen, x)
                errors, energy = other, proposed

    def _energy(self, prior: Tensor, errors: Tensor) -> float:
        """Return minus the log density of rows with the mean and the covariance integrated out."""
        return 0.5 * self._degrees * float(torch.logdet(prior + errors.T @ errors))

    def _draw_parameters(self) -> None:
        rows = self.rows
        mean = rows.x.mean(0)
        errors = rows.x - mean
        scale = self._prior() + errors.T @ errors
        covariance, precision = inverse_wishart(self._degrees, scale, self.noise)
        shape = torch.full_like(mean, 0.5 * (SHAPE + len(mean)))
        drawn = torch._standard_gamma(shape, generator=self.noise)
        self.auxiliary = ((SHAPE * precision.diagonal() + 1) / drawn).clamp(max=WIDEST)
        xi = torch.randn(len(mean), generator=self.noise, dtype=mean.dtype)
        mean = mean + torch.linalg.cholesky(covariance) @ xi / len(rows.x) ** 0.5
        # Utilities have no unit: their variances are 1 in the mean.
        unit = torch.ones_like(mean)
        for category in rows.coordinates.categories:
            if category.form == "utilities":
                unit[category.places] = covariance.diagonal()[category.places].mean().sqrt()
        rows.x /= unit
        self.parameters = Parameters(
            mean / unit,
            covariance / unit / unit[:, None],
            precision * unit * unit[:, None],
            tuple(rows.maps),
            [self._shares(category) for category in rows.coordinates.categories],
        )

    def _shares(self, category: CategoryColumn) -> Tensor:
        number = len(category.levels)
        if category.form != "indicators":
            return torch.full((number,), 1 / number).double()
        counts = self.rows.current(category).bincount(minlength=number) + 0.5
        drawn = torch._standard_gamma(counts.double(), generator=self.noise)
        return drawn / drawn.sum()


def is_narrow(coordinates: Coordinates) -> bool:
    """Return whether there are few enough coordinates for a matrix of each row, and levels."""
    most = max([len(category.levels) for category in coordinates.categories], default=0)
    return 0 < coordinates.width <= MOST_COORDINATES and most <= MOST_LEVELS
