"""Imputation of tables by a generator, as a scikit-learn estimator."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from ..inference.arguments import check_positive, plain_number
from .containers import as_asked, as_given
from .fitted import FittedTable, warn_of_few_draws
from .frames import (
    as_frame,
    check_columns,
    check_same_columns,
    described,
    holds_strings,
    written,
)
from .learning import Learning
from .limits import Limits, checked_limits
from .polars_frames import is_polars, to_pandas
from .seeds import checked_seed
from .stacking import Candidates
from .storage import Numbers
from .table import Rows, Table
from .warned import warn

MOST_LATENTS = 16

HIDDEN_SHARE = 0.1
"""Of the observed cells, those that the score hides."""


def _has_named_columns(imputer: Any) -> bool:
    """Return whether a frame was given to fit, so that columns can be asked for by name."""
    return getattr(imputer, "_is_of_frame", False)


class Intervals(NamedTuple):
    """Between which values missing cells lie with some probability, two frames of numbers."""

    lower: pd.DataFrame
    upper: pd.DataFrame


class GeneratorImputer(
    OneToOneFeatureMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """Fill in the missing cells of a table by one joint model of columns of every kind.

    Each row has a latent; a network makes of it what every column's observation needs, and given
    the latent the columns are independent. The network is learned from the observed cells alone.
    Beside it stand normal models of the rows, whose parameters are drawn, and each model gets a
    share of the draws. Missing cells are drawn, or their means and probabilities computed, given
    the row's observed cells. Rows that fit has not seen are filled in the same way.

    It stands where scikit-learn's ``IterativeImputer`` does. A data frame of pandas or polars comes
    back as such with the dtypes, categories and index that it had, an array as an array; observed
    cells come back to the bit.

    ==========================================  ==================================================
    a column of                                 is modelled as
    ==========================================  ==================================================
    truth values, or of two different values    ``Bernoulli()``
    strings, categories                         ``Categorical(k)``
    ordered categories                          ``Ordinal(k)``
    numbers, dates: ``most_levels`` at most     ``Categorical(k)``
    numbers that repeat: see ``most_levels``    ``Categorical(k)``
    other numbers, dates, durations             normal scores with Gaussian noise; a value that
                                                stands in a tenth of the cells (ten at least), by
                                                itself
    one value                                   a constant
    ==========================================  ==================================================

    Parameters
    ----------
    kinds : mapping, optional
        Observations for columns that shall be modelled otherwise, by name (``"x0"``, ``"x1"``, ...
        for an array): ``{"stage": Ordinal(4), "lead": Censored(Gaussian(), lower=0.5)}``. An
        observation of a location-scale family without a link (Gaussian, Laplace, Student t) is
        one of the standardised column, and its scale is learned; limits are in the column's
        units. Every other is used as it is, on the column's own numbers.
    latent_dim : int, optional
        Number of latent components d; by default the number of columns, at most 16.
    hidden : sequence of int, default (64, 64)
        Width of the layers of the network's non-linear part.
    epochs : int, default 300
        Passes through the rows in learning.
    decay : float, default 40
        Decay of the weights of the non-linear part, times columns over rows.
    proper : bool, default True
        Draw parameters too (proper multiple imputation): normal models of the rows, whose means and
        covariances are drawn from their posterior given the table, beside the network, in shares
        by which hidden cells are predicted best. False takes the learned network alone and its
        parameters for the true ones: intervals are too narrow in small tables or where many
        cells are missing. True takes two to four times as long.
    num_draws : int, default 200
        Posterior draws behind means, probabilities, intervals and the score.
    most_levels : int, default 20
        Numbers are modelled by category if no more different ones occur, each five times or more
        in the mean. Up to five times as many may occur where numbers repeat, as tax rates of
        towns do (docs/tables.md). 2: never.
    keep_empty_features : bool, default False
        Keep columns without any observed cell, as they are. By default they are dropped, with a
        warning.
    verbose : bool, default False
        Show progress bars in ``fit``: of learning, and of drawing parameters.
    random_state : int, RandomState or None, default None
        Reproduces fits and draws.

    Attributes
    ----------
    columns_ : DataFrame
        A row for each column: its dtype, what it holds, the kind by which it is modelled, how many
        different values it has, and the share of its cells that is missing.
    fitted_ : FittedTable
        The models, ``fitted_.members``, and the shares of the draws that they get,
        ``fitted_.shares``. The network's ``model`` is a
        :class:`~explainaway.models.GeneratorModel`.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : array
        Their names, where a frame was given.

    References
    ----------
    Han, Lu, Zhu & Wu (2017), section 3.3, for learning from incomplete data; Rubin, "Multiple
    Imputation for Nonresponse in Surveys" (1987), for proper draws; Schafer, "Analysis of
    Incomplete Multivariate Data" (1997), for the normal models; Hoff, "Extending the rank
    likelihood for semiparametric copula estimation" (2007), for models of ranks.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from explainaway.tables import GeneratorImputer
    >>> noise = np.random.default_rng(0)
    >>> height = noise.normal(170, 10, 200).round(1)
    >>> frame = pd.DataFrame({"height": height, "is_tall": height > 175})
    >>> frame["is_tall"] = frame["is_tall"].astype("boolean")
    >>> frame.loc[frame.index[:3], "is_tall"] = pd.NA
    >>> filled = GeneratorImputer(epochs=100, random_state=0).fit_transform(frame)
    >>> int(filled.isna().sum().sum())
    0
    """

    def __init__(
        self,
        kinds: Mapping[Any, Any] | None = None,
        *,
        latent_dim: int | None = None,
        hidden: Sequence[int] = (64, 64),
        epochs: int = 300,
        decay: float = 40.0,
        proper: bool = True,
        num_draws: int = 200,
        most_levels: int = 20,
        keep_empty_features: bool = False,
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.kinds = kinds
        self.latent_dim = latent_dim
        self.hidden = hidden
        self.epochs = epochs
        self.decay = decay
        self.proper = proper
        self.num_draws = num_draws
        self.most_levels = most_levels
        self.keep_empty_features = keep_empty_features
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, limits: Any = None) -> Self:  # noqa: N803
        """Learn from a table.

        Parameters
        ----------
        X : DataFrame or array, (n, columns)
            NaN, None and pandas' NA and NaT mean missing.
        y : None
            Not used.
        limits : mapping, optional
            From a column to its lower and its upper limit: ``{"lead": (0.5, None)}``. Each is
            None, a number, or one for each row. A cell at or beyond its limit is known only to
            lie there, and so is a missing cell whose row has a limit of its own (one: with two it
            is but missing). Such cells are filled beyond their limits. A Series is aligned by the
            table's index.

        Returns
        -------
        GeneratorImputer

        Warns
        -----
        ConvergenceWarning
            If chains that draw normal models have not mixed: more ``epochs`` make them longer.

        Raises
        ------
        ValueError
            If a column holds labels that are all different, an infinite number, or does not fit
            its kind or its limits (the message names the column); if there is no row or no
            column, names of columns are not plain and different, or a setting is out of range.
        TypeError
            If a column holds what is neither number, truth value, date, string nor category.
        """
        for name in ("epochs", "num_draws", "most_levels"):
            check_positive(name, getattr(self, name))
        if self.latent_dim is not None:
            check_positive("latent_dim", self.latent_dim)
        if np.ndim(self.hidden) != 1:
            raise TypeError(
                f"hidden must be a sequence of widths such as (64, 64), got {self.hidden!r}"
            )
        for place, width in enumerate(self.hidden):
            check_positive(f"hidden[{place}]", width)
        if not isinstance(plain_number(self.decay), int | float) or not 0 <= self.decay < np.inf:
            raise ValueError(f"decay must be 0 or a positive number, got {self.decay!r}")
        if not isinstance(self.proper, bool | np.bool_):
            raise TypeError(f"proper must be True or False, got {self.proper!r}")
        frame = self._frame(X, reset=True)
        self._is_of_frame = isinstance(X, pd.DataFrame) or is_polars(X)
        bounds = checked_limits(limits, list(frame), frame.index)
        table = Table.of(frame, self._checked_kinds(frame), bounds, self.most_levels)
        rows = table.rows(*table.read(frame), bounds)
        self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.fitted_ = self._learned(table, rows, bounds)
        self.columns_ = described(table, frame)
        empty = [name for name in frame if name not in table.names]
        if empty and not self.keep_empty_features:
            warn(
                f"columns {empty} have no observed cell: nothing is known of them, and they are "
                "dropped (keep_empty_features=True keeps them as they are)",
            )
        return self

    def _learned(self, table: Table, rows: Rows, bounds: Limits) -> FittedTable:
        if table.layout.observation is None:
            return FittedTable(table, [], [])
        candidates = Candidates(
            self.latent_dim or min(len(table.models), MOST_LATENTS),
            tuple(self.hidden),
            Learning(self.epochs, self.decay, bool(self.verbose)),
            self.seed_,
        )
        if not self.proper:
            return FittedTable(table, [candidates.network(table, rows)], [1.0])
        return candidates.stacked(table, rows, bounds)

    def transform(self, X: Any, limits: Any = None) -> Any:  # noqa: N803
        """Return the table with missing cells at their posterior means, of categories the mode.

        Parameters
        ----------
        X : DataFrame or array, (n, columns)
            Rows, those of fit or others.
        limits : mapping, optional
            As in :meth:`fit`, of these rows.

        Returns
        -------
        DataFrame or array
            As was given, or as ``set_output`` asks for. A mean is rounded where the dtype holds
            whole numbers only.
        """
        frame, rows = self._rows(X, limits)
        filled = self.fitted_.estimates(rows, self.num_draws, self.seed_)
        return as_asked(self, X, self._filled(frame, rows, filled))

    def fit_transform(self, X: Any, y: Any = None, limits: Any = None) -> Any:  # noqa: N803
        """Learn from a table and return it filled: :meth:`fit`, then :meth:`transform`."""
        return self.fit(X, y, limits).transform(X, limits)

    def sample(
        self,
        X: Any,  # noqa: N803
        num_draws: int = 20,
        seed: int | None = None,
        limits: Any = None,
    ) -> list[Any]:
        """Return completed tables: draws of the missing cells given the observed ones.

        Parameters
        ----------
        X : DataFrame or array, (n, columns)
            Rows, those of fit or others.
        num_draws : int, default 20
            How many tables.
        seed : int, optional
            Reproduces them; by default what ``random_state`` gave.
        limits : mapping, optional
            As in :meth:`fit`, of these rows.

        Returns
        -------
        list of DataFrame or array
            Drawn numbers lie within the range of the observed ones or not far from it, and are
            whole where those are.
        """
        check_positive("num_draws", num_draws)
        seed = self.seed_ if seed is None else checked_seed(seed)
        frame, rows = self._rows(X, limits)
        draws = self.fitted_.completions(rows, num_draws, seed)
        return [as_given(X, self._filled(frame, rows, numbers)) for numbers in draws]

    def intervals(self, X: Any, level: float = 0.9, limits: Any = None) -> Intervals:  # noqa: N803
        """Return between which values missing cells lie with probability ``level``.

        Parameters
        ----------
        X : DataFrame or array, (n, columns)
            Rows, those of fit or others.
        level : float, default 0.9
            Probability, each cell by itself; as much lies below as above. Draws have to lie
            beyond: 0.99 takes ``num_draws=199``, else there is a warning.
        limits : mapping, optional
            As in :meth:`fit`, of these rows.

        Returns
        -------
        Intervals
            ``lower`` and ``upper``, frames of the columns of numbers and dates; an observed cell
            is in both.
        """
        level = plain_number(level)
        if not isinstance(level, float) or not 0 < level < 1:
            raise ValueError(f"level must be a number between 0 and 1, got {level!r}")
        warn_of_few_draws(level, self.num_draws)
        frame, rows = self._rows(X, limits)
        shares = [(1 - level) / 2, (1 + level) / 2]
        ends = self.fitted_.quantiles(rows, shares, self.num_draws, self.seed_)
        numeric = [s.name for s in self.fitted_.table.storages if s.is_number]
        return Intervals(*(self._filled(frame, rows, numbers)[numeric] for numbers in ends))

    @available_if(_has_named_columns)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any, limits: Any = None) -> dict[Hashable, pd.DataFrame]:  # noqa: N803
        """Return the probabilities of each category, a frame for each column of categories.

        There is this method where fit was given a frame: columns are asked for by name.

        Parameters
        ----------
        X : DataFrame, (n, columns)
            Rows, those of fit or others.
        limits : mapping, optional
            As in :meth:`fit`, of these rows.

        Returns
        -------
        dict of DataFrame
            By column, (n, levels): of an observed cell 1 and 0; NaN where it holds a label that
            fit has not seen. Numbers that are modelled by category are among them, and columns
            in which fit has seen one label only.
        """
        frame, rows = self._rows(X, limits)
        table = self.fitted_.table
        found = self.fitted_.probabilities(rows, self.num_draws, self.seed_)
        return {
            table.storages[column].name: pd.DataFrame(
                shares, index=frame.index, columns=table.labels_of(column)
            )
            for column, shares in found.items()
        }

    def score(self, X: Any, y: Any = None, limits: Any = None) -> float:  # noqa: N803
        """Return the mean log predictive density of a tenth of the observed cells, hidden.

        The larger the better: ``GridSearchCV`` chooses by it. Each cell is predicted from those
        of its row that are not hidden; densities are those of the column in its own units,
        probabilities where it holds categories.

        Parameters
        ----------
        X : DataFrame or array, (n, columns)
            Rows, best others than those of fit.
        y : None
            Not used.
        limits : mapping, optional
            As in :meth:`fit`, of these rows.

        Returns
        -------
        float
            In nats per cell.
        """
        frame, table = self._frame(X), self.fitted_.table
        bounds = checked_limits(limits, list(frame), frame.index)
        numbers, missing = table.read(frame)
        complete = table.rows(numbers, missing, bounds)
        hidden = table.some_known(complete, HIDDEN_SHARE, self.seed_, fewest=1)
        if not hidden.any():
            raise ValueError("X must have observed cells of columns that are not constant")
        rows = table.rows(numbers, missing, bounds, hidden)
        return self.fitted_.score(rows, complete, hidden, self.num_draws, self.seed_)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the columns that :meth:`transform` returns.

        Parameters
        ----------
        input_features : sequence of str, optional
            Those of fit, or names for the columns of an array.
        """
        names: NDArray[np.object_] = super().get_feature_names_out(input_features)
        return names[self._kept]

    @property
    def _n_features_out(self) -> int:
        return int(self._kept.sum())

    def __sklearn_tags__(self) -> Tags:
        """Say that NaN, strings and categories are allowed."""
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _frame(self, X: Any, reset: bool = False) -> pd.DataFrame:  # noqa: N803
        """Return what was given as a frame; it is checked against what fit was given."""
        if not reset:
            check_is_fitted(self)
        if isinstance(X, pd.DataFrame) or is_polars(X):
            frame = to_pandas(X) if is_polars(X) else X
            if reset:
                check_columns(frame)
            elif not self._names_are_compared(frame):
                check_same_columns(frame, list(self.columns_.index))
            validate_data(self, X, reset=reset, skip_check_array=True)
            return frame
        # NumPy would make strings of the numbers and gaps beside strings.
        dtype = object if holds_strings(X) else None
        cells = validate_data(self, X, reset=reset, dtype=dtype, ensure_all_finite="allow-nan")
        return as_frame(cells, None if reset else list(self.columns_.index))

    def _names_are_compared(self, frame: pd.DataFrame) -> bool:
        """Return whether scikit-learn compares names of columns: where all are strings."""
        return hasattr(self, "feature_names_in_") and all(isinstance(name, str) for name in frame)

    def _checked_kinds(self, frame: pd.DataFrame) -> Mapping[Hashable, Any]:
        kinds = {} if self.kinds is None else self.kinds
        if not isinstance(kinds, Mapping):
            raise TypeError(
                'kinds must be a mapping from columns to observations such as {"stage": '
                f"Ordinal(4)}}, got {kinds!r}"
            )
        for name in kinds:
            if name not in frame.columns:
                raise ValueError(f"kinds name {name!r}, but the columns are {list(frame)}")
        return kinds

    def _rows(self, X: Any, limits: Any) -> tuple[pd.DataFrame, Rows]:  # noqa: N803
        frame, table = self._frame(X), self.fitted_.table
        bounds = checked_limits(limits, list(frame), frame.index)
        return frame, table.rows(*table.read(frame), bounds)

    @property
    def _kept(self) -> NDArray[np.bool_]:
        if self.keep_empty_features:
            return np.ones(len(self.columns_), dtype=bool)
        kept: NDArray[np.bool_] = (self.columns_["kind"] != "empty").to_numpy()
        return kept

    def _filled(self, frame: pd.DataFrame, rows: Rows, numbers: Numbers) -> pd.DataFrame:
        return written(self.fitted_.table, frame, rows.open, numbers).loc[:, self._kept]
