"""Pyro's own NUTS on the same model, all examples as one posterior."""

import torch
from pyro.infer import NUTS
from torch import Tensor

from explainaway.inference import HMC, MALA

from .cases import Case, mlp_case
from .effective import Sampler, effective_ratios, timed, warmed_up
from .table import Row

SECTION = "Effective draws a second, against pyro.infer.MCMC"
PAIRS = 9
CHAINS = 4


def rows(smoke: bool) -> list[Row]:
    """Sample 100 examples by both, and compare ESS a second of the draws after warmup.

    Pyro's 9 times 10 draws are about the fewest from which the estimate of its ESS is about that of
    longer chains: it was .82 a draw from 25, .61 from 100 as from 150.
    """
    case = mlp_case(n=4 if smoke else 100)
    ours = {
        "HMC()": _ours(case, HMC(), False, smoke, 50),
        **(
            {}
            if smoke
            else {
                "HMC() compiled": _ours(case, HMC(), True, smoke, 50),
                "MALA(mass='auto') compiled": _ours(case, MALA(mass="auto"), True, smoke, 250),
            }
        ),
    }
    theirs = pyro_sampler(case, *((5, 5) if smoke else (100, 10)))
    ratios = effective_ratios(theirs, ours, 3 if smoke else PAIRS)
    return [
        Row(SECTION, case.name, f"{name} / Pyro's NUTS", ratio, 100.0, larger_is_better=True)
        for name, ratio in ratios.items()
    ]


def _ours(case: Case, kernel: HMC | MALA, compile: bool, smoke: bool, num_draws: int) -> Sampler:
    return warmed_up(case, kernel, compile, CHAINS, 20 if smoke else 300, num_draws)


def pyro_sampler(case: Case, warmup_steps: int, num_draws: int) -> Sampler:
    """Return Pyro's NUTS with its defaults, one chain of all examples.

    Its steps are called as ``MCMC`` calls them, which can not go on after a run.
    """
    torch.manual_seed(0)
    kernel = NUTS(case.model(), jit_compile=False)
    kernel.setup(warmup_steps, case.y)
    latents = kernel.initial_params
    for _ in range(warmup_steps):
        latents = kernel.sample(latents)

    def draw() -> Tensor:
        nonlocal latents
        positions = []
        for _ in range(num_draws):
            latents = kernel.sample(latents)
            positions.append(latents["z"])
        return torch.stack(positions)[None]

    return timed(draw)
