"""A model that is one example as a whole: how it is found, called, kept and refused."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer.autoguide.initialization import init_to_value
from pyro.infer.reparam import LocScaleReparam
from torch import Tensor

from explainaway.inference import (
    HMC,
    MALA,
    AlternatingBackProp,
    Langevin,
    ParallelTempering,
    Posterior,
    RiemannianMALA,
    bind,
    sample_posterior,
)

X = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
Y = X @ torch.tensor([1.0, -1.0]) + 0.5
SCALE = torch.tensor([1.0, 2.0])
SHORT: dict[str, Any] = {"warmup_steps": 60, "num_samples": 40, "progress": False}
# Of short runs; what draws are worth is tested in laws.
pytestmark = pytest.mark.filterwarnings("ignore:the draws cannot be trusted yet")


def _plain(x: Tensor, y: Tensor, scale: Tensor, noise: float = 1.0) -> None:
    """Without a plate, and with arguments of three lengths."""
    weight = pyro.sample("weight", dist.Normal(torch.zeros(2), scale).to_event(1))
    spread = pyro.sample("spread", dist.LogNormal(0.0, 0.5))
    pyro.sample("y", dist.Normal(x @ weight, noise * spread), obs=y)


def _plated(x: Tensor, y: Tensor) -> None:
    weight = pyro.sample("weight", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    with pyro.plate("rows", len(y)):
        offset = pyro.sample("offset", dist.LogNormal(0.0, 1.0))
        pyro.sample("y", dist.Normal(x @ weight + offset, 1.0), obs=y)


def _observed_in_a_plate(x: Tensor, y: Tensor) -> None:
    weight = pyro.sample("weight", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Normal(x @ weight, 1.0), obs=y)


def _branching(y: Tensor) -> None:
    z = pyro.sample("z", dist.Normal(0.0, 1.0))
    mean = z if float(z.detach()) > 0 else 2 * z
    pyro.sample("y", dist.Normal(mean, 1.0), obs=y)


def _energy_of(model: Callable[..., Any], values: dict[str, Tensor], *data: Any) -> Tensor:
    trace = poutine.trace(poutine.condition(model, values)).get_trace(*data)
    return -torch.as_tensor(trace.log_prob_sum())


def test_the_energy_of_each_chain_is_that_of_pyros_trace() -> None:
    potential = bind(_plain, X, Y, SCALE, shared="sample", capture=False).repeated(3)
    assert potential.layout.is_batched
    z = torch.randn(3, 3)
    energy, gradient = potential(z)
    for chain in range(3):
        row = z[chain].clone().requires_grad_()
        values = {"weight": row[:2], "spread": row[2].exp()}
        expected = _energy_of(_plain, values, X, Y, SCALE) - row[2]
        torch.testing.assert_close(energy[chain], expected.detach())
        torch.testing.assert_close(gradient[chain], torch.autograd.grad(expected, row)[0])
    chained = dataclasses.replace(
        potential, layout=dataclasses.replace(potential.layout, is_batched=False)
    )
    torch.testing.assert_close(chained(z), (energy, gradient))


def test_draws_have_the_model_as_their_one_example() -> None:
    posterior = sample_posterior(_plain, X, Y, SCALE, noise=0.5, num_chains=3, **SHORT)
    assert posterior.samples["weight"].shape == (3, 40, 1, 2)
    assert posterior.samples["spread"].shape == (3, 40, 1)
    assert posterior.predict(7).shape == (7, 1, 5)
    torch.testing.assert_close(posterior.observed["y"], Y[None])
    assert set(posterior.constant) == {"x", "scale"}
    with pytest.raises(ValueError, match="the whole model was sampled as one"):
        posterior.impute(3)


def test_functions_of_latents_are_among_the_draws_and_likelihoods_are_by_site() -> None:
    def model(x: Tensor, y: Tensor, other: Tensor) -> None:
        centred = {"weight": LocScaleReparam(0.0)}
        with poutine.reparam(config=centred):
            weight = pyro.sample("weight", dist.Normal(torch.zeros(2), 2.0).to_event(1))
        mean = pyro.deterministic("mean", x @ weight)
        with pyro.plate("rows", len(y)):
            pyro.sample("y", dist.Normal(mean, 1.0), obs=y)
            pyro.sample("other", dist.Laplace(mean, 1.0), obs=other)

    posterior = sample_posterior(model, X, Y, 2 * Y, num_chains=2, **SHORT)
    draws = posterior.get_samples(group_by_chain=True, deterministic=True)
    decentred = posterior.samples["weight_decentered"]
    assert set(draws) == {"weight_decentered", "weight", "mean"}
    torch.testing.assert_close(draws["weight"], 2 * decentred)
    torch.testing.assert_close(draws["mean"], 2 * decentred @ X.T)
    found = posterior.to_arviz(predictive_draws=SHORT["num_samples"], prior_draws=3)
    mean = draws["mean"][:, :, 0]
    for name, fn in (
        ("y", dist.Normal(mean, 1.0).log_prob(Y)),
        ("other", dist.Laplace(mean, 1.0).log_prob(2 * Y)),
    ):
        likelihood = torch.as_tensor(found.log_likelihood[name].values)
        torch.testing.assert_close(likelihood, fn.sum(-1))
        torch.testing.assert_close(posterior.observed[name], (Y if name == "y" else 2 * Y)[None])
    assert found.prior["mean"].shape == (1, 3, 5)
    assert set(posterior.constant) == {"x"}


def test_a_model_without_a_latent_in_a_plate_is_one_example() -> None:
    """But only where nobody names the plate, and to be sampled: a potential is asked for."""
    posterior = sample_posterior(_observed_in_a_plate, X, Y, **SHORT)
    assert posterior.samples["weight"].shape == (4, 40, 1, 2)
    with pytest.raises(ValueError, match="'weight' lies outside plate 'rows'"):
        sample_posterior(_observed_in_a_plate, X, Y, example_plate="rows", **SHORT)
    with pytest.raises(ValueError, match="'weight' lies outside plate 'rows'"):
        bind(_observed_in_a_plate, X, Y)


def test_a_keyword_reaches_the_model() -> None:
    values = {"weight": torch.zeros(2), "spread": torch.tensor(1.0)}
    potential = bind(_plain, X, Y, SCALE, noise=3.0, shared="sample")
    expected = _energy_of(lambda *data: _plain(*data, noise=3.0), values, X, Y, SCALE)
    torch.testing.assert_close(potential(torch.zeros(1, 3))[0][0], expected)
    with pytest.raises(TypeError, match="'noises', which the model does not take"):
        sample_posterior(_plain, X, Y, SCALE, noises=3.0, **SHORT)


def test_arviz_has_no_dimension_for_the_one_example() -> None:
    posterior = sample_posterior(_plated, X, Y, shared="sample", **SHORT)
    found = posterior.to_arviz(predictive_draws=3, prior_draws=2, dims={"offset": ["row"]})
    assert found["posterior"]["offset"].dims == ("chain", "draw", "row")
    assert found["posterior"]["weight"].shape == (4, 40, 2)
    assert found["observed_data"]["y"].shape == (5,)
    assert found["posterior_predictive"]["y"].shape == (4, 3, 5)
    assert found["prior"]["offset"].shape == (1, 2, 5)


def test_captured_graphs_give_the_models_draws() -> None:
    """Over 300 evaluations are worth a graph; the draws differ by rounding, which grows."""
    settings = {**SHORT, "num_samples": 300, "shared": "sample"}
    captured = sample_posterior(_plated, X, Y, **settings)
    plain = sample_posterior(_plated, X, Y, capture=False, **settings)
    evaluator: Any = captured.potential and captured.potential.evaluator
    assert evaluator.graphs
    torch.testing.assert_close(captured.position[:, 0], plain.position[:, 0], rtol=0.1, atol=0.1)
    again = plain.potential and plain.potential.repeated(4).plain()
    assert again is not None
    energy = again(captured.position[:, -1, 0])[0]
    torch.testing.assert_close(-captured.sample_stats["lp"][:, -1, 0], energy, rtol=1e-4, atol=1e-3)


def test_a_model_that_vmap_cannot_follow_is_run_chain_by_chain() -> None:
    posterior = sample_posterior(_branching, torch.tensor(1.0), **SHORT)
    potential = posterior.potential
    assert potential is not None
    assert not potential.layout.is_batched
    energy = potential.repeated(2)(torch.tensor([[1.0], [-1.0]]))[0]
    # -log N(z; 0, 1) - log N(1; z or 2z, 1) at 1 and at -1.
    torch.testing.assert_close(energy, 1.837877 + torch.tensor([0.5, 0.5 + 4.5]))
    assert posterior.predict(5).shape == (5, 1)


def test_a_model_without_data_can_be_sampled(tmp_path: Path) -> None:
    def model() -> None:
        z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        pyro.factor("weight", -z.sum())

    whole = sample_posterior(model, checkpoint=tmp_path / "run.pt", **SHORT)
    assert whole.samples["z"].shape == (4, 40, 1, 2)
    # Once more from the finished file.
    again = sample_posterior(model, checkpoint=tmp_path / "run.pt", **SHORT)
    assert torch.equal(again.position, whole.position)
    whole.save(tmp_path / "file.nc")
    loaded = Posterior.load(tmp_path / "file.nc", potential=bind(model, shared="sample"))
    assert torch.equal(loaded.position, whole.position)
    assert whole.predict(3) == {}
    groups = loaded.to_arviz()
    assert groups.posterior["z"].shape == (4, 40, 2)
    assert groups.log_likelihood["weight"].shape == (4, 40)


@pytest.mark.parametrize("kernel", [MALA(), Langevin(), ParallelTempering(3), HMC(5)])
def test_every_kernel_of_gradients_samples_a_whole_model(kernel: Any) -> None:
    posterior = sample_posterior(_plated, X, Y, shared="sample", kernel=kernel, **SHORT)
    assert posterior.position.isfinite().all()


def test_kernels_that_need_a_metric_are_refused() -> None:
    with pytest.raises(NotImplementedError, match="cannot sample a whole model"):
        sample_posterior(_plated, X, Y, shared="sample", kernel=RiemannianMALA(), **SHORT)


def test_chains_go_on_and_are_kept(tmp_path: Path) -> None:
    settings = {**SHORT, "shared": "sample", "accumulate": {"w": lambda z: z["weight"]}}
    whole = sample_posterior(_plated, X, Y, **settings)
    part = sample_posterior(_plated, X, Y, **{**settings, "num_samples": 15})
    longer = part.extend(25, progress=False)
    assert torch.equal(longer.position, whole.position)
    assert longer.accumulated["w"].mean.shape == (1, 2)
    filed = sample_posterior(_plated, X, Y, draws_file=tmp_path / "draws.nc", **settings)
    torch.testing.assert_close(filed.samples["offset"], whole.samples["offset"])
    part.save(tmp_path / "posterior.pt")
    potential = bind(_plated, X, Y, shared="sample")
    loaded = Posterior.load(tmp_path / "posterior.pt", potential=potential)
    assert torch.equal(loaded.predict(5, seed=3), part.predict(5, seed=3))


def test_an_init_strategy_has_the_models_own_shapes() -> None:
    values = {"weight": torch.tensor([1.0, -1.0]), "spread": torch.tensor(0.1)}
    posterior = sample_posterior(
        _plain,
        X,
        Y,
        SCALE,
        init_strategy=init_to_value(values=values),
        kernel=HMC(1, step_size=1e-6),
        warmup_steps=0,
        num_samples=4,
        progress=False,
    )
    torch.testing.assert_close(posterior.samples["weight"][0, 0, 0], values["weight"])
    torch.testing.assert_close(posterior.samples["spread"][0, 0, 0], values["spread"])


def _discrete(y: Tensor) -> None:
    pyro.sample("k", dist.Bernoulli(0.5))
    pyro.sample("y", dist.Normal(0.0, 1.0), obs=y)


def _subsampled(y: Tensor) -> None:
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    with pyro.plate("rows", len(y), subsample_size=2) as some:
        pyro.sample("y", dist.Normal(mu, 1.0), obs=y[some])


def _broadcast(y: Tensor) -> None:
    """Case 18: an output (3, 1) and data (3,), nine terms for three values."""
    mu = pyro.sample("mu", dist.Normal(torch.zeros(3, 1), 1.0))
    pyro.sample("y", dist.Normal(mu, 1.0), obs=y)


def _counts(y: Tensor) -> None:
    with pyro.plate("rows", len(y)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Poisson(z.exp()), obs=y.nan_to_num(), obs_mask=~y.isnan())


def _changing(y: Tensor) -> None:
    z = pyro.sample("z", dist.Normal(0.0, 1.0))
    if bool(z > 0.5):
        pyro.sample("extra", dist.Normal(0.0, 1.0))
    pyro.sample("y", dist.Normal(z, 1.0), obs=y)


THREE = torch.tensor([0.0, 1.0, 2.0])


@pytest.mark.parametrize(
    ("model", "more", "message"),
    [
        (_plated, {}, r'latent site .weight. lies outside .* sample_posterior\(..., shared="sam'),
        (_plated, {"shared": "all"}, r"shared must be \"sample\" or left out, got 'all'"),
        (_plated, {"shared": "sample", "example_plate": "rows"}, "example_plate='rows' must be"),
        (_discrete, {}, r"latent site 'k' is discrete \(Bernoulli\)"),
        (_subsampled, {"shared": "sample"}, r"plate 'rows' has subsample_size=2: leave it out"),
        (_broadcast, {}, r"site 'y' has shape \(3, 3\), .* counts values more than once"),
        (_counts, {}, r"'y_unobserved' is discrete .*left out by poutine.mask, not obs_mask"),
        (_changing, {}, "latent site 'extra' in some of its runs only"),
    ],
)
def test_what_is_no_whole_model_is_refused(
    model: Callable[..., Any], more: dict[str, Any], message: str
) -> None:
    data = (X, Y) if model is _plated else (THREE,)
    with pytest.raises(ValueError, match=message):
        sample_posterior(model, *data, **more, **SHORT)


def test_learning_needs_the_plate() -> None:
    with pytest.raises(ValueError, match=r"no plate over examples.* shared=\"sample\""):
        AlternatingBackProp(_discrete).fit(THREE, epochs=1, progress=False)


def test_nan_under_a_mask_does_not_reach_the_gradient() -> None:
    """Case 8: w = (2, 3), z = .5, y = (NaN, 1): energy 2.087877, gradient 2; of positive data too.

    The number in place of NaN lies in the support: a log of 0 would have no gradient either.
    """

    def normal(y: Tensor) -> None:
        with pyro.plate("rows", len(y), dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            for j, weight in enumerate((2.0, 3.0)):
                with poutine.mask(mask=~y[:, j].isnan()):
                    pyro.sample(f"y{j}", dist.Normal(weight * z, 1.0), obs=y[:, j])

    def positive(y: Tensor) -> None:
        with pyro.plate("rows", len(y), dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            with poutine.mask(mask=~y[:, 0].isnan()):
                pyro.sample("y", dist.LogNormal(z, 1.0), obs=y[:, 0])

    y = torch.tensor([[torch.nan, 1.0]])
    energy, gradient = bind(normal, y)(torch.tensor([[0.5]]))
    torch.testing.assert_close(energy, torch.tensor([2.087877]))
    torch.testing.assert_close(gradient, torch.tensor([[2.0]]))
    energy, gradient = bind(positive, y)(torch.tensor([[0.5]]))
    torch.testing.assert_close(energy, torch.tensor([0.918939 + 0.125]))
    torch.testing.assert_close(gradient, torch.tensor([[0.5]]))


def test_a_mask_on_a_latent_that_matters_is_a_flat_prior() -> None:
    """As in Pyro: the likelihood alone keeps it in place."""

    def model(y: Tensor) -> None:
        with pyro.plate("rows", len(y)):
            with poutine.mask(mask=False):
                z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(z, 1.0), obs=y)

    energy, gradient = bind(model, THREE)(torch.ones(3, 1))
    torch.testing.assert_close(energy, 0.918939 + 0.5 * (1 - THREE) ** 2)
    torch.testing.assert_close(gradient[:, 0], 1 - THREE)
