import json
from pathlib import Path

import arviz as az
import numpy as np
import pytest

from explainaway.cli import main


@pytest.mark.parametrize(
    "flags",
    [
        ["--kernel", "mala"],
        ["--observation", "bernoulli", "--kernel", "hmc"],
        ["--observation", "gaussian", "--kernel", "langevin"],
    ],
)
def test_the_demo_writes_its_table_picture_and_posterior(
    tmp_path: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--smoke", "--no-progress", "--output", str(tmp_path), *flags]) == 0
    printed = capsys.readouterr().out
    assert "over best baseline" in printed
    assert "ESS per second" in printed
    assert ("binarised" in printed) == ("bernoulli" in flags)
    result = json.loads((tmp_path / "results.json").read_text())
    assert set(result["errors"]) >= {"pixel mean", "explainaway"}
    assert (tmp_path / "digits.png").stat().st_size > 10_000
    posterior = az.from_netcdf(str(tmp_path / "posterior.nc"))
    assert posterior["posterior"]["z"].dims[:3] == ("chain", "draw", "example")
    assert posterior["posterior"].sizes["chain"] >= 4


def test_the_baselines_fill_what_is_low_rank() -> None:
    from explainaway.baselines import fit_incomplete_pca, impute_by_pca, tune

    rng = np.random.default_rng(0)
    truth = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 12)) + 1
    noisy = truth + 0.3 * rng.normal(size=truth.shape)
    table = np.where(rng.random(truth.shape) < 0.6, noisy, np.nan)
    hidden = np.isnan(table)
    filled = fit_incomplete_pca(table, 2).impute(table)
    mean = np.nanmean(table, 0)
    assert np.abs(filled - truth)[hidden].mean() < 0.3 * np.abs(mean - truth)[hidden].mean()
    assert tune(impute_by_pca, (1, 2, 5), table, seed=0) == 2
