"""The tables: scikit-learn's, statsmodels' and R's, none of them downloaded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
import sklearn.datasets

from .rscript import NotInstalledError, table_of


@dataclass(frozen=True)
class Table:
    """A table, and whether the imputer's settings may be chosen on it.

    Parameters
    ----------
    name : str
        What it is called in the results.
    source : str
        The library that has it, and its name there.
    load : callable
        Gives the frame: float columns are numbers, the others categories. Raises
        `NotInstalledError` where the library is missing.
    tuning : bool
        Whether it may be looked at while settings are chosen. The others are never looked at
        before their results are reported.
    """

    name: str
    source: str
    load: Callable[[], pd.DataFrame]
    tuning: bool


def _scikit_learn(name: str, target: str | None = None) -> Callable[[], pd.DataFrame]:
    def load() -> pd.DataFrame:
        data = getattr(sklearn.datasets, f"load_{name}")(as_frame=True)
        frame = data.frame.rename(columns={"target": target or "target"}).astype(float)
        if hasattr(data, "target_names") and target is None:
            frame["target"] = _categories(data.frame["target"])
        return frame

    return load


def _statsmodels(name: str, columns: Sequence[str], categories: Sequence[str]) -> Any:
    def load() -> pd.DataFrame:
        if find_spec("statsmodels") is None:
            raise NotInstalledError("statsmodels is not installed")
        import statsmodels.datasets

        frame = getattr(statsmodels.datasets, name).load_pandas().data[list(columns)].astype(float)
        return frame.assign(**{column: _categories(frame[column]) for column in categories})

    return load


def _r(
    package: str, name: str, without: Sequence[str] = (), categories: Sequence[str] = ()
) -> Callable[[], pd.DataFrame]:
    def load() -> pd.DataFrame:
        frame = table_of(package, name).drop(columns=list(without))
        for column in frame:
            if column in categories:
                frame[column] = _categories(frame[column])
            elif not isinstance(frame[column].dtype, pd.CategoricalDtype):
                frame[column] = frame[column].astype(float)
        return frame

    return load


def _categories(column: pd.Series) -> pd.Series:
    return column.astype("Int64").astype("string").astype("category")


def made_up(num_rows: int = 80, seed: int = 0) -> pd.DataFrame:
    """Return a table of two factors: four numeric columns and one of three categories."""
    noise = np.random.default_rng(seed)
    factors = noise.normal(size=(num_rows, 2))
    numbers = factors @ noise.normal(size=(2, 4)) + 0.5 * noise.normal(size=(num_rows, 4))
    frame = pd.DataFrame(numbers, columns=["a", "b", "c", "d"])
    classes = np.digitize(factors[:, 0] + 0.3 * noise.normal(size=num_rows), [-0.5, 0.5])
    return frame.assign(kind=pd.Categorical.from_codes(classes, ["low", "middle", "high"]))


_ANES = (
    *("popul", "TVnews", "selfLR", "ClinLR", "DoleLR"),
    *("PID", "age", "educ", "income", "vote"),
)
_STAR = (
    *("NABOVE", "NBELOW", "LOWINC", "PERASIAN", "PERBLACK", "PERHISP", "PERMINTE"),
    *("AVYRSEXP", "AVSALK", "PERSPENK", "PTRATIO", "PCTAF", "PCTCHRT", "PCTYRRND"),
)
_BIRTHWT = ("low", "race", "smoke", "ht", "ui")

TABLES = {
    table.name: table
    for table in (
        Table("iris", "scikit-learn: iris", _scikit_learn("iris"), tuning=True),
        Table("wine", "scikit-learn: wine", _scikit_learn("wine"), tuning=True),
        Table("diabetes", "scikit-learn: diabetes", _scikit_learn("diabetes", "y"), tuning=True),
        Table("breast", "scikit-learn: breast_cancer", _scikit_learn("breast_cancer"), tuning=True),
        Table("boston", "R: mlbench::BostonHousing", _r("mlbench", "BostonHousing"), tuning=True),
        Table("boys", "R: mice::boys", _r("mice", "boys"), tuning=True),
        Table(
            "pima", "R: mlbench::PimaIndiansDiabetes2", _r("mlbench", "PimaIndiansDiabetes2"), True
        ),
        Table("ionosphere", "R: mlbench::Ionosphere", _r("mlbench", "Ionosphere", ["V2"]), True),
        Table("glass", "R: mlbench::Glass", _r("mlbench", "Glass"), tuning=False),
        Table("vehicle", "R: mlbench::Vehicle", _r("mlbench", "Vehicle"), tuning=False),
        Table("ozone", "R: mlbench::Ozone", _r("mlbench", "Ozone", ["V2"]), tuning=False),
        Table("crabs", "R: MASS::crabs", _r("MASS", "crabs", ["index"]), tuning=False),
        Table("survey", "R: MASS::survey", _r("MASS", "survey"), tuning=False),
        Table("birthwt", "R: MASS::birthwt", _r("MASS", "birthwt", (), _BIRTHWT), tuning=False),
        Table("sleep", "R: VIM::sleep", _r("VIM", "sleep"), tuning=False),
        Table("cps1985", "R: AER::CPS1985", _r("AER", "CPS1985"), tuning=False),
        Table("anes96", "statsmodels: anes96", _statsmodels("anes96", _ANES, ["vote"]), False),
        Table("star98", "statsmodels: star98", _statsmodels("star98", _STAR, ()), tuning=False),
    )
}
"""By name: eight that may be looked at, then ten that may not."""
