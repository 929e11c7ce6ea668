"""Chains that have not mixed are told from those that have, by what they draw."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from explainaway.tables import GeneratorImputer
from explainaway.tables.mixing import SLOW, r_hats, warn_if_slow
from explainaway.tables.table import Table

FRAME = pd.DataFrame({"x": np.random.default_rng(0).normal(size=100), "kind": ["a", "b"] * 50})


def _draws() -> tuple[np.ndarray, np.ndarray, Table]:
    """Return forty independent draws of all cells."""
    noise = np.random.default_rng(0)
    draws = np.stack([noise.normal(size=(40, 100)), noise.integers(0, 2, (40, 100))], -1)
    return draws, np.ones((100, 2), bool), Table.of(FRAME, {}, {}, 20)


def test_independent_draws_have_mixed() -> None:
    """Of forty, an R-hat is over 1.26 once in a thousand."""
    found = r_hats(*_draws())
    assert sorted(found) == ["kind", "x"]
    assert max(found.values()) < 1.26


@pytest.mark.parametrize(("column", "name"), [(0, "x"), (1, "kind")])
def test_a_chain_that_moves_on_is_seen(column: int, name: str) -> None:
    """A mean that moves by a fortieth of its cells' deviation a draw, a share by a fiftieth."""
    draws, asked, table = _draws()
    steps = np.arange(40)[:, None]
    if column == 0:
        draws[..., 0] += steps / 40
    else:
        draws[..., 1] = np.random.default_rng(1).random((40, 100)) < 0.1 + steps / 50
    found = r_hats(draws, asked, table)
    assert found[name] > SLOW
    assert min(found.values()) < 1.26
    with pytest.warns(ConvergenceWarning, match=f"for column '{name}', where.*epochs=600 instead"):
        warn_if_slow([{other: 1.0 for other in found}, found, {}], 300)


def test_cells_that_are_not_asked_for_or_never_change_say_nothing() -> None:
    draws, asked, table = _draws()
    draws[:20, 50:, 0] += 9
    asked[50:, 0] = False
    draws[..., 1] = 1
    found = r_hats(draws, asked, table)
    assert list(found) == ["x"]
    assert found["x"] < 1.26
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_slow([found], 300)


def test_a_fit_warns_at_the_line_that_called_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through scikit-learn's wrappers too: of a fit whose chains are held against a limit of 0."""
    monkeypatch.setattr("explainaway.tables.mixing.SLOW", 0.0)
    given = FRAME.mask(
        pd.DataFrame(np.random.default_rng(1).random((100, 2)) < 0.3, columns=list(FRAME))
    )
    pipeline = make_pipeline(FunctionTransformer(), GeneratorImputer(epochs=6, random_state=0))
    with pytest.warns(ConvergenceWarning, match="split R-hat") as warned:
        pipeline.set_output(transform="pandas").fit_transform(given)
    assert {Path(each.filename).name for each in warned} == {Path(__file__).name}
