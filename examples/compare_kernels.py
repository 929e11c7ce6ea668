"""Which kernel when: the same posteriors through every kernel, by gradient and by second.

    python examples/compare_kernels.py [--smoke] [--only face] [--gradients 4000]

Posteriors, each of some examples with four chains:

- linear: 10 latents, 30 columns, σ = 0.1; its posterior is known exactly.
- digits: Bernoulli pixels, 70 % of them hidden, a network learned from such digits.
- face: 32x32 faces, 70 % of the pixels hidden, a deconvolution network learned from such faces, at
  σ = 0.3, 0.1 and 0.03.
- holes: 32x32 images made of white latents at four scales, 70 % of the pixels hidden, σ = 0.1;
  1,360 latents, of which the data say much about some and nothing about others. Exact, too; what is
  measured are hidden pixels, not latents.

Every kernel gets the same number of gradients after its warmup (the faces a third of it). A draw's
worth is the smaller of the effective sample sizes of a component and of its squared deviation: a
trajectory may mirror z, which makes its mean look superb while its spread never moves. Bias is the
root mean square error
of the posterior mean in posterior standard deviations, with the part that the effective sample size
explains taken out, against the exact answer or a long run.

The faces are ``faces64.npz`` with ``images`` (n, 64, 64, 3), bytes, in ``--data`` (by default
../shared/data beside the checkout); without them that posterior is left out.
"""

import argparse
import json
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from torch import Tensor, nn

from explainaway.data import digits
from explainaway.inference import (
    HMC,
    MALA,
    AlternatingBackProp,
    Langevin,
    ParallelTempering,
    Posterior,
    RiemannianMALA,
    SamplingWarning,
    sample_posterior,
)
from explainaway.inference.diagnostics.convergence import rhat_and_ess
from explainaway.models import Bernoulli, Gaussian, GeneratorModel, Masked, Normal, deconvnet, mlp

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[1]
CHAINS = 4

KERNELS: dict[str, tuple[Any, int]] = {
    "Langevin": (Langevin(), 1500),
    "MALA": (MALA(), 1500),
    "MALA, adapted mass": (MALA(mass="auto"), 1500),
    "HMC, 10 steps, unit mass": (HMC(10, mass="identity"), 300),
    "HMC, 10 steps, adapted mass": (HMC(10), 300),
    "HMC, by path length (default)": (HMC(), 300),
    "Riemannian MALA": (RiemannianMALA(), 200),
    "tempering, 6 replicas": (ParallelTempering(6, num_leapfrog=6), 300),
}


@dataclass(frozen=True)
class Case:
    """A posterior: its model, its data, what is measured and, where known, the right answer."""

    name: str
    model: GeneratorModel
    y: Tensor
    measure: Callable[[Tensor], Tensor]
    kernels: tuple[str, ...]
    mean: Tensor | None = None
    sd: Tensor | None = None
    share: float = 1.0


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


def _identity(z: Tensor) -> Tensor:
    return z


def linear_case(examples: int, seed: int) -> Case:
    """Return the linear-Gaussian posterior with its exact moments."""
    torch.manual_seed(seed)
    d, columns, scale = 10, 30, 0.1
    weight = torch.randn(columns, d) * torch.logspace(0, -1.5, d)
    network = nn.Linear(d, columns, bias=False)
    with torch.no_grad():
        network.weight.copy_(weight)
    model = GeneratorModel(Normal(d), network, Masked(Gaussian(scale)))
    z = torch.randn(examples, d)
    y = z @ weight.T + scale * torch.randn(examples, columns)
    y = torch.where(torch.rand(y.shape) < 0.5, y, torch.nan)
    mean, covariance = exact_posterior(weight, y, scale)
    sd = covariance.diagonal(dim1=1, dim2=2).sqrt()
    kernels = tuple(k for k in KERNELS if not k.startswith("tempering"))
    return Case("linear", model, y, _identity, kernels, mean, sd)


def exact_posterior(weight: Tensor, y: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Return means (n, d) and covariances (n, d, d) of z in ``y = W z + ε``, NaN not observed."""
    seen = (~y.isnan()).double()
    loadings = seen[:, :, None] * weight.double()
    precision = loadings.mT @ loadings / scale**2 + torch.eye(weight.shape[1]).double()
    covariance = torch.linalg.inv(precision)
    right = loadings.mT @ y.double().nan_to_num()[:, :, None] / scale**2
    return (covariance @ right)[:, :, 0].float(), covariance.float()


def digits_case(examples: int, seed: int, epochs: int) -> Case:
    """Return the posteriors of test digits with Bernoulli pixels under a learned network."""
    data = digits(0.7, seed, None)
    y, test = (
        torch.from_numpy(np.where(seen, images >= 0, np.nan).astype(np.float32))
        for images, seen in ((data.train, data.train_observed), (data.test, data.test_observed))
    )
    torch.manual_seed(seed)
    network = mlp(16, y.shape[1:], hidden=(128, 128), activation=nn.GELU)
    model = GeneratorModel(Normal(16), network, Masked(Bernoulli()))
    learn(model, y, epochs, 120, seed)
    return Case("digits", model, test[:examples], _identity, tuple(KERNELS))


def face_cases(folder: Path, examples: int, seed: int, epochs: int) -> list[Case]:
    """Return the posteriors of held-out faces under one learned network, at three noise levels."""
    path = folder / "faces64.npz"
    if not path.is_file():
        print(f"{path} is not there: the face posterior is left out")
        return []
    images = torch.from_numpy(np.load(path)["images"][: 600 + examples])
    faces = nn.functional.avg_pool2d(images.permute(0, 3, 1, 2).float(), 2) / 127.5 - 1
    generator = torch.Generator().manual_seed(seed)
    seen = torch.rand(len(faces), 1, 32, 32, generator=generator) > 0.7
    y = torch.where(seen, faces, torch.nan)
    torch.manual_seed(seed)
    network = deconvnet(32, (3, 32, 32), width=16, batch_norm=True)
    observation = Masked(Gaussian(0.3, torch.tanh))
    model = GeneratorModel(Normal(32), network, observation)
    learn(model, y[:600], epochs, 50, seed)
    cases = []
    for scale in (0.3, 0.1, 0.03):
        noisy = GeneratorModel(Normal(32), network, Masked(Gaussian(scale, torch.tanh)))
        kernels = tuple(k for k in KERNELS if scale < 0.3 or not k.startswith("tempering"))
        name = f"face, σ = {scale}"
        cases.append(Case(name, noisy, y[600:], _identity, kernels, share=1 / 3))
    return cases


class Scales(nn.Module):
    """White latents on grids of side 4, 8, 16 and 32, enlarged, added up and blurred: linear."""

    def __init__(self) -> None:
        super().__init__()
        self.sides = (4, 8, 16, 32)

    def forward(self, z: Tensor) -> Tensor:
        """Return images (n, 32, 32)."""
        total = z.new_zeros(z.shape[0], 1, 32, 32)
        for part, side in zip(z.split([s * s for s in self.sides], 1), self.sides, strict=True):
            grid = part.reshape(-1, 1, side, side)
            total = total + nn.functional.interpolate(
                grid * (2.0 / math.sqrt(side)), size=32, mode="bilinear", align_corners=False
            )
        return nn.functional.avg_pool2d(total, 3, 1, 1)[:, 0]


def holes_case(examples: int, seed: int) -> Case:
    """Return the stiff posterior: latents at four scales, most pixels hidden."""
    torch.manual_seed(seed)
    network, scale, d = Scales(), 0.1, 1360
    weight = network(torch.eye(d)).flatten(1).T
    z = torch.randn(examples, d)
    y = network(z) + scale * torch.randn(examples, 32, 32)
    seen = torch.rand(y.shape) > 0.7
    model = GeneratorModel(Normal(d), network, Masked(Gaussian(scale)))
    y = torch.where(seen, y, torch.nan)
    mean, covariance = exact_posterior(weight, y.flatten(1), scale)
    hidden = [torch.nonzero(~one.flatten())[:50, 0] for one in seen]
    chosen = torch.stack(hidden)

    def hidden_pixels(z: Tensor) -> Tensor:
        images: Tensor = network(z.reshape(-1, d)).reshape(*z.shape[:-1], -1)
        return images.gather(-1, chosen.expand(*z.shape[:-1], 50))

    loadings = torch.stack([weight[index] for index in hidden])
    pixel_mean = (loadings @ mean[:, :, None])[:, :, 0]
    pixel_sd = (loadings @ covariance @ loadings.mT).diagonal(dim1=1, dim2=2).sqrt()
    kernels = tuple(k for k in KERNELS if "Riemannian" not in k and "tempering" not in k)
    return Case("holes", model, y, hidden_pixels, kernels, pixel_mean, pixel_sd)


def learn(model: GeneratorModel, y: Tensor, epochs: int, batch_size: int, seed: int) -> None:
    """Learn a network from incomplete data, two chains for each example."""
    AlternatingBackProp(
        model,
        HMC(5, mass="identity"),
        inference_steps=1,
        num_chains=2,
        batch_size=batch_size,
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
        scheduler=lambda adam: torch.optim.lr_scheduler.CosineAnnealingLR(adam, epochs),
    ).fit(y, epochs=epochs, seed=seed)


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


def compare(case: Case, gradients: int, seed: int) -> list[Row]:
    """Return the rows of all kernels on one posterior."""
    began = time.monotonic()
    reference = draw(case, HMC(), 500, 5 * gradients, seed + 1)
    _, mean, sd = moments(case, reference)
    if case.mean is not None and case.sd is not None:
        mean, sd = case.mean, case.sd
    energy = float(reference.sample_stats["lp"].mean())
    rows = []
    for name in case.kernels:
        kernel, warmup = KERNELS[name]
        posterior = draw(
            case, kernel, max(round(warmup * min(gradients / 2000, 1)), 40), gradients, seed
        )
        rows.append(measured(case, name, posterior, mean, sd, energy))
        print(line(rows[-1]), flush=True)
    print(f"{case.name}: {time.monotonic() - began:.0f} s")
    return rows


HEAD = (
    f"{'':14}{'':31}{'accept':>7}{'step':>7}{'grad/draw':>10}{'ESS/1000g':>10}{'worst 1%':>9}"
    f"{'ESS/s':>8}{'r-hat99':>8}{'bias':>7}{'sd':>6}{'lp':>8}"
)


def line(row: Row) -> str:
    """Return a row as text."""
    return (
        f"{row.posterior:14}{row.kernel:31}{row.acceptance:7.2f}{row.step_size:7.3f}"
        f"{row.gradients_per_draw:10.1f}{row.ess_per_1000_gradients:10.2f}"
        f"{row.ess_per_1000_gradients_worst:9.2f}{row.ess_per_second:8.0f}{row.rhat_99:8.2f}"
        f"{row.bias:7.3f}{row.sd_ratio:6.2f}{row.energy:8.2f}"
    )


def table(rows: list[Row]) -> str:
    """Return the rows as a Markdown table."""
    head = (
        "| posterior | kernel | acceptance | gradients a draw | ESS per 1,000 gradients | "
        "worst 1 % | ESS per second | r-hat, 99 % | bias | sd ratio | lp - reference |"
    )
    lines = [head, "|" + "---|" * 11]
    for r in rows:
        lines.append(
            f"| {r.posterior} | {r.kernel} | {r.acceptance:.2f} | {r.gradients_per_draw:.1f} | "
            f"{r.ess_per_1000_gradients:.1f} | {r.ess_per_1000_gradients_worst:.1f} | "
            f"{r.ess_per_second:,.0f} | {r.rhat_99:.2f} | {r.bias:.3f} | {r.sd_ratio:.2f} | "
            f"{r.energy:.1f} |"
        )
    return "\n".join(lines) + "\n"


def picture(rows: list[Row], path: Path) -> None:
    """Write a figure: effective draws for each thousand gradients, by kernel and posterior."""
    posteriors = list(dict.fromkeys(row.posterior for row in rows))
    kernels = list(dict.fromkeys(row.kernel for row in rows))
    figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
    for number, kernel in enumerate(kernels):
        some = {r.posterior: r.ess_per_1000_gradients for r in rows if r.kernel == kernel}
        places = [posteriors.index(p) + (number - (len(kernels) - 1) / 2) * 0.1 for p in some]
        axes.bar(places, list(some.values()), width=0.09, label=kernel, color=f"C{number}")
    axes.set_yscale("log")
    axes.set_xticks(range(len(posteriors)), posteriors)
    axes.set_ylabel("effective draws per 1,000 gradients")
    axes.set_title("median over examples and components; z and its square, the smaller")
    axes.legend(fontsize=7, ncols=2)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Run the comparison and write its table and figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--only", default="", help="only posteriors whose name begins so")
    parser.add_argument("--gradients", type=int, default=4000, help="for each chain, after warmup")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--output", type=Path, help="by default examples/results beside this file")
    options = parser.parse_args()
    gradients = 200 if options.smoke else options.gradients
    epochs = 2 if options.smoke else 60
    examples = 2 if options.smoke else 20
    makers: dict[str, Callable[[], list[Case]]] = {
        "linear": lambda: [linear_case(examples, options.seed)],
        "digits": lambda: [digits_case(examples, options.seed, epochs)],
        "face": lambda: face_cases(options.data, min(examples, 4), options.seed, epochs),
        "holes": lambda: [holes_case(min(examples, 4), options.seed)],
    }
    if options.smoke:
        del makers["face"]
    print(HEAD)
    rows: list[Row] = []
    for name, make in makers.items():
        if name.startswith(options.only):
            for case in make():
                rows += compare(case, round(case.share * gradients), options.seed)
    if options.smoke and options.output is None:
        return
    output = options.output or Path(__file__).resolve().parent / "results"
    output.mkdir(parents=True, exist_ok=True)
    settings = {"gradients": gradients, "seed": options.seed, "chains": CHAINS}
    numbers = {"settings": settings, "rows": [asdict(row) for row in rows]}
    (output / "compare_kernels.json").write_text(json.dumps(numbers, indent=1) + "\n")
    (output / "compare_kernels.md").write_text(table(rows))
    picture(rows, output / "compare_kernels.png")


if __name__ == "__main__":
    main()
