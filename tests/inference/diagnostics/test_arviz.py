from pathlib import Path
from typing import Any

import arviz as az
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from explainaway.inference import Posterior, sample_posterior
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, mlp


def _posterior() -> Posterior:
    torch.manual_seed(0)
    model = GeneratorModel(Normal(2), mlp(2, (3, 4), hidden=(8,)), Masked(Gaussian(0.3)))
    y = torch.randn(5, 3, 4)
    y[0, 0, 0] = torch.nan
    return sample_posterior(model, y, num_chains=2, warmup_steps=20, num_samples=30, progress=False)


def test_groups_dimensions_and_coordinates() -> None:
    tree = _posterior().to_arviz(
        dims={"z": ["component"], "y": ["row", "column"]},
        coords={"row": ["a", "b", "c"]},
        example_labels=list("vwxyz"),
        predictive_draws=10,
    )
    assert tree["posterior"]["z"].dims == ("chain", "draw", "example", "component")
    assert tree["posterior"]["z"].shape == (2, 30, 5, 2)
    assert list(tree["posterior"]["example"].values) == list("vwxyz")
    assert tree["posterior_predictive"]["y"].dims == ("chain", "draw", "example", "row", "column")
    assert tree["posterior_predictive"]["y"].shape == (2, 10, 5, 3, 4)
    assert np.isfinite(tree["posterior_predictive"]["y"].values).all()
    assert tree["observed_data"]["y"].dims == ("example", "row", "column")
    assert list(tree["observed_data"]["row"].values) == ["a", "b", "c"]
    assert np.isnan(tree["observed_data"]["y"].values[0, 0, 0])
    assert tree["log_likelihood"]["y"].dims == ("chain", "draw", "example")
    stats = tree["sample_stats"]
    assert {"lp", "acceptance_rate", "diverging", "energy_error", "step_size"} <= set(stats)
    assert stats["diverging"].dtype == bool


def test_one_example_has_no_example_dimension() -> None:
    posterior = _posterior()
    tree = posterior.to_arviz(examples=[3])
    assert tree["posterior"]["z"].dims == ("chain", "draw", "z_dim_0")
    np.testing.assert_array_equal(
        tree["posterior"]["z"].values, posterior.samples["z"][:, :, 3].numpy()
    )
    assert tree["sample_stats"]["lp"].dims == ("chain", "draw")


def test_some_examples_keep_their_labels() -> None:
    tree = _posterior().to_arviz(examples=[4, 1], predictive_draws=0)
    assert list(tree["posterior"]["example"].values) == [4, 1]
    assert "posterior_predictive" not in tree


def test_netcdf_round_trip(tmp_path: Path) -> None:
    tree = _posterior().to_arviz(predictive_draws=5)
    tree.to_netcdf(str(tmp_path / "posterior.nc"))
    again = az.from_netcdf(str(tmp_path / "posterior.nc"))
    for group in ("posterior", "posterior_predictive", "sample_stats", "observed_data"):
        for name in tree[group].data_vars:
            np.testing.assert_array_equal(again[group][name].values, tree[group][name].values)


def test_arviz_summarises_it() -> None:
    table = az.summary(_posterior().to_arviz(predictive_draws=0))
    assert len(table) == 10
    assert {"r_hat", "ess_bulk"} <= set(table.columns)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"example_labels": [1, 2]}, "example_labels must hold one label for each of the 5"),
        (
            {"example_labels": ["a", "b", "c", "b", "a"]},
            "example_labels must differ from each other, got 'b' for the examples 1 and 3",
        ),
        ({"dims": {"x": ["a"]}}, r"dims must name variables, \['y', 'z'\], got 'x'"),
        ({"coords": {"pixel": [1]}}, r"coords must name dimensions, \['example', .*, got 'pixel'"),
        ({"coords": {"draw": [1]}}, "coords must name dimensions, .*, got 'draw'"),
        ({"examples": [5]}, "examples must lie between 0 and 4, got 5"),
        ({"dims": {"z": ["a", "b"]}}, r"dims\['z'\] must name the 1 dimensions"),
        ({"dims": {"z": ["a"]}, "coords": {"a": [1]}}, r"coords\['a'\] must hold 2 values"),
    ],
)
def test_what_does_not_fit_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _posterior().to_arviz(predictive_draws=0, **arguments)


def test_prior_groups_come_from_the_model() -> None:
    tree = _posterior().to_arviz(prior_draws=200, predictive_draws=0)
    assert tree["prior"]["z"].shape == (1, 200, 5, 2)
    assert tree["prior_predictive"]["y"].shape == (1, 200, 5, 3, 4)
    # 2,000 standard normals: mean and variance within five standard errors.
    z = tree["prior"]["z"].values
    assert abs(z.mean()) < 5 / 2000**0.5
    assert abs(z.var() - 1) < 5 * (2 / 2000) ** 0.5
    assert "prior" not in _posterior().to_arviz(prior_draws=0)


def test_what_is_not_explained_is_constant_data() -> None:
    def regression(y: torch.Tensor, exposure: torch.Tensor) -> None:
        with pyro.plate("rows", len(y)):
            rate = pyro.sample("rate", dist.Gamma(2.0, 1.0))
            pyro.sample("y", dist.Poisson(rate * exposure), obs=y)

    posterior = sample_posterior(
        regression,
        torch.tensor([1.0, 3.0]),
        torch.tensor([1.0, 2.0]),
        num_samples=10,
        warmup_steps=10,
        progress=False,
    )
    tree = posterior.to_arviz()
    assert set(tree["observed_data"]) == {"y"}
    np.testing.assert_array_equal(tree["constant_data"]["exposure"].values, [1.0, 2.0])
    assert (tree["prior"]["rate"].values > 0).all()


@pytest.mark.filterwarnings("ignore:::arviz", "ignore:::xarray", "ignore:::matplotlib")
@pytest.mark.filterwarnings("ignore:More chains", "ignore:.*deprecated:DeprecationWarning")
def test_plots_take_it() -> None:
    matplotlib.use("Agg")
    posterior = _posterior()
    tree = posterior.to_arviz(predictive_draws=10)
    some = posterior.to_arviz(examples=[0, 1], predictive_draws=10)
    az.plot_trace(some, var_names=["z"])
    az.plot_rank(some, var_names=["z"])
    az.plot_ppc(some, num_pp_samples=5)
    one = posterior.to_arviz(examples=[2])
    az.plot_energy(one)
    az.plot_pair(one, var_names=["z"], divergences=True)
    assert np.isfinite(az.bfmi(one)).all()
    assert len(az.summary(tree, var_names=["z"])) == 10
    plt.close("all")
