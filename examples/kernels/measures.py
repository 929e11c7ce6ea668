"""What a kernel's draws are worth, and how far off they are."""

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from explainaway.inference import Posterior, SamplingWarning, sample_posterior
from explainaway.inference.diagnostics.convergence import rhat_and_ess

from .posteriors import KERNELS, Case

CHAINS = 4


@dataclass(frozen=True)
class Row:
    """What one kernel does on one posterior."""

    posterior: str
    kernel: str
    acceptance: float
    step_size: float
    gradients_per_draw: float
    ess_per_1000_gradients: float
    ess_per_1000_gradients_worst: float
    ess_per_second: float
    rhat_99: float
    bias: float
    sd_ratio: float
    energy: float


def draw(case: Case, kernel: Any, warmup: int, gradients: int, seed: int) -> Posterior:
    """Sample with a given number of gradients for each chain after warmup."""
    with warnings.catch_warnings():
        # Some kernels do not get there: that is what is measured.
        warnings.simplefilter("ignore", SamplingWarning)
        warnings.filterwarnings("ignore", message=".*observed in no example")
        pilot = 20
        posterior = sample_posterior(
            case.model,
            case.y,
            kernel=kernel,
            num_chains=CHAINS,
            warmup_steps=warmup,
            num_samples=pilot,
            seed=seed,
            progress=False,
        )
        more = round(pilot * gradients / posterior.num_gradients) - pilot
        return posterior.extend(max(more, 20), progress=False)


def warmup_steps(kernel: str, gradients: int) -> int:
    """Return the warmup of a kernel, by its name, before so many gradients: fewer before few."""
    return max(round(KERNELS[kernel][1] * min(gradients / 2000, 1)), 40)


def moments(case: Case, posterior: Posterior) -> tuple[Tensor, Tensor, Tensor]:
    """Return what is measured, (chains, draws, n, k), and its mean and standard deviation."""
    with torch.no_grad():
        values = torch.stack([case.measure(one) for one in posterior.position.unbind(1)], 1)
    return values, values.mean((0, 1)), values.flatten(0, 1).std(0)


def measured(
    case: Case, name: str, posterior: Posterior, mean: Tensor, sd: Tensor, energy: float
) -> Row:
    """Return a kernel's row of the table."""
    values, found_mean, found_sd = moments(case, posterior)
    rhat, ess = rhat_and_ess(values)
    _, ess_of_square = rhat_and_ess((values - mean) ** 2)
    worth = torch.minimum(ess, ess_of_square)
    gradients = CHAINS * posterior.num_gradients
    error = ((found_mean - mean) / sd).double() ** 2
    bias = (error - 1 / ess).mean()
    lp = float(posterior.sample_stats["lp"].mean())
    return Row(
        case.name,
        name,
        float(posterior.sample_stats["acceptance_rate"].nanmean()),
        float(posterior.tuning["step_size"].flatten().median()),
        posterior.num_gradients / posterior.position.shape[1],
        1000 * float(worth.median()) / gradients,
        1000 * float(worth.quantile(0.01)) / gradients,
        float(worth.median()) * worth.shape[0] / posterior.seconds,
        float(rhat.nan_to_num(nan=torch.inf).quantile(0.99)),
        float(bias.clamp(min=0).sqrt()),
        float((found_sd / sd).median()),
        lp - energy,
    )
