"""R's packages, where `Rscript` is: their tables, and mice."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

HERE = Path(__file__).parent


class NotInstalledError(Exception):
    """Something that the comparison can do without is not there; the message says what."""


def require(package: str) -> None:
    """Raise `NotInstalledError` if there is no R, or it lacks a package."""
    if shutil.which("Rscript") is None:
        raise NotInstalledError("R is not installed (no Rscript)")
    asked = ["Rscript", "-e", f"quit(status = !nzchar(system.file(package = '{package}')))"]
    if subprocess.run(asked, capture_output=True).returncode:
        raise NotInstalledError(f"R's package {package} is not installed")


def table_of(package: str, name: str) -> pd.DataFrame:
    """Return a table of an R package: factors as categories, ordered ones as ordered."""
    require(package)
    with tempfile.TemporaryDirectory() as folder:
        data, columns = Path(folder, "table.csv"), Path(folder, "columns.csv")
        _run("export.R", package, name, data, columns)
        kinds = pd.read_csv(columns, keep_default_na=False)
        factors = {row.name: str for row in kinds.itertuples(index=False) if row.levels}
        # A level may be called None or NA: only what is empty is missing.
        table = pd.read_csv(data, dtype=factors, keep_default_na=False, na_values=[""])
    for row in kinds.itertuples(index=False):
        if row.levels:
            levels = pd.CategoricalDtype(row.levels.split("|"), ordered=row.kind == "ordered")
            table[row.name] = table[row.name].astype(levels).cat.remove_unused_categories()
    return table


def mice(frame: pd.DataFrame, method: str, draws: int, seed: int) -> list[pd.DataFrame]:
    """Return tables completed by mice.

    Parameters
    ----------
    frame : DataFrame, (n, D)
        Numeric and categorical columns with gaps.
    method : str
        ``"pmm"`` (mice's defaults: predictive mean matching for numbers, logistic models for
        categories), or one for all columns, such as ``"cart"`` and ``"rf"``.
    draws : int
        How many.
    seed : int
        Of R's generator.
    """
    codes = frame.copy()
    codes.columns = [f"x{j}" for j in range(frame.shape[1])]
    kinds = []
    for name, column in codes.items():
        if isinstance(column.dtype, pd.CategoricalDtype):
            codes[name] = column.cat.codes.astype(float).where(column.notna())
            kinds.append((len(column.cat.categories), column.cat.ordered))
        else:
            kinds.append((0, False))
    with tempfile.TemporaryDirectory() as folder:
        given, kinds_file, made = (
            Path(folder, f"{name}.csv") for name in ("given", "kinds", "made")
        )
        codes.to_csv(given, index=False, na_rep="NA")
        pd.DataFrame(kinds, columns=["levels", "ordered"]).replace(
            {True: "TRUE", False: "FALSE"}
        ).to_csv(kinds_file, index=False)
        _run("exchange.R", given, kinds_file, method, draws, seed, HERE / "impute.R", made)
        completed = pd.read_csv(made).to_numpy().reshape(draws, *frame.shape)
    return [filled(frame, draw) for draw in completed]


def filled(frame: pd.DataFrame, values: NDArray[Any]) -> pd.DataFrame:
    """Return the frame with its gaps filled by numbers, those of categories being codes."""
    result = frame.copy()
    for j, name in enumerate(frame.columns):
        column, gaps = frame[name], frame[name].isna()
        if isinstance(column.dtype, pd.CategoricalDtype):
            codes = np.where(gaps, values[:, j], column.cat.codes).astype(int)
            result[name] = pd.Categorical.from_codes(codes, dtype=column.dtype)
        else:
            result[name] = column.astype(float).where(~gaps, values[:, j])
    return result


def _run(script: str, *arguments: object) -> None:
    command: Sequence[str] = ["Rscript", str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{script} failed: {done.stderr.strip()[-500:]}")
