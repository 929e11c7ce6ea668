"""Our kernels and pyro.infer.NUTS draw the same posterior."""

import pyro
import pytest
import torch
from pyro.infer import MCMC, NUTS

from explainaway.inference import sample_posterior
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, mlp


@pytest.mark.slow
def test_the_default_draws_what_nuts_draws() -> None:
    """A tanh network, 8 observed cells of 12: means and variances of 4 examples, 2 latents each."""
    torch.manual_seed(0)
    model = GeneratorModel(Normal(2), mlp(2, (12,), hidden=(8,)), Masked(Gaussian(0.4, torch.tanh)))
    y = model.generate(4, seed=1, noise=True)
    y = torch.where(torch.rand(y.shape) < 0.7, y, torch.nan)
    ours = sample_posterior(model, y, num_samples=2000, seed=2, progress=False)
    pyro.set_rng_seed(3)
    nuts = MCMC(NUTS(model), num_samples=1500, warmup_steps=300, disable_progbar=True)
    nuts.run(y)
    theirs = nuts.get_samples()["z"].detach()
    ess = torch.tensor(
        [[nuts.diagnostics()["z"]["n_eff"][i, j] for j in range(2)] for i in range(4)]
    )
    z = ours.get_samples()["z"]
    sd = z.std(0)
    our_ess = torch.as_tensor(ours.summary().ess)
    # 16 comparisons within 6 standard errors of both samples; a variance's error is √2 larger and
    # its effective sample size taken as a third of the mean's.
    error = (1 / ess + 1 / our_ess).sqrt()
    assert ((z.mean(0) - theirs.mean(0)).abs() / sd < 6 * error).all()
    assert ((z.var(0) / theirs.var(0)).log().abs() < 6 * (6 * (1 / ess + 1 / our_ess)).sqrt()).all()
