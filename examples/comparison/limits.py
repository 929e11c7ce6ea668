"""Columns with a detection limit: limits that are planted, ways to fill them, what they bias."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer

Limits = Mapping[Any, float]
"""Of columns, in the (logarithmic) units of the table."""

Fill = Callable[[pd.DataFrame, Limits, int, int], list[pd.DataFrame]]
"""From a table (below a limit: NaN), limits, a number of draws and a seed to completed tables."""


def planted(frame: pd.DataFrame, shares: Mapping[Any, float]) -> tuple[pd.DataFrame, Limits]:
    """Return the table without its smallest values, and the limits below which they are.

    Parameters
    ----------
    frame : DataFrame, (n, D)
        Logarithms.
    shares : mapping of float
        Of cells below the limit, by column.
    """
    limits = {name: float(frame[name].quantile(share)) for name, share in shares.items()}
    given = frame.copy()
    for name, limit in limits.items():
        given[name] = frame[name].where(frame[name] > limit)
    return given, limits


def half(given: pd.DataFrame, limits: Limits, num_draws: int, seed: int) -> list[pd.DataFrame]:
    """Fill in half the limit."""
    return [given.fillna({name: limit - np.log10(2) for name, limit in limits.items()})]


def ros(given: pd.DataFrame, limits: Limits, num_draws: int, seed: int) -> list[pd.DataFrame]:
    """Fill in by regression on order statistics, column by column (Helsel & Cohn 1988).

    The line through the detected values against their normal quantiles is prolonged below the
    limit; which of the hidden cells has which of the values is left to chance.
    """
    noise = np.random.default_rng(seed)
    filled = given.copy()
    for name in limits:
        column = given[name]
        hidden = column.isna().to_numpy()
        below = hidden.mean()
        detected = np.sort(column.dropna())
        ranks = np.arange(1, len(detected) + 1) / (len(detected) + 1)
        slope, level = np.polyfit(stats.norm.ppf(below + (1 - below) * ranks), detected, 1)
        lower = np.arange(1, hidden.sum() + 1) / (hidden.sum() + 1)
        values = level + slope * stats.norm.ppf(below * lower)
        filled.loc[hidden, name] = noise.permutation(values)
    return [filled]


def iterative(given: pd.DataFrame, limits: Limits, num_draws: int, seed: int) -> list[pd.DataFrame]:
    """Draw by IterativeImputer, with the limits as largest values of what it fills in."""
    largest = [limits.get(name, np.inf) for name in given]
    draws = []
    for k in range(num_draws):
        imputer = IterativeImputer(
            sample_posterior=True, max_value=largest, random_state=seed * 1000 + k
        )
        draws.append(pd.DataFrame(imputer.fit_transform(given), columns=given.columns))
    return draws


def generator(
    given: pd.DataFrame,
    limits: Limits,
    num_draws: int,
    seed: int,
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> list[pd.DataFrame]:
    """Draw from a generator that is told the limits."""
    from explainaway.tables import GeneratorImputer

    censored = given.fillna(limits)
    pairs = {name: (limit, None) for name, limit in limits.items()}
    imputer = GeneratorImputer(random_state=seed, **settings).fit(censored, limits=pairs)
    draws: list[pd.DataFrame] = imputer.sample(censored, num_draws, seed=seed, limits=pairs)
    return draws


FILLS: dict[str, Fill] = {
    "half the limit": half,
    "ROS": ros,
    "IterativeImputer, max": iterative,
    "generator": generator,
}


def biases(
    truth: pd.DataFrame, given: pd.DataFrame, limits: Limits, draws: list[pd.DataFrame]
) -> dict[str, float]:
    """Return what analyses of the completed tables are off by, on average over limited columns.

    Returns
    -------
    dict
        ``mean`` and ``spread``: absolute errors of means and of standard deviations, over the
        column's true standard deviation. ``correlation``: absolute error of the correlations with
        all other columns. ``cells``: root mean square error of the hidden cells by the mean of the
        draws, over the column's true standard deviation. ``above``: the share of drawn cells that
        are above their limit.
    """
    names = list(limits)
    unit = truth[names].std()
    mean = np.mean([draw[names].mean() for draw in draws], axis=0)
    spread = np.mean([draw[names].std() for draw in draws], axis=0)
    correlation = np.mean([draw.corr().loc[names] for draw in draws], axis=0)
    true = truth.corr().loc[names].to_numpy()
    others = ~np.isclose(true, 1)
    hidden = given[names].isna().to_numpy()
    average = np.mean([draw[names] for draw in draws], axis=0)
    error = ((average - truth[names]) / unit).to_numpy()[hidden]
    limit = np.array([limits[name] for name in names])
    above = np.mean([(draw[names].to_numpy() > limit + 1e-9)[hidden].mean() for draw in draws])
    return {
        "mean": float(np.mean(np.abs(mean - truth[names].mean()) / unit)),
        "spread": float(np.mean(np.abs(spread - unit) / unit)),
        "correlation": float(np.abs(correlation - true)[others].mean()),
        "cells": float(np.sqrt((error**2).mean())),
        "above": float(above),
    }
