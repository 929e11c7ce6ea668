"""What was measured, as Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import geometric_mean
from typing import Any

import numpy as np
import pandas as pd

OURS = "generator"
"""Our own with its defaults; our others' names begin with it."""
BASE = "mice pmm"
"""What ratios are over."""

TITLES = {
    "random": "30 % hidden at random",
    "dependent": "30 % hidden, depending on other columns",
    "real": "hidden as the table's own gaps are",
}


def report(
    rows: Sequence[Mapping[str, Any]], methods: Sequence[str], missing: Mapping[str, str]
) -> str:
    """Return the results as Markdown: a summary of each kind of gaps, then every table.

    Parameters
    ----------
    rows : sequence of mapping
        As `common.rows.Rows` keeps them.
    methods : sequence of str
        In the order of the table's lines.
    missing : mapping of str
        Which methods are not installed, by name: the words for their lines.
    """
    frame = pd.DataFrame([{**row["settings"], **row["scores"]} for row in rows])
    parts = []
    for gaps in [gaps for gaps in TITLES if gaps in set(frame["gaps"])]:
        here = frame[frame["gaps"] == gaps]
        parts += [f"## {TITLES[gaps].capitalize()}", "\n".join(_summary(here, methods, missing))]
        verdict = _verdict(here)
        parts += [verdict] if verdict else []
        for score, title in (("crps", "CRPS of numbers"), ("log_score", "Log score of categories")):
            lines = list(_by_table(here, methods, score))
            parts += [f"### {title}, {TITLES[gaps]}", "\n".join(lines)] if lines else []
    return "\n\n".join(parts)


def _summary(
    frame: pd.DataFrame, methods: Sequence[str], missing: Mapping[str, str]
) -> Iterator[str]:
    yield (
        f"| | tables | CRPS over {BASE} | over the best rival | RMSE over {BASE} | log score | "
        "coverage of 90 % | width | CPU seconds | lines of code |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for method in methods:
        own = frame[frame["method"] == method]
        if len(own) == 0:
            yield f"| {method} | {missing.get(method, 'not measured')} |" + " |" * 8
            continue
        cells = [
            method,
            str(own["table"].nunique()),
            _number(_geometric(_ratios(frame, method, "crps"))),
            _number(_geometric(_over_best(frame, method))),
            _number(_geometric(_ratios(frame, method, "rmse"))),
            _number(_median(own, "log_score")),
            _spread(own, "coverage"),
            _number(_median(own, "width")),
            f"{own['seconds'].median():.1f}",
            str(int(own["lines"].iloc[-1])),
        ]
        yield "| " + " | ".join(cells) + " |"


def _verdict(frame: pd.DataFrame) -> str:
    over = _over_best(frame, OURS)
    if len(over) == 0:
        return ""
    own = frame[frame["method"] == OURS]
    covered = own["coverage"].dropna()
    lost = ", ".join(
        f"{table} {value:.2f}" for table, value in over[over > 1].sort_values().items()
    )
    cart = frame[frame["method"] == "mice cart"].groupby("table")["seconds"].mean()
    time = own.groupby("table")["seconds"].mean() / cart
    return (
        f"Of {len(over)} tables with numbers the generator's CRPS is at most 0.95 of the best "
        f"rival's on {int((over <= 0.95).sum())}, and over 1.1 on {int((over > 1.1).sum())}. "
        f"It is worse than the best rival on {int((over > 1).sum())}: {lost or 'none'}. Its "
        f"intervals cover 88 to 92 % in {int(covered.between(0.88, 0.92).sum())} of "
        f"{len(covered)} runs. CPU time over mice cart's: {_number(_geometric(time.dropna()))}."
    )


def _by_table(frame: pd.DataFrame, methods: Sequence[str], score: str) -> Iterator[str]:
    if score not in frame or frame[score].isna().all():
        return
    values = frame.dropna(subset=score).pivot_table(
        index=["table", "seed"], columns="method", values=score
    )
    values = values[[method for method in methods if method in values]]
    means = values.groupby("table").mean()
    of_all = _of_all_seeds(values)
    best = of_all.idxmin(axis=1)
    tables = [table for table in frame["table"].unique() if table in means.index]
    looked_at = frame.groupby("table")["tuning"].first()
    yield "| | " + " | ".join(means.columns) + " | seeds |"
    yield "|---" * (len(means.columns) + 2) + "|"
    for table in tables:
        shown = []
        for method, value in means.loc[table].items():
            mark = "**" if method == best[table] else ""
            fewer = " °" if np.isnan(of_all.loc[table, method]) else ""
            shown.append("" if np.isnan(value) else f"{mark}{value:.3f}{mark}{fewer}")
        shown.append(str(len(values.loc[table])))
        yield f"| {table}{' †' if looked_at[table] else ''} | " + " | ".join(shown) + " |"


def _of_all_seeds(values: pd.DataFrame) -> pd.DataFrame:
    """Return means over seeds by table, NaN where a method lacks one."""
    return values.groupby("table").agg(lambda column: column.mean(skipna=False))


def _ratios(frame: pd.DataFrame, method: str, score: str) -> pd.Series:
    """Return a score over the base's by table, the mean over seeds that both have."""
    if score not in frame:
        return pd.Series(dtype=float)
    values = frame.pivot_table(index=["table", "seed"], columns="method", values=score)
    if method not in values or BASE not in values:
        return pd.Series(dtype=float)
    both = values[[method, BASE]] if method != BASE else values[[BASE]]
    means = both.dropna().groupby("table").mean()
    return means[method] / means[BASE]


def _over_best(frame: pd.DataFrame, method: str) -> pd.Series:
    """Return a method's CRPS over the smallest of the others', ours left out, by table.

    Means over the seeds that the method has; others have to have all of them.
    """
    if "crps" not in frame:
        return pd.Series(dtype=float)
    values = frame.pivot_table(index=["table", "seed"], columns="method", values="crps")
    if method not in values:
        return pd.Series(dtype=float)
    means = _of_all_seeds(values[values[method].notna()])
    rivals = means[[name for name in means if name != method and not name.startswith(OURS)]]
    return (means[method] / rivals.min(axis=1)).dropna()


def _geometric(ratios: pd.Series) -> float | None:
    return geometric_mean(ratios) if len(ratios) else None


def _median(frame: pd.DataFrame, score: str) -> float | None:
    values = frame[score].dropna() if score in frame else []
    return float(np.median(values)) if len(values) else None


def _spread(frame: pd.DataFrame, score: str) -> str:
    values = frame[score].dropna() if score in frame else pd.Series(dtype=float)
    if len(values) == 0:
        return "none"
    return f"{values.median():.2f} ({values.min():.2f} to {values.max():.2f})"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
