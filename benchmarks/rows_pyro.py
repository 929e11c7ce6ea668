"""Pyro's own NUTS on the same model, all examples as one posterior."""

import time
import warnings
from typing import Any

import torch
from pyro.infer import MCMC, NUTS
from torch import Tensor

from explainaway.inference import HMC, MALA, SamplingWarning, sample_posterior
from explainaway.inference.convergence import rhat_and_ess

from .cases import Case, mlp_case
from .paired import Ratio
from .table import Row

SECTION = "Effective draws a second, against pyro.infer.MCMC"


def rows(smoke: bool) -> list[Row]:
    """Sample 100 examples by both, and compare ESS a second of the draws after warmup."""
    case = mlp_case(n=4 if smoke else 100)
    theirs = pyro_rate(case, *((5, 10) if smoke else (100, 200)))
    found = []
    for name, kernel, compile in (
        ("HMC()", HMC(), False),
        ("HMC() compiled", HMC(), True),
        ("MALA(mass='auto') compiled", MALA(mass="auto"), True),
    ):
        if smoke and compile:
            continue
        ratio = our_rate(case, kernel, compile, 20 if smoke else 1000) / theirs
        found.append(
            Row(
                SECTION,
                case.name,
                f"{name} / Pyro's NUTS",
                Ratio(ratio, ratio, ratio, 1, 0.0, 0.0),
                100.0,
                larger_is_better=True,
            )
        )
    return found


def mean_ess(draws: Tensor) -> float:
    """Return the mean ESS over all latents of draws (chains, draws, n, d)."""
    _, ess = rhat_and_ess(draws)
    return float(ess.nan_to_num().mean())


def our_rate(case: Case, kernel: Any, compile: bool, draws: int) -> float:
    """Return effective draws of a latent a second."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)
        posterior = sample_posterior(
            case.model(),
            case.y,
            kernel=kernel,
            num_chains=4,
            warmup_steps=min(300, draws),
            num_samples=draws,
            compile=compile,
            progress=False,
        )
    return mean_ess(posterior.position) / posterior.seconds


def pyro_rate(case: Case, warmup: int, draws: int) -> float:
    """Return the same of Pyro's NUTS with its defaults, one chain of all examples."""
    model = case.model()
    torch.manual_seed(0)
    began: list[float] = []

    def note_the_first_draw(kernel: Any, samples: Any, stage: str, number: int) -> None:
        if stage.startswith("Sample") and not began:
            began.append(time.perf_counter())

    mcmc = MCMC(
        NUTS(model, jit_compile=False),
        num_samples=draws,
        warmup_steps=warmup,
        disable_progbar=True,
        hook_fn=note_the_first_draw,
    )
    mcmc.run(case.y)
    seconds = time.perf_counter() - began[0]
    # The hook is called after the first draw.
    return mean_ess(mcmc.get_samples()["z"][None, 1:]) / seconds
