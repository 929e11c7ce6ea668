"""Factor analysis and probabilistic PCA, with missing cells, as a scikit-learn estimator."""

import warnings
from numbers import Integral, Real
from typing import Any, Literal, NamedTuple, Self, overload

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from ..generator_model import GeneratorModel
from ..networks.generators import mlp
from ..observations import Gaussian, Masked
from ..priors import Normal
from .em import fit
from .incomplete_table import IncompleteTable, rows_by_pattern
from .linear_gaussian import LinearGaussian, posterior
from .sweep_operator import Array


class FactorPosterior(NamedTuple):
    """Exact posterior of the factors.

    Attributes
    ----------
    mean : array, (n, d)
    covariance : array, (n, d, d)
    """

    mean: Array
    covariance: Array


class FactorAnalysis(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """Factor analysis by EM: the generator whose network is linear, learned in closed form.

    ``y = mean + components' z + ε``, ``z ~ N(0, I)``, ``ε ~ N(0, diag(noise_variance))``. A cell
    that is NaN is missing: it is integrated out, neither filled nor counted as zero, and each
    iteration is exact for the observed cells.

    Parameters
    ----------
    n_components : int, default 1
        Number of factors d, at most the number of columns and less than that of rows.
    noise : "diagonal" or "isotropic", default "diagonal"
        One noise variance for each column (factor analysis), or one for all (probabilistic PCA).
    tol : float, default 1e-6
        Stop when two iterations gain no more than this in log-likelihood, in nats per example.
    max_iter : int, default 1000
        Most iterations.

    Attributes
    ----------
    components_ : array, (d, D)
        Loadings, rotated so that ``components_ @ diag(1 / noise_variance_) @ components_.T`` is
        diagonal and falls; each factor's largest loading, relative to the noise, is positive.
    mean_ : array, (D,)
        Means of the columns; 0 for one that is never observed.
    noise_variance_ : array, (D,)
        Noise variances, all the same if isotropic. A column that is never observed has 1, or what
        is the same for all.
    loglike_ : array, (n_iter_ + 1,)
        Log-likelihood of the observed cells of all rows, in nats: at the start and after each
        iteration. It never falls.
    n_iter_ : int
        Iterations taken.
    n_features_in_ : int
        Columns D.
    feature_names_in_ : array of str, (D,)
        Their names, where X was a data frame with names.

    Raises
    ------
    ValueError
        By :meth:`fit`, if a setting is out of its range, X holds an infinite value or no observed
        cell, or a column does not vary under diagonal noise.

    Notes
    -----
    An iteration is Rubin & Thayer's, two sweeps: the E-step regresses z on the observed y, the
    M-step y on (1, z). The M-step sweeps the expected cross-products on their zz block. The E-step
    is the sweep of the joint covariance on its yy block, worked out from the other side, as a sweep
    of the joint precision on its (d, d) zz block: once for each pattern of missing cells, so that
    nothing costs (D, D) for a row. Where cells are missing, both steps use the observed ones alone
    instead of imputing. After every second iteration a leap in the same direction is tried, and
    taken where the likelihood rises.

    With more factors than the data support a noise variance may creep towards zero for thousands
    of iterations (a Heywood case), though little is left to gain; where a column repeats another
    the likelihood has no maximum at all. A noise variance is kept above 1e-8 of the column's
    variance, with a warning when it gets there.

    References
    ----------
    Rubin & Thayer, "EM algorithms for ML factor analysis" (Psychometrika 1982); Liu, Rubin & Wu,
    "Parameter expansion to accelerate EM: the PX-EM algorithm" (Biometrika 1998), section 4.1,
    for the same EM; Tipping & Bishop, "Probabilistic principal component analysis" (1999);
    Varadhan & Roland, "Simple and globally convergent methods for accelerating the convergence of
    any EM algorithm" (2008), for the leap.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 1)) @ [[2.0, 3.0, 1.0]] + rng.normal(size=(200, 3))
    >>> X[rng.random(X.shape) < 0.3] = np.nan
    >>> fitted = FactorAnalysis(n_components=1).fit(X)
    >>> fitted.transform(X).shape
    (200, 1)
    >>> bool(np.isnan(fitted.impute(X)).any())
    False
    """

    components_: Array
    mean_: Array
    noise_variance_: Array
    loglike_: Array
    n_iter_: int
    n_features_in_: int

    def __init__(
        self,
        n_components: int = 1,
        *,
        noise: Literal["diagonal", "isotropic"] = "diagonal",
        tol: float = 1e-6,
        max_iter: int = 1000,
    ) -> None:
        self.n_components = n_components
        self.noise = noise
        self.tol = tol
        self.max_iter = max_iter

    def fit(self, X: ArrayLike, y: object = None) -> Self:  # noqa: N803
        """Find the maximum of the likelihood of the observed cells.

        Parameters
        ----------
        X : array, (n, D)
            One example a row, NaN where missing.
        y
            Not used; it is there for scikit-learn's pipelines.

        Returns
        -------
        self

        Warns
        -----
        ConvergenceWarning
            If ``max_iter`` was not enough.
        UserWarning
            If a column is never observed, or a noise variance went to zero.
        """
        values = self._validated(X, fitting=True)
        self._check_settings(*values.shape)
        isotropic = self.noise == "isotropic"
        self._check_columns(values, isotropic)
        table = IncompleteTable(values)
        model, trace, converged, collapsed = fit(
            table, int(self.n_components), isotropic, self.tol, self.max_iter
        )
        if not converged:
            warnings.warn(
                f"EM stopped after max_iter={self.max_iter} iterations before it converged (the "
                f"last one gained {(trace[-1] - trace[-2]) / len(values):.2g} nats per example, "
                f"tol={self.tol:g}): raise max_iter, or tol",
                ConvergenceWarning,
                stacklevel=2,
            )
        if collapsed.any():
            warnings.warn(
                f"the noise variance of columns {self._names(collapsed)} went to zero, where the "
                'likelihood may have no maximum: use fewer components, or noise="isotropic"',
                stacklevel=2,
            )
        self.loglike_ = np.array(trace)
        self.n_iter_ = len(trace) - 1
        self._keep(model, table.offset)
        return self

    def transform(self, X: ArrayLike) -> Array:  # noqa: N803
        """Return the posterior means of the factors given the observed cells.

        Parameters
        ----------
        X : array, (n, D)
            NaN where missing; a row without any observed cell gets the prior's mean, 0.

        Returns
        -------
        array, (n, d)
        """
        return self.posterior(X).mean

    def posterior(self, X: ArrayLike) -> FactorPosterior:  # noqa: N803
        """Return the exact posterior of each row's factors, a normal distribution.

        Parameters
        ----------
        X : array, (n, D)
            NaN where missing.

        Returns
        -------
        FactorPosterior
            ``mean`` (n, d) and ``covariance`` (n, d, d).
        """
        values = self._validated(X)
        n, d = len(values), len(self.components_)
        found = FactorPosterior(np.empty((n, d)), np.empty((n, d, d)))
        for rows in rows_by_pattern(values):
            its = posterior(self._model, rows)
            found.mean[rows.places] = its.mean
            found.covariance[rows.places] = its.covariance[:, None]
        return found

    def inverse_transform(self, X: ArrayLike) -> Array:  # noqa: N803
        """Return the signal at given factors, ``mean + components' z``.

        Parameters
        ----------
        X : array, (n, d)
            Factors.

        Returns
        -------
        array, (n, D)
        """
        check_is_fitted(self)
        factors: Array = check_array(X, dtype=np.float64)
        if factors.shape[1] != len(self.components_):
            raise ValueError(
                f"X must hold {len(self.components_)} factors a row, got shape {factors.shape}"
            )
        return self.mean_ + factors @ self.components_

    @overload
    def impute(self, X: ArrayLike, return_variance: Literal[False] = ...) -> Array: ...  # noqa: N803
    @overload
    def impute(self, X: ArrayLike, return_variance: Literal[True]) -> tuple[Array, Array]: ...  # noqa: N803
    def impute(
        self,
        X: ArrayLike,  # noqa: N803
        return_variance: bool = False,
    ) -> Array | tuple[Array, Array]:
        """Return X with each missing cell at its mean given the observed cells of its row.

        Parameters
        ----------
        X : array, (n, D)
            NaN where missing.
        return_variance : bool, default False
            Return the variances too.

        Returns
        -------
        filled : array, (n, D)
            Observed cells as they were.
        variance : array, (n, D), if asked for
            Variance of a missing cell given the observed ones, its own noise included; 0 where
            observed. In the units of X, squared.
        """
        values = self._validated(X)
        mean, loadings, noise = self._model
        filled, variance = values.copy(), np.zeros_like(values)
        for rows in rows_by_pattern(values):
            found = posterior(self._model, rows)
            predicted = mean + found.mean @ loadings.T
            filled[rows.places] = np.where(rows.seen, rows.values, predicted)
            if return_variance:
                spread = ((loadings @ found.covariance) * loadings).sum(-1) + noise
                variance[rows.places] = np.where(rows.seen, 0.0, spread[:, None])
        return (filled, variance) if return_variance else filled

    def score_samples(self, X: ArrayLike) -> Array:  # noqa: N803
        """Return the log density of each row's observed cells, in nats.

        Parameters
        ----------
        X : array, (n, D)
            NaN where missing; a row without any observed cell has 0.

        Returns
        -------
        array, (n,)
        """
        values = self._validated(X)
        densities = np.empty(len(values))
        for rows in rows_by_pattern(values):
            densities[rows.places] = posterior(self._model, rows).log_likelihood
        return densities

    def score(self, X: ArrayLike, y: object = None) -> float:  # noqa: N803
        """Return the mean log-likelihood of the observed cells, in nats per example.

        Parameters
        ----------
        X : array, (n, D)
            NaN where missing.
        y
            Not used.

        Returns
        -------
        float
        """
        return float(self.score_samples(X).mean())

    def get_covariance(self) -> Array:
        """Return the model's covariance of y, (D, D)."""
        check_is_fitted(self)
        _, loadings, noise = self._model
        return loadings @ loadings.T + np.diag(noise)

    def to_generator(self) -> GeneratorModel:
        """Return the same model as a generator, to go on from with another prior or network.

        Returns
        -------
        GeneratorModel
            Normal prior, linear network, Gaussian noise with a scale for each column, NaN where
            missing; in torch's default dtype.
        """
        check_is_fitted(self)
        num_factors, columns = self.components_.shape
        network = mlp(num_factors, columns, hidden=())
        weight, bias = torch.from_numpy(self.components_.T), torch.from_numpy(self.mean_)
        network.load_state_dict({"0.weight": weight, "0.bias": bias})
        scale = torch.from_numpy(np.sqrt(self.noise_variance_))
        return GeneratorModel(Normal(num_factors), network, Masked(Gaussian(scale)))

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    @property
    def _model(self) -> LinearGaussian:
        return LinearGaussian(self.mean_, self.components_.T, self.noise_variance_)

    def _validated(self, given: ArrayLike, fitting: bool = False) -> Array:
        if not fitting:
            check_is_fitted(self)
        values: Array = validate_data(
            self,
            given,
            reset=fitting,
            dtype=np.float64,
            ensure_all_finite=False,
            ensure_min_samples=2 if fitting else 1,
        )
        infinite = np.argwhere(np.isinf(values))
        if len(infinite):
            row, column = map(int, infinite[0])
            raise ValueError(
                f"X[{row}, {column}] must be finite, or NaN where missing, got "
                f"{values[row, column]}"
            )
        return values

    def _check_settings(self, n: int, columns: int) -> None:
        most = min(columns, n - 1)
        d = self.n_components
        if not isinstance(d, Integral) or isinstance(d, bool) or not 1 <= d <= most:
            raise ValueError(
                f"n_components must be an integer from 1 to {most} (at most n_features={columns}, "
                f"and less than n_samples={n}), got {d!r}"
            )
        if self.noise not in ("diagonal", "isotropic"):
            raise ValueError(f'noise must be "diagonal" or "isotropic", got {self.noise!r}')
        if not isinstance(self.tol, Real) or not 0 <= self.tol < float("inf"):
            raise ValueError(f"tol must be a number of nats, 0 or more, got {self.tol!r}")
        if not isinstance(self.max_iter, Integral) or self.max_iter < 1:
            raise ValueError(f"max_iter must be a positive integer, got {self.max_iter!r}")

    def _check_columns(self, values: Array, isotropic: bool) -> None:
        seen = ~np.isnan(values)
        observed = seen.any(0)
        if not observed.any():
            raise ValueError("X must hold at least one observed cell, got nothing but NaN")
        lowest = np.where(seen, values, np.inf).min(0)
        constant = observed & (lowest == np.where(seen, values, -np.inf).max(0))
        if constant[observed].all() or (constant.any() and not isotropic):
            raise ValueError(
                f"columns {self._names(constant)} of X must vary among their observed cells: the "
                "noise variance of a constant column would be 0 and the likelihood infinite. "
                'Leave them out; noise="isotropic" takes them if another column varies'
            )
        if not observed.all():
            warnings.warn(
                f"columns {self._names(~observed)} of X are observed in no row: they are predicted "
                "as 0, and nothing is known about them",
                stacklevel=3,
            )

    def _names(self, columns: Any) -> list[Any]:
        names = getattr(self, "feature_names_in_", np.arange(len(columns)))
        return list(names[columns].tolist())

    def _keep(self, model: LinearGaussian, offset: Array) -> None:
        """Rotate the factors to where each is by itself, the most informative one first."""
        loadings, noise = model.loadings, model.noise_variance
        _, axes = np.linalg.eigh(loadings.T @ (loadings / noise[:, None]))
        components = (loadings @ axes[:, ::-1]).T
        largest = np.abs(components / np.sqrt(noise)).argmax(1)[:, None]
        negative = np.take_along_axis(components, largest, axis=1) < 0
        self.components_ = np.where(negative, -components, components)
        self.mean_ = model.mean + offset
        self.noise_variance_ = noise
