from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import MCMC
from torch import Tensor

from explainaway.inference import HMC, MALA, PyroKernel

from ..conftest import linear_gaussian


@pytest.mark.parametrize("kernel", [MALA(), HMC(5)], ids=repr)
def test_mcmc_draws_the_exact_posterior(kernel: Any) -> None:
    linear = linear_gaussian(torch.randn(6, 2), scale=0.5)
    y = torch.where(torch.rand(200, 6) < 0.6, torch.randn(200, 6), torch.nan)
    pyro.set_rng_seed(0)
    step_sizes: dict[str, list[Tensor]] = {"Warmup": [], "Sample": []}

    def note(own: PyroKernel, params: object, stage: str, iteration: int) -> None:
        step_sizes[stage].append(own.diagnostics()["step size"])

    pyro_kernel = PyroKernel(linear.model, kernel)
    mcmc = MCMC(pyro_kernel, 400, 300, hook_fn=note, disable_progbar=True)
    mcmc.run(y)
    z = mcmc.get_samples()["z"]
    # Frozen: an adaptation that went on would hit its target exactly and bias the draws.
    *adapting, frozen = step_sizes["Warmup"]
    assert not torch.equal(adapting[-1], adapting[-2])
    assert len(step_sizes["Sample"]) == 400
    assert all(torch.equal(step_size, frozen) for step_size in step_sizes["Sample"])
    assert z.shape == (400, 200, 2)
    mean, covariance = linear.posterior(y, ~y.isnan())
    precision = torch.linalg.cholesky(torch.linalg.inv(covariance))
    white = ((z - mean)[..., None, :] @ precision)[..., 0, :]
    # 200 independent examples: their chains' means of whitened draws average to 0 and their mean
    # square to 1; the spread between examples gives the standard error. 6 of them.
    for values, expected in ((white, 0.0), (white**2, 1.0)):
        by_example = values.mean(0)
        error = by_example.std(0) / 200**0.5
        assert ((by_example.mean(0) - expected).abs() < 6 * error).all()


def test_constrained_sites_come_back_constrained_and_seeded() -> None:
    def own(x: Tensor) -> None:
        with pyro.plate("rows", len(x)):
            rate = pyro.sample("rate", dist.Gamma(3.0, 1.0))
            pyro.sample("mix", dist.Dirichlet(torch.ones(3)))
            pyro.sample("x", dist.Poisson(rate), obs=x)

    draws = []
    for _ in range(2):
        pyro.set_rng_seed(3)
        mcmc = MCMC(PyroKernel(own, MALA()), 20, 20, disable_progbar=True)
        mcmc.run(torch.tensor([0.0, 2.0, 9.0]))
        draws.append(mcmc.get_samples())
    assert torch.equal(draws[0]["rate"], draws[1]["rate"])
    assert (draws[0]["rate"] > 0).all()
    torch.testing.assert_close(draws[0]["mix"].sum(-1), torch.ones(20, 3))
    assert set(mcmc.diagnostics()) >= {"acceptance rate", "step size", "divergences"}
