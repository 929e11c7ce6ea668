"""Alternating back-propagation with a linear network reaches PPCA's closed-form optimum."""

import math

import pytest
import torch

from explainaway.inference import HMC, AlternatingBackProp
from explainaway.models import Gaussian, GeneratorModel, Normal, mlp


def _log_likelihood(y: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, var: float) -> float:
    covariance = weight @ weight.T + var * torch.eye(len(weight), dtype=weight.dtype)
    centred = y - bias
    solved = torch.linalg.solve(covariance, centred.T).T
    quadratic = float((centred * solved).sum()) / len(y)
    return -0.5 * (
        quadratic
        + float(torch.linalg.slogdet(covariance).logabsdet)
        + len(weight) * math.log(2 * math.pi)
    )


@pytest.mark.parametrize("compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_linear_generator_reaches_the_ppca_optimum(compile: bool) -> None:
    """The gap to the optimum is below .01 nats per example; at the start it is over 1.

    Tipping & Bishop (1999), eq. 8: noise variance and loadings from the sample covariance.
    """
    torch.manual_seed(0)
    n, columns, d = 400, 6, 2
    true = torch.randn(columns, d).double()
    y = torch.randn(n, d).double() @ true.T + 0.5 * torch.randn(n, columns).double() + 1
    values, vectors = torch.linalg.eigh(torch.cov(y.T, correction=0))
    noise = float(values[:-d].mean())
    best = vectors[:, -d:] * (values[-d:] - noise).sqrt()
    optimum = _log_likelihood(y, best, y.mean(0), noise)

    network = mlp(d, columns, hidden=())
    model = GeneratorModel(Normal(d), network, Gaussian(1.0, learn_scale=True)).double()

    def gap() -> float:
        layer = network[0]
        scale = float(model.observation.scale.detach())
        return optimum - _log_likelihood(y, layer.weight.detach(), layer.bias.detach(), scale**2)

    assert gap() > 1
    abp = AlternatingBackProp(
        model,
        kernel=HMC(5),
        inference_steps=1,
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-2),
        scheduler=lambda adam: torch.optim.lr_scheduler.CosineAnnealingLR(adam, 400),
        batch_size=n,
        num_chains=4,
        compile=compile,
    )
    abp.fit(y, epochs=400, seed=0, progress=False)
    # Fisher's identity with 4 draws: the last steps are small, so their noise averages out.
    assert 0 <= gap() < 0.01
