"""The noise's scale, learned as the running mean of squared residuals."""

import signal
from pathlib import Path
from typing import Any

import pytest
import scipy.optimize
import torch
from torch import Tensor

from explainaway.inference import HMC, AlternatingBackProp
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, mlp
from explainaway.models.batch_weight import SLOWEST, batch_weight

from ...conftest import linear_gaussian


def _negative_log_likelihood(y: Tensor, weight: Tensor, variance: Tensor) -> float:
    covariance = weight @ weight.T + variance.diag()
    made = torch.distributions.MultivariateNormal(torch.zeros(len(weight)).to(y), covariance)
    return -float(made.log_prob(y).mean())


@pytest.mark.parametrize("columns", ["one for all", "per column"])
def test_it_converges_to_the_residual_variance_of_the_marginal_likelihood(columns: str) -> None:
    """Weights held, exact posterior draws: stochastic EM for σ², whose optimum scipy finds.

    After 800 steps 2,000 are averaged. The standard error is that of 20 means of 100 steps, longer
    than what the running mean remembers (50 steps at the least weight, 70 with the share of
    information that is missing). Within seven of them, by the t distribution of 19 degrees of
    freedom: a false failure has probability 1e-6 for each of the 1 + 5 scales.
    """
    torch.manual_seed(2)
    weight = 0.7 * torch.randn(5, 2).double()
    truth = torch.tensor([0.8, 1.0, 1.2, 0.9, 1.1]).double()
    y = torch.randn(500, 2).double() @ weight.T + truth * torch.randn(500, 5).double()
    width = 1 if columns == "one for all" else 5

    def objective(log_variance: Any) -> float:
        variance = torch.tensor(log_variance).exp().expand(5)
        return _negative_log_likelihood(y, weight, variance)

    best = scipy.optimize.minimize(objective, [0.0] * width, method="BFGS").x
    optimum = torch.tensor(best).exp()

    observation = Gaussian(torch.ones(width), learn_scale="closed form").double()
    path = []
    for _ in range(2_800):
        variance = (observation.scale**2).expand(5)
        precision = torch.eye(2).double() + (weight.T / variance) @ weight
        covariance = torch.linalg.inv(precision)
        mean = (y / variance) @ weight @ covariance
        z = mean + torch.randn(500, 2).double() @ torch.linalg.cholesky(covariance).T
        observation.closed_form_step(z @ weight.T, y)
        path.append(observation.scale**2)
    kept = torch.stack(path[800:])
    error = kept.reshape(20, 100, width).mean(1).std(0) / 20**0.5
    assert bool(((kept.mean(0) - optimum).abs() < 7 * error).all())
    assert float((error / optimum).max()) < 0.005


@pytest.mark.slow
def test_the_loop_learns_it_to_the_ppca_optimum() -> None:
    """σ² of the probabilistic PCA (Tipping & Bishop 1999, eq. 8), within 3 %.

    Squared residuals vary by √2 times their mean: those of one step, 4 chains of 300 * 6 cells, by
    1.7 %, the running mean of 50 steps by .25 %; the weights' own noise adds about as much.
    """
    torch.manual_seed(0)
    n, columns, d = 300, 6, 2
    true = torch.randn(columns, d)
    y = torch.randn(n, d) @ true.T + 0.5 * torch.randn(n, columns)
    values = torch.linalg.eigvalsh(torch.cov(y.T, correction=0))
    noise = float(values[:-d].mean())
    observation = Gaussian(1.0, learn_scale="closed form")
    model = GeneratorModel(Normal(d), mlp(d, columns, hidden=()), observation)
    abp = AlternatingBackProp(
        model,
        kernel=HMC(5),
        inference_steps=1,
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-2),
        scheduler=lambda adam: torch.optim.lr_scheduler.CosineAnnealingLR(adam, 800),
        batch_size=n,
        num_chains=4,
    )
    abp.fit(y, epochs=800, seed=0, progress=False)
    assert float(observation.scale**2) == pytest.approx(noise, rel=0.03)
    assert not list(observation.parameters())


@pytest.mark.parametrize("shape", [(), (3,), (3, 1, 1)], ids=["one", "per column", "per channel"])
def test_a_first_batch_gives_its_mean_square_and_the_others_move_it_by_their_weights(
    shape: tuple[int, ...],
) -> None:
    observation = Gaussian(torch.full(shape, 7.0), learn_scale="closed form").double()
    data = (3, 4, 5) if len(shape) == 3 else (2, 3)
    averaged = {(): tuple(range(len(data) + 1)), (3,): (0, 1), (3, 1, 1): (0, 2, 3)}[shape]
    expected = torch.full(shape, torch.nan)
    for number in range(1, 20):
        residual = torch.randn(6, *data).double()
        observation.closed_form_step(torch.zeros_like(residual), residual)
        mean = (residual**2).mean(averaged).reshape(shape)
        expected = mean if number == 1 else torch.lerp(expected, mean, number**-0.6)
    assert observation.scale.shape == shape
    torch.testing.assert_close(observation.scale**2, expected)


def test_later_batches_are_forgotten_at_the_slowest_rate() -> None:
    observation = Gaussian(1.0, learn_scale="closed form").double()
    assert float(batch_weight(torch.tensor(700))) == SLOWEST
    for _ in range(700):
        observation.closed_form_step(torch.zeros(4, 3).double(), torch.ones(4, 3).double())
    observation.closed_form_step(torch.zeros(4, 3).double(), 2 * torch.ones(4, 3).double())
    assert float(observation.scale**2) == pytest.approx(1 + 3 * SLOWEST)


def test_residuals_are_those_of_the_signal() -> None:
    observation = Gaussian(1.0, torch.tanh, learn_scale="closed form")
    output = torch.randn(50, 4)
    observation.closed_form_step(output, output.tanh() + 0.25)
    torch.testing.assert_close(observation.scale, torch.tensor(0.25))


def test_masked_cells_do_not_matter() -> None:
    """Case 12 (dselivanov/rsparse#35): what is missing is not a residual, neither 0 nor else."""
    y, mask = torch.randn(30, 3), torch.rand(30, 3) < 0.5
    scales = []
    for value in (0.0, 1e6):
        observation = Masked(Gaussian(torch.ones(3), learn_scale="closed form"))
        observation.closed_form_step(torch.zeros(30, 3), torch.where(mask, y, value), mask)
        scales.append(observation.base.scale)  # type: ignore[union-attr]
    assert torch.equal(scales[0], scales[1])
    expected = [float((y[mask[:, i], i] ** 2).mean()) ** 0.5 for i in range(3)]
    torch.testing.assert_close(scales[0], torch.tensor(expected))


def test_a_column_without_a_cell_keeps_its_scale() -> None:
    """Case 13."""
    observation = Gaussian(torch.tensor([2.0, 3.0]), learn_scale="closed form")
    mask = torch.tensor([True, False]).expand(5, 2)
    observation.closed_form_step(torch.zeros(5, 2), torch.ones(5, 2), mask)
    torch.testing.assert_close(observation.scale, torch.tensor([1.0, 3.0]))


def test_missing_is_not_zero() -> None:
    """Case 12: w = (1, 1), y = (3, missing) gives z mean 1.5; as a zero it would be 1."""
    linear = linear_gaussian(torch.ones(2, 1))
    mean, covariance = linear.posterior(
        torch.tensor([[3.0, torch.nan]]), torch.tensor([[True, False]])
    )
    assert float(mean) == pytest.approx(1.5)
    assert float(covariance) == pytest.approx(0.5)
    z = torch.tensor([[1.5]], requires_grad=True)
    joint = linear.model.log_joint(torch.tensor([[3.0, torch.nan]]), z)
    (gradient,) = torch.autograd.grad(joint.sum(), z)
    assert float(gradient) == pytest.approx(0.0, abs=1e-6)


def _fit(path: Path | None, stop_after: int | None = None, seed: int = 0) -> GeneratorModel:
    torch.manual_seed(seed)
    model = GeneratorModel(
        Normal(2),
        mlp(2, (3,), (6,)),
        Masked(Gaussian(torch.full((3,), 2.0 + seed), learn_scale="closed form")),
    )
    generator = torch.Generator().manual_seed(5)
    y = torch.randn(20, 3, generator=generator)
    y[torch.rand(20, 3, generator=generator) < 0.2] = torch.nan
    abp = AlternatingBackProp(model, inference_steps=2, batch_size=8)
    steps, original = 0, abp.step

    def interrupted(*args: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == stop_after:
            signal.raise_signal(signal.SIGINT)
        return original(*args)

    abp.step = interrupted  # type: ignore[method-assign]
    abp.fit(y, epochs=4, seed=3, checkpoint=path, progress=False)
    return model


def test_killed_inside_an_epoch_and_resumed_gives_the_same_bits(tmp_path: Path) -> None:
    whole = _fit(None).state_dict()
    path = tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        _fit(path, stop_after=8)
    resumed = _fit(path, seed=99).state_dict()
    assert set(resumed) == set(whole)
    assert {"observation.base.log_scale", "observation.base.num_batches"} <= set(whole)
    assert int(whole["observation.base.num_batches"]) == 12
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
