"""What the generator is compared with, each in the lines that a user would write."""

import inspect
import resource
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer
from sklearn.preprocessing import StandardScaler

from . import rscript
from .rscript import NotInstalledError, filled, require
from .scores import Array, Imputed


class Settings(NamedTuple):
    """What all imputers are given beside the table."""

    draws: int = 20
    seed: int = 0
    generator: Mapping[str, Any] = MappingProxyType({})
    """Arguments of `GeneratorImputer` other than its defaults."""


Run = Callable[[pd.DataFrame, Settings], Imputed]


@dataclass(frozen=True)
class Method:
    """An imputer.

    Parameters
    ----------
    name : str
        In the results.
    run : callable
        Makes of a table with gaps and `Settings` an `Imputed`.
    needs : str, optional
        What must be installed: a module of Python, or ``"R: package"``.
    code : tuple
        Functions, and files of R, that a user would have to write: their lines are counted.
    """

    name: str
    run: Run
    needs: str
    code: tuple[Any, ...]

    def check(self) -> None:
        """Raise `NotInstalledError` where what it needs is missing."""
        if self.needs.startswith("R: "):
            require(self.needs.removeprefix("R: "))
        elif find_spec(self.needs.split(".")[0]) is None or find_spec(self.needs) is None:
            raise NotInstalledError(f"{self.needs} is not installed")

    @property
    def lines(self) -> int:
        """Lines of code, without documentation and empty lines."""
        return sum(_lines(piece) for piece in self.code)

    def timed(self, frame: pd.DataFrame, settings: Settings) -> tuple[Imputed, float]:
        """Return what it makes, and the CPU seconds of this process and those it started."""
        before = _cpu_seconds()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = self.run(frame, settings)
        return made, _cpu_seconds() - before


def mean(frame: pd.DataFrame, settings: Settings) -> Imputed:
    """Fill in means and modes; the probabilities of categories are their frequencies."""
    point = frame.copy()
    chances = {}
    for name, column in frame.items():
        if isinstance(column.dtype, pd.CategoricalDtype):
            shares = column.value_counts(normalize=True, sort=False)
            chances[name] = pd.DataFrame([shares.to_numpy()] * len(frame), columns=shares.index)
            point[name] = column.fillna(shares.idxmax())
        else:
            point[name] = column.fillna(column.mean())
    return Imputed([point], point, chances)


def knn(frame: pd.DataFrame, settings: Settings) -> Imputed:
    """Fill in means of ten neighbours, standardised; of categories the shares are averaged."""
    scaler = StandardScaler()
    known = scaler.fit_transform(encoded(frame))
    imputer = KNNImputer(n_neighbors=10, weights="distance", keep_empty_features=True)
    made = scaler.inverse_transform(imputer.fit_transform(known))
    point = decoded(frame, made)
    return Imputed([point], point, shares_of(frame, made))


def iterative(frame: pd.DataFrame, settings: Settings) -> Imputed:
    """Draw by chained Bayesian ridge regressions, one fit for each draw.

    Standardised: else the CRPS is up to 10 % larger. Without bounds: with the smallest and largest
    seen values as bounds CRPS and coverage were worse on boston, iris and pima.
    """
    scaler = StandardScaler()
    known = scaler.fit_transform(encoded(frame))
    draws = []
    for k in range(settings.draws):
        imputer = IterativeImputer(sample_posterior=True, random_state=settings.seed * 1000 + k)
        made = scaler.inverse_transform(imputer.fit_transform(known))
        draws.append(decoded(frame, made))
    return Imputed(draws)


def mice(method: str) -> Run:
    """Return R's mice with a method for all columns."""

    def run(frame: pd.DataFrame, settings: Settings) -> Imputed:
        return Imputed(rscript.mice(frame, method, settings.draws, settings.seed + 1))

    return run


def miceforest(frame: pd.DataFrame, settings: Settings) -> Imputed:
    """Draw by chained boosted trees with mean matching."""
    import miceforest

    kernel = miceforest.ImputationKernel(
        frame, num_datasets=settings.draws, random_state=settings.seed
    )
    kernel.mice(5, num_threads=1)
    return Imputed([kernel.complete_data(k) for k in range(settings.draws)])


def hyperimpute(name: str) -> Run:
    """Return an imputer of hyperimpute; its MIWAE gives means, its GAIN one filling."""

    def run(frame: pd.DataFrame, settings: Settings) -> Imputed:
        from hyperimpute.plugins.imputers import Imputers

        scaler = StandardScaler()
        imputer = Imputers().get(name, random_state=settings.seed)
        known = pd.DataFrame(scaler.fit_transform(encoded(frame)))
        made = scaler.inverse_transform(imputer.fit_transform(known).to_numpy())
        point = decoded(frame, made)
        return Imputed([point], point, shares_of(frame, made))

    return run


def generator(frame: pd.DataFrame, settings: Settings) -> Imputed:
    """Draw from a generator that is learned by explaining away."""
    from explainaway.tables import GeneratorImputer

    imputer = GeneratorImputer(random_state=settings.seed, **settings.generator).fit(frame)
    draws = imputer.sample(frame, num_draws=settings.draws, seed=settings.seed)
    return Imputed(draws, imputer.transform(frame), imputer.predict_proba(frame))


def fixed(frame: pd.DataFrame, settings: Settings) -> Imputed:
    """Draw from the learned network alone, its weights taken for the true ones."""
    return generator(frame, settings._replace(generator={"proper": False, **settings.generator}))


def encoded(frame: pd.DataFrame) -> Array:
    """Return numbers as they are and a column for each category but the first, gaps as NaN.

    With the first too their sum would be known, and chained regressions would never move.
    """
    parts = []
    for _, column in frame.items():
        if isinstance(column.dtype, pd.CategoricalDtype):
            codes = column.cat.codes.to_numpy()[:, None]
            shown = (codes == np.arange(1, len(column.cat.categories))).astype(float)
            parts.append(np.where(codes < 0, np.nan, shown))
        else:
            parts.append(column.to_numpy(float)[:, None])
    return np.concatenate(parts, axis=1)


def decoded(frame: pd.DataFrame, made: Array) -> pd.DataFrame:
    """Return the frame filled from encoded columns: of categories the one with the largest."""
    values = [part.argmax(1) if part.shape[1] > 1 else part[:, 0] for part in _parts(frame, made)]
    return filled(frame, np.stack(values, axis=1))


def shares_of(frame: pd.DataFrame, made: Array) -> dict[Any, pd.DataFrame]:
    """Return encoded columns of categories as probabilities, a tenth of a category added."""
    result = {}
    for (name, column), part in zip(frame.items(), _parts(frame, made), strict=True):
        if part.shape[1] > 1:
            shares = np.clip(part, 0, 1) + 0.1 / part.shape[1]
            shares /= shares.sum(1, keepdims=True)
            result[name] = pd.DataFrame(shares, columns=column.cat.categories)
    return result


def _parts(frame: pd.DataFrame, made: Array) -> Iterator[Array]:
    start = 0
    for _, column in frame.items():
        if isinstance(column.dtype, pd.CategoricalDtype):
            stop = start + len(column.cat.categories) - 1
            part = made[:, start:stop]
            yield np.concatenate([1 - part.sum(1, keepdims=True), part], axis=1)
        else:
            stop = start + 1
            yield made[:, start:stop]
        start = stop


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def _lines(piece: Any) -> int:
    text = piece.read_text() if hasattr(piece, "read_text") else inspect.getsource(piece)
    documentation = len((inspect.getdoc(piece) or "").splitlines()) if callable(piece) else 0
    return sum(bool(line.strip()) for line in text.splitlines()) - documentation


_CODING = (encoded, decoded, _parts, filled)
_R_CODE = (rscript.HERE / "impute.R",)

METHODS = {
    method.name: method
    for method in (
        Method("generator", generator, "explainaway.tables", (generator,)),
        Method("generator, fixed weights", fixed, "explainaway.tables", (generator,)),
        Method("mean and mode", mean, "sklearn", (mean,)),
        Method("KNN", knn, "sklearn", (knn, shares_of, *_CODING)),
        Method("IterativeImputer", iterative, "sklearn", (iterative, *_CODING)),
        Method("mice pmm", mice("pmm"), "R: mice", _R_CODE),
        Method("mice cart", mice("cart"), "R: mice", _R_CODE),
        Method("mice rf", mice("rf"), "R: mice", _R_CODE),
        Method("miceforest", miceforest, "miceforest", (miceforest,)),
        Method("MIWAE", hyperimpute("miwae"), "hyperimpute", (hyperimpute, shares_of, *_CODING)),
        Method("GAIN", hyperimpute("gain"), "hyperimpute", (hyperimpute, shares_of, *_CODING)),
    )
}
"""By name, the generator first."""
