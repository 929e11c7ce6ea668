"""A normal prior that follows the chains: the maximum is the same, and learning gets there."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from explainaway.inference import MALA, AlternatingBackProp, bind, sample_posterior
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, linear, texture_deconvnet

NOISE = 0.1


def _data(n: int = 300, columns: int = 40, d: int = 4) -> Tensor:
    loadings = torch.randn(columns, d)
    return torch.randn(n, d) @ loadings.T + NOISE * torch.randn(n, columns) + 1


def _model(d: int, columns: int, learn: bool = True) -> GeneratorModel:
    torch.manual_seed(1)
    return GeneratorModel(Normal(d, learn=learn), linear(d, columns), Masked(Gaussian(NOISE)))


def _moments(model: GeneratorModel) -> tuple[Tensor, Tensor]:
    """Return mean and covariance of y."""
    weight, bias = (p.detach().double() for p in model.network.parameters())
    prior: Any = model.prior
    learned = prior.has_closed_form
    mean = prior.mean if learned else prior.loc
    factor = prior.scale_tril if learned else prior.scale.diag()
    loadings = weight @ factor.double()
    noise = NOISE**2 * torch.eye(len(bias)).double()
    return weight @ mean.double() + bias, loadings @ loadings.T + noise


def _log_likelihood(mean: Tensor, covariance: Tensor, y: Tensor) -> float:
    made = torch.distributions.MultivariateNormal(mean, covariance)
    return float(made.log_prob(y.double()).mean())


def _best(y: Tensor, d: int) -> float:
    """Return the maximum in closed form: Tipping & Bishop (1999), with the noise known."""
    y = y.double()
    eigenvalues, vectors = torch.linalg.eigh(torch.cov(y.T, correction=0))
    loadings = vectors[:, -d:] * (eigenvalues[-d:] - NOISE**2).sqrt()
    noise = NOISE**2 * torch.eye(y.shape[1]).double()
    return _log_likelihood(y.mean(0), loadings @ loadings.T + noise, y)


def _learn(model: GeneratorModel, y: Tensor, epochs: int, **more: Any) -> Any:
    settings: dict[str, Any] = {"batch_size": 30, **more}
    fits = {key: settings.pop(key) for key in ("checkpoint", "validation") if key in settings}
    return AlternatingBackProp(
        model,
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-2),
        scheduler=lambda adam: torch.optim.lr_scheduler.LambdaLR(
            adam, lambda epoch: min(1.0, (epochs - epoch) / (0.4 * epochs))
        ),
        **settings,
    ).fit(y, epochs=epochs, seed=0, progress=False, **fits)


@pytest.mark.slow
def test_it_reaches_the_maximum_where_a_fixed_one_stays_far_below() -> None:
    """Small noise: the gap to probabilistic PCA is under .02 nats of an example, and over 1 else.

    The maximum is the same because the first layer could absorb the learned map, and it is
    counted over all parameters by the marginal likelihood itself.
    """
    y = _data()
    best = _best(y, 4)
    gaps = {}
    for learn in (True, False):
        model = _model(4, 40, learn)
        fit = _learn(model, y, epochs=120)
        gaps[learn] = best - _log_likelihood(*_moments(model), y)
        if learn:
            prior: Any = model.prior
            # Absorbed into the first layer it is the model with N(0, I).
            absorbed = _model(4, 40, learn=False)
            weight, bias = model.network.parameters()
            with torch.no_grad():
                absorbed.network[0].weight.copy_(weight @ prior.scale_tril)
                absorbed.network[0].bias.copy_(bias + weight @ prior.mean)
            same = _log_likelihood(*_moments(absorbed), y)
            assert math.isclose(best - same, gaps[True], abs_tol=1e-3)
            # The loss is -log p(y) plus the entropy of the white posterior, as for N(0, I).
            loadings = (weight @ prior.scale_tril).detach().double()
            precision = torch.eye(4).double() + loadings.T @ loadings / NOISE**2
            entropy = 2 * math.log(2 * math.pi * math.e) - 0.5 * float(torch.logdet(precision))
            assert abs(fit.history["loss"][-1] - (entropy - same)) < 0.6
    assert 0 <= gaps[True] < 0.02
    assert gaps[False] > 1


def test_chains_start_as_draws_from_it_in_learning_and_sampling() -> None:
    """4,000 starts each, six standard errors."""
    model = _model(2, 3)
    prior: Any = model.prior
    mean, factor = torch.tensor([20.0, -5.0]), torch.tensor([[2.0, 0.0], [1.5, 0.5]])
    prior.mean.copy_(mean)
    prior.scale_tril.copy_(factor)
    y = model.generate(4000, seed=0)
    abp = AlternatingBackProp(model)
    abp.start(y, seed=3)
    assert abp.chains is not None
    starts = abp.chains.position[:, 0]
    white = torch.linalg.solve_triangular(factor, (starts - mean).T, upper=False)
    assert (white.mean(1).abs() < 6 / 4000**0.5).all()
    torch.testing.assert_close(white.cov(), torch.eye(2), atol=6 * (2 / 4000) ** 0.5, rtol=0)
    # By the same seed sampling starts there too; its first draw is one tiny step away.
    posterior = sample_posterior(
        model,
        y[:50],
        kernel=MALA(step_size=1e-6),
        num_chains=1,
        warmup_steps=0,
        num_samples=1,
        seed=3,
        progress=False,
    )
    torch.testing.assert_close(posterior.position[0, 0], starts[:50], atol=1e-3, rtol=0)


def test_losses_do_not_depend_on_the_scale_of_the_latents() -> None:
    """Latents a hundred times as large with weights a hundredth: the same losses and energies."""
    y = _data(60, 10, 2)
    records = []
    for scale in (1.0, 100.0):
        model = GeneratorModel(Normal(2, scale=scale, learn=True), linear(2, 10), Gaussian(1.0))
        torch.manual_seed(1)
        with torch.no_grad():
            model.network[0].weight.copy_(torch.randn(10, 2) / scale)
            model.network[0].bias.zero_()
        abp = AlternatingBackProp(
            model, MALA(step_size=0.1 * scale), optimizer=lambda p: torch.optim.SGD(p, lr=0.0)
        )
        records.append(abp.fit(y, epochs=3, seed=0, validation=y[:20], progress=False).history)
    for name in ("loss", "energy", "validation_energy"):
        assert records[0][name] == pytest.approx(records[1][name], rel=1e-4), name


class _KilledError(Exception):
    pass


class _Killer:
    """Ends the run after its third epoch."""

    epochs = 0

    def __call__(self, abp: AlternatingBackProp, record: dict[str, float]) -> None:
        self.epochs += 1
        if self.epochs == 3:
            raise _KilledError


@pytest.mark.parametrize("num_chains", [1, 2])
def test_a_run_that_is_killed_and_resumed_ends_with_the_same_bits(
    tmp_path: Path, num_chains: int
) -> None:
    y = _data(60, 10, 3)

    def run(file: str, *callbacks: Any) -> tuple[GeneratorModel, Any]:
        model = _model(3, 10)
        abp = AlternatingBackProp(model, batch_size=20, num_chains=num_chains)
        return model, abp.fit(
            y,
            epochs=5,
            seed=0,
            checkpoint=tmp_path / file,
            checkpoint_seconds=0,
            validation=y[:10],
            callbacks=callbacks,
            progress=False,
        )

    whole, fit = run("whole.pt")
    with pytest.raises(_KilledError):
        run("killed.pt", _Killer())
    resumed, again = run("killed.pt")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert torch.equal(fit.latents, again.latents)
    assert fit.history["loss"] == again.history["loss"]
    # It has moved, and not by the optimizer.
    assert not torch.equal(whole.prior.scale_tril, torch.eye(3))


def test_graphs_see_the_prior_move() -> None:
    y = _data(60, 10, 3)
    ends = []
    for capture in (True, False):
        model = _model(3, 10)
        AlternatingBackProp(model, batch_size=20, capture=capture).fit(
            y, epochs=40, seed=0, progress=False
        )
        ends.append(model.prior.scale_tril.clone())
        potential = bind(model, y, capture=True)
        z = torch.randn(60, 3)
        before = potential(z)[0]
        model.prior.closed_form_step(5 * torch.randn(60, 3))  # type: ignore[operator]
        after, plain = potential(z)[0], potential.plain()(z)[0]
        assert not torch.allclose(before, plain)
        torch.testing.assert_close(after, plain)
    torch.testing.assert_close(ends[0], ends[1], rtol=0.05, atol=0.05)


@pytest.mark.slow
def test_compiled_visits_see_the_prior_move() -> None:
    """The same noise: draws that part by rounding only, while the prior goes its way."""
    y = _data(60, 10, 3)
    ends = []
    for compiled in (True, False):
        model = _model(3, 10)
        AlternatingBackProp(model, inference_steps=2, batch_size=20, compile=compiled).fit(
            y, epochs=3, seed=0, progress=False
        )
        ends.append(model.prior.scale_tril.clone())
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-3, atol=1e-3)
    assert not torch.allclose(ends[0], torch.eye(3), atol=0.05)


def test_maps_are_learned_with_the_covariance_of_their_channels() -> None:
    network = texture_deconvnet(2, channels=1, num_layers=1)
    model = GeneratorModel(Normal((2, 4, 4), learn=True), network, Gaussian(0.3))
    y = torch.randn(20, 1, 8, 8)
    fit = AlternatingBackProp(model, batch_size=10).fit(y, epochs=3, seed=0, progress=False)
    assert fit.latents.shape == (20, 2, 4, 4)
    assert model.prior.scale_tril.shape == (2, 2)
    assert model.generate(3, seed=0).shape == (3, 1, 8, 8)
