import numpy as np
import pandas as pd
import pytest

from examples.comparison.gaps import SHARE, hide
from examples.comparison.report import report
from examples.comparison.rivals import METHODS, Settings, decoded, encoded, shares_of
from examples.comparison.rscript import NotInstalledError
from examples.comparison.scores import Imputed, by_column, crps, interval, scores
from examples.comparison.tables import TABLES, made_up


def test_crps_of_right_draws_is_that_of_the_normal_distribution() -> None:
    """Of N(0, 1) at y it is y (2 F(y) - 1) + 2 f(y) - 1 / sqrt(pi), on average 1 / sqrt(pi)."""
    noise = np.random.default_rng(0)
    cells = 20_000
    truth, draws = noise.normal(size=cells), noise.normal(size=(5, cells))
    found = crps(draws, truth)
    error = found.std() / np.sqrt(cells)
    # Four standard errors: a false failure in 16,000 seeds.
    assert found.mean() == pytest.approx(1 / np.sqrt(np.pi), abs=4 * error)
    pairs = np.abs(draws[:, None] - draws[None]).sum((0, 1)) / (2 * 5 * 4)
    np.testing.assert_allclose(found, np.abs(draws - truth).mean(0) - pairs, atol=1e-12)
    np.testing.assert_array_equal(crps(draws[:1], truth), np.abs(draws[0] - truth))


def test_intervals_of_right_draws_cover_what_they_say() -> None:
    noise = np.random.default_rng(1)
    cells = 40_000
    low, high = interval(noise.exponential(size=(20, cells)))
    truth = noise.exponential(size=cells)
    # Four standard errors of a share, and .005 for interpolating between two draws.
    allowed = 4 * np.sqrt(0.9 * 0.1 / cells) + 0.005
    assert ((low <= truth) & (truth <= high)).mean() == pytest.approx(0.9, abs=allowed)


def test_scores_of_categories_are_those_of_their_definition() -> None:
    truth = pd.DataFrame({"c": pd.Categorical(list("abca"))})
    hidden = np.array([[True], [True], [False], [False]])
    draws = [pd.DataFrame({"c": pd.Categorical(list(x), list("abc"))}) for x in ("acca", "aaca")]
    (row,) = by_column(truth, hidden, Imputed(draws)).to_dict("records")
    # Two draws: (2 + 1/2) / (2 + 3/2) and (0 + 1/2) / (2 + 3/2).
    assert row["log_score"] == pytest.approx(-(np.log(2.5 / 3.5) + np.log(0.5 / 3.5)) / 2)
    assert row["accuracy"] == 0.5
    own = pd.DataFrame([[0.7, 0.2, 0.1]] * 4, columns=list("cba"))
    (row,) = by_column(truth, hidden, Imputed(draws, None, {"c": own})).to_dict("records")
    assert row["log_score_own"] == pytest.approx(-(np.log(0.1) + np.log(0.2)) / 2)


def test_scores_do_not_depend_on_units() -> None:
    frame = made_up(60)
    _, hidden = hide("made up", frame, "random", 0)
    noise = np.random.default_rng(2)
    numbers = ["a", "b", "c", "d"]
    draws = [frame.assign(**{n: frame[n] + noise.normal(size=60) for n in numbers}) for _ in "12"]
    scaled = [each.assign(a=each["a"] * 1000) for each in draws]
    once = scores(frame, hidden, Imputed(draws))
    again = scores(frame.assign(a=frame["a"] * 1000), hidden, Imputed(scaled))
    assert once == pytest.approx(again)


@pytest.mark.parametrize("name", ["KNN", "IterativeImputer", "mice pmm", "mice cart"])
def test_rivals_do_not_depend_on_units(name: str) -> None:
    """mice takes a column of a variance under 1e-4 for constant, unless told not to."""
    method = METHODS[name]
    try:
        method.check()
    except NotInstalledError as error:
        pytest.skip(str(error))
    frame = made_up(60).select_dtypes("number")
    given, _ = hide("made up", frame, "random", 0)
    unit = 2.0**-13
    settings = Settings(draws=2)
    once, _ = method.timed(given, settings)
    again, _ = method.timed(given.assign(a=given["a"] * unit), settings)
    for one, other in zip(once.draws, again.draws, strict=True):
        np.testing.assert_allclose(other["a"] / unit, one["a"], rtol=1e-6)


@pytest.mark.parametrize("gaps", ["random", "dependent"])
def test_as_many_cells_are_hidden_as_said(gaps: str) -> None:
    frame = made_up(4000)
    given, hidden = hide("made up", frame, gaps, 0)
    # Cells of a row hang together by at most the number of columns: five.
    allowed = 4 * np.sqrt(5 * SHARE * (1 - SHARE) / hidden.size)
    assert hidden.mean() == pytest.approx(SHARE, abs=allowed)
    np.testing.assert_array_equal(given.isna(), hidden)
    assert given.notna().any(axis=1).all()
    assert hide("made up", frame, gaps, 0)[0].equals(given)
    assert not hide("made up", frame, gaps, 1)[0].equals(given)


def test_dependent_gaps_follow_other_columns() -> None:
    def largest_difference(gaps: str) -> float:
        given, hidden = hide("made up", frame, gaps, 0)
        differences = []
        for name in ("a", "b", "c", "d"):
            seen = given[name].dropna()
            high = hidden[seen.index[seen > seen.median()]].mean()
            low = hidden[seen.index[seen <= seen.median()]].mean()
            differences.append(abs(high - low))
        return max(differences)

    frame = made_up(1000)
    # At random, the difference of two shares of 1,750 cells has a standard error of .016.
    assert largest_difference("random") < 0.065
    assert largest_difference("dependent") > 0.065


def test_real_gaps_are_those_of_other_rows() -> None:
    frame = made_up(200)
    frame.loc[::3, "a"] = np.nan
    _, hidden = hide("made up", frame, "real", 0)
    assert hidden[:, 0].sum() > 0
    assert not hidden[:, 1:].any()
    assert not hidden[::3, 0].any()
    with pytest.raises(ValueError, match="made up has none of its own"):
        hide("made up", made_up(), "real", 0)


def test_what_is_encoded_is_decoded() -> None:
    frame = made_up(50)
    given, _ = hide("made up", frame, "random", 0)
    assert decoded(given, encoded(frame)).equals(frame)
    shares = shares_of(given, encoded(frame))["kind"]
    assert (shares.idxmax(axis=1) == frame["kind"].astype(str)).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1)


def test_half_of_the_tables_are_never_looked_at() -> None:
    unseen = [table for table in TABLES.values() if not table.tuning]
    assert 2 * len(unseen) >= len(TABLES) >= 12


def test_the_report_says_what_was_lost_and_what_is_not_installed() -> None:
    def row(method: str, table: str, crps: float) -> dict[str, dict[str, object]]:
        settings = {"table": table, "gaps": "random", "method": method, "seed": 0, "tuning": False}
        found = {
            "crps": crps,
            "rmse": crps,
            "coverage": 0.9,
            "width": 1.0,
            "seconds": 1,
            "lines": 3,
        }
        return {"settings": settings, "scores": found}

    rows = [row("generator", "t", 0.6), row("mice pmm", "t", 0.4), row("mice cart", "t", 0.3)]
    rows += [row("generator", "u", 0.2), row("mice pmm", "u", 0.4), row("mice cart", "u", 0.5)]
    text = report(rows, ["generator", "mice pmm", "GAIN"], {"GAIN": "not installed"})
    assert "| GAIN | not installed |" in text
    assert "at most 0.95 of the best rival's on 1, and over 1.1 on 1." in text
    assert "worse than the best rival on 1: t 2.00." in text
    # sqrt(.6 / .4 * .2 / .4) over pmm.
    assert "| generator | 2 | 0.866 | 1.000 |" in text
