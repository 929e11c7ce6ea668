"""One answer from analyses of several completed tables: Rubin's rules."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats


def pool(
    results: Sequence[Any] | ArrayLike | pd.DataFrame,
    standard_errors: ArrayLike | pd.DataFrame | None = None,
    *,
    complete_dof: float | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Pool the estimates of the same analysis, made on each of several completed tables.

    The variance of a pooled estimate is the mean of the variances plus, as cells are not known, the
    variance of the estimates between tables (Rubin's rules).

    Parameters
    ----------
    results : sequence of fitted models, or array, (m, k) or (m,)
        Either m fitted models with ``params`` and ``bse``, as those of statsmodels (their
        ``df_resid``, if they have it, is the default of `complete_dof`), or the estimates of k
        quantities from m tables.
    standard_errors : array, (m, k) or (m,)
        Of the estimates, in their units; to be left out where `results` are fitted models.
    complete_dof : float, optional
        Degrees of freedom that the analysis would have if no cell were missing, for instance n - k
        of a regression. By default those of the fitted models, else infinitely many.
    level : float, default 0.95
        Of the intervals.

    Returns
    -------
    DataFrame
        A row for each quantity: ``estimate``, ``standard_error``, ``dof`` (Barnard and Rubin's),
        ``lower`` and ``upper`` ends of the interval, ``statistic`` and ``p_value`` of the test
        that the quantity is zero, ``within`` and ``between`` (the two variances),
        ``relative_increase`` of the variance by missing cells, and ``missing_information``, its
        share of all information.

    Raises
    ------
    ValueError
        If there are fewer than two tables, shapes or names of quantities differ, standard errors
        are negative, an estimate is not a number, or `complete_dof` or `level` is out of range.
    TypeError
        If `results` are neither numbers nor models with ``params`` and ``bse``.

    References
    ----------
    Rubin, "Multiple Imputation for Nonresponse in Surveys" (1987), chapter 3; Barnard & Rubin,
    "Small-sample degrees of freedom with multiple imputation" (1999).

    Examples
    --------
    >>> from explainaway.tables import pool
    >>> pool([1.1, 0.9, 1.3], [0.2, 0.2, 0.2])[["estimate", "standard_error", "dof"]].round(3)
       estimate  standard_error    dof
    0       1.1           0.306  6.125
    """
    estimates, errors, names, dof = _read(results, standard_errors)
    dof = dof if complete_dof is None else complete_dof
    if not dof > 0:
        raise ValueError(f"complete_dof: {dof}, expected a positive number")
    if not isinstance(level, int | float) or not 0 < level < 1:
        raise ValueError(f"level: {level!r}, expected a number between 0 and 1")
    count = len(estimates)
    estimate = estimates.mean(0)
    within = (errors**2).mean(0)
    between = estimates.var(0, ddof=1)
    excess = (1 + 1 / count) * between
    total = within + excess
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(total > 0, excess / total, 0.0)
        increase = np.where(excess > 0, excess / within, 0.0)
        pooled_dof = _degrees_of_freedom(share, count, dof)
        statistic = estimate / np.sqrt(total)
        # (r + 2 / (dof + 3)) / (r + 1), written so that r may be infinite.
        missing = share + (1 - share) * 2 / (pooled_dof + 3)
    half = stats.t.ppf((1 + level) / 2, pooled_dof) * np.sqrt(total)
    return pd.DataFrame(
        {
            "estimate": estimate,
            "standard_error": np.sqrt(total),
            "dof": pooled_dof,
            "lower": estimate - half,
            "upper": estimate + half,
            "statistic": statistic,
            "p_value": 2 * stats.t.sf(np.abs(statistic), pooled_dof),
            "within": within,
            "between": between,
            "relative_increase": increase,
            "missing_information": missing,
        },
        index=names,
    )


def _degrees_of_freedom(share: Any, count: int, complete: float) -> Any:
    """Return Barnard and Rubin's, of the share of the variance that is due to missing cells."""
    large_sample = np.where(share > 0, (count - 1) / share**2, np.inf)
    if np.isinf(complete):
        return large_sample
    observed = (complete + 1) / (complete + 3) * complete * (1 - share)
    return np.where(observed > 0, 1 / (1 / large_sample + 1 / observed), 0.0)


def _read(results: Any, standard_errors: Any) -> tuple[Any, Any, Any, float]:
    """Return estimates and standard errors, (m, k), the names of quantities, and the dof."""
    dof, names = np.inf, None
    if standard_errors is None:
        models = list(results)
        if not all(hasattr(model, "params") and hasattr(model, "bse") for model in models):
            kinds = sorted({type(model).__name__ for model in models})
            raise TypeError(
                f"results: {', '.join(kinds)} without standard_errors, expected fitted models "
                "with params and bse, or estimates with standard_errors"
            )
        dof = min((float(getattr(model, "df_resid", np.inf)) for model in models), default=np.inf)
        results = [model.params for model in models]
        standard_errors = [model.bse for model in models]
        indices = [list(getattr(each, "index", [])) for each in results]
        if any(index != indices[0] for index in indices):
            raise ValueError("results: models of different quantities, expected the same in all")
        names = indices[0] if indices and indices[0] else None
    elif isinstance(results, pd.DataFrame):
        names = results.columns
        if isinstance(standard_errors, pd.DataFrame):
            if sorted(map(str, names)) != sorted(map(str, standard_errors.columns)):
                raise ValueError(
                    f"standard_errors: of {list(standard_errors.columns)}, expected the quantities "
                    f"of the estimates, {list(names)}"
                )
            standard_errors = standard_errors[names]
    elif _holds_series(results) or _holds_series(standard_errors):
        raise TypeError(
            "results: Series, expected a DataFrame with a row for each table, as by "
            "pandas.DataFrame(results), and one of the standard errors"
        )
    estimates = _as_array("results", results)
    errors = _as_array("standard_errors", standard_errors)
    if estimates.shape != errors.shape:
        raise ValueError(
            f"standard_errors: of shape {errors.shape}, expected that of the estimates, "
            f"{estimates.shape}"
        )
    if estimates.ndim not in (1, 2) or len(estimates) < 2:
        raise ValueError(
            f"results: estimates of shape {estimates.shape}, expected (m, k) or (m,) of at least "
            "two tables"
        )
    if np.isnan(estimates).any():
        raise ValueError("results: an estimate is NaN, expected numbers")
    if not (errors >= 0).all():
        raise ValueError("standard_errors: one is negative or NaN, expected numbers from 0")
    if estimates.ndim == 1:
        estimates, errors = estimates[:, None], errors[:, None]
    return estimates, errors, names, dof


def _holds_series(numbers: Any) -> bool:
    return isinstance(numbers, list | tuple) and any(isinstance(row, pd.Series) for row in numbers)


def _as_array(name: str, numbers: Any) -> Any:
    try:
        return np.asarray(numbers, dtype=float)
    except (TypeError, ValueError) as error:
        rows = numbers if isinstance(numbers, list | tuple) else []
        lengths = [len(row) for row in rows if isinstance(row, list | tuple | np.ndarray)]
        if len(set(lengths)) > 1:
            raise ValueError(
                f"{name}: rows of {lengths} numbers, expected as many in each"
            ) from error
        raise TypeError(f"{name}: {numbers!r}, expected numbers, (m, k) or (m,)") from error
