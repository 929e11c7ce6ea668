"""Draws as ArviZ knows them: under the model's names, with what follows from them."""

from collections.abc import Callable
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
from pyro import poutine
from pyro.infer.reparam import LocScaleReparam
from torch import Tensor

from explainaway.inference import MALA, Posterior, bind, sample_posterior
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, mlp

SETTINGS: dict[str, Any] = {
    "kernel": MALA(),
    "num_chains": 2,
    "warmup_steps": 20,
    "num_samples": 12,
    "progress": False,
}
COUNTS = torch.tensor([1.0, 4.0, 2.0])
SIZES = torch.tensor([[0.5, 1.0], [2.0, 0.0], [1.0, 1.5]])
EXPOSURE = torch.tensor([1.0, 2.0, 1.0])


def _two(exposure: Tensor, counts: Tensor, sizes: Tensor) -> None:
    """Two observed sites, covariate first."""
    with pyro.plate("rows", len(counts)):
        rate = pyro.sample("rate", dist.Gamma(2.0, 1.0))
        pyro.deterministic("expected", rate * exposure)
        pyro.sample("counts", dist.Poisson(rate * exposure), obs=counts)
        mean = rate[:, None].expand(-1, 2)
        pyro.sample("sizes", dist.Normal(mean, 1.0).to_event(1), obs=sizes)


def _sampled() -> Posterior:
    return sample_posterior(_two, EXPOSURE, COUNTS, SIZES, **SETTINGS)


@pytest.mark.filterwarnings("ignore:::arviz", "ignore:::xarray", "ignore:::matplotlib")
@pytest.mark.filterwarnings("ignore:More chains", "ignore:.*deprecated:DeprecationWarning")
def test_each_observed_site_has_its_groups() -> None:
    matplotlib.use("Agg")
    posterior = _sampled()
    tree = posterior.to_arviz(predictive_draws=12)
    for group in ("observed_data", "posterior_predictive", "log_likelihood", "prior_predictive"):
        assert set(tree[group].data_vars) == {"counts", "sizes"}, group
    assert set(tree["constant_data"].data_vars) == {"exposure"}
    np.testing.assert_array_equal(tree["observed_data"]["sizes"].values, SIZES)
    np.testing.assert_array_equal(tree["constant_data"]["exposure"].values, EXPOSURE)
    rate = posterior.samples["rate"]
    np.testing.assert_allclose(
        tree["log_likelihood"]["counts"].values,
        dist.Poisson(rate * EXPOSURE).log_prob(COUNTS),
        rtol=1e-4,
        atol=1e-5,
    )
    sizes = dist.Normal(rate[..., None], 1.0).log_prob(SIZES).sum(-1)
    np.testing.assert_allclose(tree["log_likelihood"]["sizes"].values, sizes, rtol=1e-4, atol=1e-5)
    az.plot_ppc(tree, num_pp_samples=3)
    for name in ("counts", "sizes"):
        assert az.loo(tree, var_name=name).n_data_points == 3
    plt.close("all")


def test_deterministic_sites_are_among_the_draws() -> None:
    posterior = _sampled()
    tree = posterior.to_arviz(predictive_draws=0, prior_draws=5)
    expected = posterior.samples["rate"] * EXPOSURE
    np.testing.assert_allclose(tree["posterior"]["expected"].values, expected, rtol=1e-6)
    prior = tree["prior"]
    np.testing.assert_allclose(prior["expected"], prior["rate"].values * EXPOSURE.numpy())
    assert set(posterior.get_samples()) == {"rate"}
    named = posterior.get_samples(deterministic=True)
    assert torch.equal(named["expected"], expected.flatten(0, 1))
    plain = posterior.to_arviz(predictive_draws=0, prior_draws=0, deterministic=False)
    assert set(plain["posterior"].data_vars) == {"rate"}


def _located(y: Tensor) -> None:
    with pyro.plate("rows", len(y)):
        z = pyro.sample("z", dist.Normal(torch.tensor([3.0, -1.0]), 2.0).to_event(1))
        pyro.sample("y", dist.Normal(z, 0.5).to_event(1), obs=y)


@pytest.mark.parametrize("centered", [0.0, 0.4])
def test_a_reparameterised_latent_is_among_the_draws(centered: float) -> None:
    """N(z; 3, 2), N(y; z, .5), y = 4: z has mean 4 - 1/17 (16 of 17 parts data)."""
    model = poutine.reparam(_located, {"z": LocScaleReparam(centered=centered)})
    y = torch.tensor([[4.0, 0.0]] * 20)
    posterior = sample_posterior(model, y, **{**SETTINGS, "num_samples": 200, "warmup_steps": 200})
    assert set(posterior.samples) == {"z_decentered"}
    assert set(posterior.observed) == {"y"}
    tree = posterior.to_arviz(predictive_draws=3, prior_draws=3)
    assert set(tree["posterior_predictive"].data_vars) == {"y"}
    assert set(tree["prior"].data_vars) == {"z", "z_decentered"}
    # Standard deviation .485; 8,000 draws, autocorrelated: five errors at one in ten.
    z = tree["posterior"]["z"].values
    np.testing.assert_allclose(z.mean((0, 1, 2)), [4 - 1 / 17, -1 / 17], atol=0.09)


def _named(first: str, second: str) -> Callable[[Tensor], None]:
    def model(y: Tensor) -> None:
        with pyro.plate("rows", len(y)):
            a = pyro.sample(first, dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample(second, dist.Normal(a, 1.0).to_event(1), obs=y)

    return model


@pytest.mark.parametrize(
    ("first", "second", "shown"),
    [
        ("chain", "draw", ("chain_site", "draw_site")),
        ("example", "y", ("example_site", "y")),
        ("z", "z_dim_0", ("z", "z_dim_0_site")),
        ("inner/z", "inner.z", ("inner.z_", "inner.z")),
        ("example_site", "example", ("example_site", "example_site_")),
    ],
)
def test_names_that_dimensions_have(
    tmp_path: Path, first: str, second: str, shown: tuple[str, str]
) -> None:
    y = torch.rand(3, 2)
    posterior = sample_posterior(
        _named(first, second), y, draws_file=tmp_path / "draws.nc", **SETTINGS
    )
    tree = posterior.to_arviz(predictive_draws=2, prior_draws=2)
    posterior.save(tmp_path / "saved.nc", predictive_draws=2)
    files = [az.from_netcdf(str(tmp_path / name)) for name in ("draws.nc", "saved.nc")]
    for one in (tree, *files):
        assert set(one["posterior"].data_vars) == {shown[0]}
        assert set(one["observed_data"].data_vars) == {shown[1]}
        assert one["posterior"][shown[0]].shape == (2, 12, 3, 2)
    assert set(tree["log_likelihood"].data_vars) == {shown[1]}
    assert len(az.summary(tree, var_names=[shown[0]])) == 6
    for name in ("draws.nc", "saved.nc"):
        loaded = Posterior.load(tmp_path / name)
        assert torch.equal(loaded.samples[first], posterior.samples[first])
        assert torch.equal(loaded.observed[second], y)


def test_a_dimension_of_ones_own_that_a_variable_is_called_is_refused() -> None:
    posterior = _sampled()
    with pytest.raises(ValueError, match=r"dims\['sizes'\] names a dimension 'rate', as a var"):
        posterior.to_arviz(dims={"sizes": ["rate"]})
    with pytest.raises(ValueError, match=r"dims\['sizes'\] names a dimension 'draw', as another"):
        posterior.to_arviz(dims={"sizes": ["draw"]})


def test_names_that_do_not_fit_are_said_before_the_model_draws(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    posterior = _sampled()

    def draw(*_: Any) -> None:
        raise AssertionError("drawn")

    monkeypatch.setattr(type(posterior.potential), "predict", draw)
    for given, said in (
        ({"dims": {"expected": ["a"]}}, r"dims\['expected'\] must name the 0 dimensions"),
        ({"dims": {"sizes": ["expected"]}}, "names a dimension 'expected', as a variable"),
        ({"coords": {"sizes_dim_0": [1]}}, r"coords\['sizes_dim_0'\] must hold 2 values"),
    ):
        with pytest.raises(ValueError, match=said):
            posterior.to_arviz(**given)
        with pytest.raises(ValueError, match=said):
            posterior.save(tmp_path / "saved.nc", predictive_draws=2, **given)


def test_an_argument_and_a_site_of_one_name_may_differ_in_shape() -> None:
    def model(rate: Tensor, y: Tensor) -> None:
        with pyro.plate("rows", len(y)):
            z = pyro.sample("rate", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("y", dist.Normal(z.sum(-1) + rate.sum(-1), 1.0), obs=y)

    tree = sample_posterior(model, torch.rand(3, 4), torch.rand(3), **SETTINGS).to_arviz(
        predictive_draws=2, prior_draws=0
    )
    assert tree["posterior"]["rate"].shape == (2, 12, 3, 2)
    assert tree["constant_data"]["rate"].shape == (3, 4)


def test_what_a_site_observes_is_what_is_shown() -> None:
    """Of arguments with NaN that argument, of something else what the site has seen."""

    def model(x: Tensor, raw: Tensor, extra: dict[str, Tensor]) -> None:
        seen = ~x.isnan()
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample(
                "x_seen",
                dist.Normal(z[:, None].expand(-1, 2), 1.0).mask(seen).to_event(1),
                obs=x.nan_to_num(),
            )
            pyro.sample("log_raw", dist.Normal(z + extra["shift"], 1.0), obs=raw.log())

    x = torch.tensor([[1.0, torch.nan], [2.0, 3.0]])
    raw, shift = torch.tensor([1.0, 2.0]), torch.tensor([0.5, 0.0])
    posterior = sample_posterior(model, x, raw, {"shift": shift}, **SETTINGS)
    np.testing.assert_array_equal(posterior.observed["x_seen"], x)
    np.testing.assert_array_equal(posterior.observed["log_raw"], raw.log())
    assert set(posterior.constant) == {"raw", "extra_shift"}


def test_a_generator_models_data_have_their_names() -> None:
    torch.manual_seed(0)
    model = GeneratorModel(Normal(2), mlp(2, (3,), hidden=(4,)), Masked(Gaussian(0.3)))
    y, mask = torch.rand(4, 3), torch.rand(4, 3) > 0.3
    posterior = sample_posterior(model, y, mask=mask, **SETTINGS)
    np.testing.assert_array_equal(posterior.observed["y"], torch.where(mask, y, torch.nan))
    assert posterior.constant == {}


def test_a_changed_model_is_noticed_before_it_is_used(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = GeneratorModel(Normal(2), mlp(2, (3,), hidden=(4,)), Masked(Gaussian(0.3)))
    y = torch.rand(4, 3)
    posterior = sample_posterior(model, y, **SETTINGS)
    posterior.save(tmp_path / "saved.nc")
    said = "model or the data are not what these draws were made with"
    with pytest.raises(ValueError, match=said):
        Posterior.load(tmp_path / "saved.nc", bind(model, y + 1))
    with pytest.raises(ValueError, match="potential must be of the 4 examples and 2 latent"):
        Posterior.load(tmp_path / "saved.nc", bind(model, y[:3]))
    loaded = Posterior.load(tmp_path / "saved.nc", bind(model, y))
    with torch.no_grad():
        model.network[0].weight.add_(1.0)
    for one in (posterior, loaded):
        with pytest.raises(ValueError, match=f"{said}.*leave out what takes the model"):
            one.to_arviz()
        with pytest.raises(ValueError, match=said):
            one.save(tmp_path / "other.nc", predictive_draws=3)
        assert "posterior" in one.to_arviz(predictive_draws=0, prior_draws=0)
    posterior.save(tmp_path / "saved.nc")
    with pytest.raises(ValueError, match=said):
        Posterior.load(tmp_path / "saved.nc", bind(model, y))


@pytest.mark.parametrize("argument", ["predictive_draws", "prior_draws"])
def test_a_negative_number_of_draws_is_refused(argument: str) -> None:
    with pytest.raises(ValueError, match=f"{argument} must be"):
        _sampled().to_arviz(**{argument: -1})
