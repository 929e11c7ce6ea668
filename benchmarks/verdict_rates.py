"""How often the verdict on draws warns of well-mixed chains, and how often it names planted faults.

    python -m benchmarks.verdict_rates [--smoke]

A run is some examples with four chains each. *Exact* draws are independent or autoregressive
numbers of a known distribution, two latents and their energy; *sampled* ones come from
``sample_posterior`` on a generator of two latents with hidden cells, judged by its decoded signals:
a linear one, whose posteriors are normal, where chains mix well, a network for faults. Examples are
independent of each other, so that one call of many examples is cut into many runs. What the scripts
of ``examples/`` sample is repeated as they do it (``runs_of_examples.py``). Writes
``benchmarks/results/verdict_rates.json`` and the tables of ``docs/verdict.md``.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from scipy.special import betaincinv
from torch import Tensor

from explainaway.inference import HMC, MALA, Posterior, SamplingWarning, sample_posterior, summarise
from explainaway.inference.kernels import Kernel
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, mlp

from .runs_of_examples import Warned, warned_of_examples

ROOT = Path(__file__).resolve().parents[1]
CHAINS = 4
FAILED = 50
LATENTS = 2


class Rate(NamedTuple):
    """Runs of one kind, and how many of them warned or named the planted example."""

    what: str
    draws: int
    examples: int
    runs: int
    hits: int

    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of Clopper and Pearson."""
        k, n = self.hits, self.runs
        low = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, 0.025))
        high = 1.0 if k == n else float(betaincinv(k + 1, n - k, 0.975))
        return low, high


def autoregressive(rho: float, draws: int, examples: int, generator: torch.Generator) -> Tensor:
    """Return standard normal chains (chains, draws, examples, latents) of autocorrelation rho."""
    noise = torch.randn(CHAINS, draws, examples, LATENTS, generator=generator)
    for t in range(1, draws if rho else 0):
        noise[:, t] = rho * noise[:, t - 1] + (1 - rho**2) ** 0.5 * noise[:, t]
    return noise


SHAPES: dict[str, Callable[[Tensor], Tensor]] = {
    "normal": lambda z: z,
    "log-normal": torch.exp,
    "cube of a normal number": lambda z: z**3,
    "two modes, visited by all": lambda z: z + 6 * z.sign(),
}


def exact(
    shape: str, rho: float, draws: int, examples: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return draws and their log densities, of the normal numbers behind them."""
    z = autoregressive(rho, draws, examples, generator)
    return SHAPES[shape](z), -z.square().sum(3) / 2


def false_alarms_of_exact(smoke: bool) -> Iterator[Rate]:
    """Yield rates of well-mixed exact chains."""
    cells: list[tuple[str, float, int, int, int]] = [
        ("normal", 0.0, draws, examples, runs)
        for draws, examples, runs in (
            (5, 1, 300),
            (5, 100, 300),
            (5, 10_000, 60),
            (30, 1, 300),
            (30, 100, 300),
            (30, 10_000, 20),
            (300, 1, 300),
            (300, 100, 100),
            (300, 10_000, 2),
            (2000, 1, 300),
            (2000, 100, 30),
        )
    ]
    for shape in list(SHAPES)[1:]:
        cells += [(shape, 0.0, d, n, r) for d, n, r in ((5, 1, 300), (5, 100, 300), (300, 100, 30))]
        cells += [(shape, 0.0, 5, 10_000, 20)]
    cells += [("normal", 0.5, 300, 1, 300), ("normal", 0.5, 300, 100, 100)]
    cells += [("normal", 0.9, 2000, 1, 300), ("normal", 0.9, 2000, 100, 20)]
    for number, cell in enumerate(cells):
        yield alarms_of(*cell, seed=number, smoke=smoke)


def false_alarms_of_many(smoke: bool) -> Iterator[Rate]:
    """Yield the rate of the largest runs."""
    yield alarms_of("normal", 0.0, 2000, 10_000, 1, seed=100, smoke=smoke)


def alarms_of(
    shape: str, rho: float, draws: int, examples: int, runs: int, seed: int, smoke: bool
) -> Rate:
    """Return how often exact chains are warned of."""
    generator = torch.Generator().manual_seed(seed)
    if smoke:
        runs, examples = min(runs, 2), min(examples, 300)
    hits = sum(
        bool(summarise(*exact(shape, rho, draws, examples, generator)).problems())
        for _ in range(runs)
    )
    of = f", autocorrelation {rho}" if rho else ""
    return Rate(f"exact: {shape}{of}", draws, examples, runs, hits)


def _frozen(z: Tensor, k: int) -> None:
    z[0, :, k] = z[0, :1, k]


def _copied(z: Tensor, k: int) -> None:
    z[1, :, k] = z[0, :, k]


def _modes(z: Tensor, k: int, apart: float = 10.0) -> None:
    z[0, :, k, 0] += apart


FAULTS: dict[str, Callable[[Tensor, int], None]] = {
    "a frozen chain": _frozen,
    "a copied chain": _copied,
    "a chain in another mode, 10 standard deviations off": _modes,
    "a chain in another mode, 20 standard deviations off": lambda z, k: _modes(z, k, 20.0),
}


def faults_in_exact(smoke: bool) -> Iterator[Rate]:
    """Yield rates at which faults planted in one example of exact draws are named."""
    generator = torch.Generator().manual_seed(1)
    for name, plant in FAULTS.items():
        for draws, examples, runs in (
            (5, 1, 300),
            (5, 100, 300),
            (5, 10_000, 10),
            (30, 100, 300),
            (300, 100, 30),
            (2000, 1, 100),
        ):
            runs, hits = 2 if smoke else runs, 0
            for _ in range(runs):
                z = autoregressive(0.0, draws, examples, generator)
                k = int(torch.randint(examples, (1,), generator=generator))
                plant(z, k)
                # Of two modes of the same weight: the log density does not tell them apart.
                hits += k in summarise(z, torch.randn(z.shape[:3], generator=generator)).untrusted
            yield Rate(f"exact: {name}", draws, examples, runs, hits)


def generator_model(*hidden: int) -> GeneratorModel:
    """Return a generator of 12 cells from two latents."""
    torch.manual_seed(0)
    return GeneratorModel(
        Normal(LATENTS), mlp(LATENTS, (12,), hidden=hidden), Masked(Gaussian(0.3))
    )


def data(model: GeneratorModel, examples: int) -> Tensor:
    """Return data of the model with 30 % of the cells hidden."""
    y = model.generate(examples, seed=1, noise=True)
    hidden = torch.rand(y.shape, generator=torch.Generator().manual_seed(2)) < 0.3
    return torch.where(hidden, torch.nan, y)


def sampled(
    model: GeneratorModel, y: Tensor, kernel: Kernel[Any], draws: int, seed: int = 0
) -> Posterior:
    """Return draws without a word: they are judged in parts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)
        return sample_posterior(
            model, y, kernel=kernel, num_samples=draws, seed=seed, progress=False
        )


def part(posterior: Posterior, examples: slice, stride: int = 1, first: int = 0) -> Posterior:
    """Return a posterior of some examples and of every so many draws, from one of them on."""
    assert posterior.potential is not None
    assert posterior.continuation is not None
    stats = {
        name: value[examples] if name == "step_size" else value[:, first::stride, examples]
        for name, value in posterior.sample_stats.items()
    }
    return replace(
        posterior,
        samples={k: v[:, first::stride, examples] for k, v in posterior.samples.items()},
        sample_stats=stats,
        observed={name: value[examples] for name, value in posterior.observed.items()},
        position=posterior.position[:, first::stride, examples],
        potential=posterior.potential.rows(examples),
        continuation=replace(posterior.continuation, thinning=stride),
    )


def with_one(good: Posterior, bad: Posterior, k: int) -> Posterior:
    """Return the good posterior with the draws of one example taken from the bad one."""

    def mixed(of_good: Tensor, of_bad: Tensor) -> Tensor:
        whole = of_good.clone()
        index = (k,) if whole.dim() == 1 else (slice(None), slice(None), k)
        whole[index] = of_bad[index]
        return whole

    assert good.potential is not None
    assert bad.potential is not None
    y, other = good.potential.data.args[0].clone(), bad.potential.data.args[0]
    y[k] = other[k]
    rows = good.potential.data
    return replace(
        good,
        samples={n: mixed(v, bad.samples[n]) for n, v in good.samples.items()},
        sample_stats={n: mixed(v, bad.sample_stats[n]) for n, v in good.sample_stats.items()},
        position=mixed(good.position, bad.position),
        observed={"y": y},
        potential=good.potential.on(replace(rows, args=(y, *rows.args[1:]))),
    )


def false_alarms_of_sampled(smoke: bool) -> Iterator[Rate]:
    """Yield rates of chains that sample normal posteriors."""
    model = generator_model()
    size = 300 if smoke else 2_000
    groups, singles = (3, 3) if smoke else (size // 100, 300)
    y = data(model, size)
    for name, kernel in (("HMC", HMC()), ("MALA", MALA())):
        good = sampled(model, y, kernel, 300)
        for draws, stride in ((5, 60), (30, 10), (300, 1)):
            thinned = part(good, slice(None), stride)
            for examples, runs in ((1, singles), (100, groups), (size, 1)):
                hits = 0
                for i in range(runs):
                    some = slice(i * examples, (i + 1) * examples)
                    hits += bool(part_of(thinned, some, stride).summary().problems())
                yield Rate(f"sampled: {name}", draws, examples, runs, hits)


def part_of(thinned: Posterior, examples: slice, stride: int) -> Posterior:
    """Return some examples of draws that have been thinned already."""
    few = part(thinned, examples)
    assert few.continuation is not None
    return replace(few, continuation=replace(few.continuation, thinning=stride))


def faults_in_sampled(smoke: bool) -> Iterator[Rate]:
    """Yield rates at which faults planted in one of 100 examples are named."""
    model = generator_model(16)
    groups = 2 if smoke else 20
    y = data(model, 100 * groups)
    good = sampled(model, y, MALA(), 300)
    generator = torch.Generator().manual_seed(3)
    plan = good.continuation
    assert plan is not None
    assert plan.state is not None
    state = {**plan.state, "step_size": plan.state["step_size"] / 100}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)
        slow = replace(good, continuation=replace(plan, state=state)).extend(300, progress=False)
    outlier = y + 100 * (-1.0) ** torch.arange(12)
    stuck = sampled(model, outlier, MALA(), 300)
    again = sampled(model, outlier, MALA(), 300, seed=1)
    lp = stuck.sample_stats["lp"]
    best = torch.maximum(lp, again.sample_stats["lp"]).amax((0, 1))
    # A posterior draw of two latents lies about one nat below the mode.
    failed = best - lp.median(1).values.amin(0) > FAILED
    faults = {
        "a hundredth of the step size": (part(slow, slice(None), 1, 300), torch.ones(len(y)) > 0),
        f"an outlier, a chain of which stands {FAILED} nats too low": (stuck, failed),
    }
    print(f"of {len(y)} rows that are outliers, {int(failed.sum())} have such a chain")
    for name, (bad, some_of) in faults.items():
        for draws, stride, times in ((5, 60, 15), (30, 10, 15), (300, 1, 5)):
            runs, hits = groups * (1 if smoke else times), 0
            for run in range(runs):
                some = slice(100 * (run % groups), 100 * (run % groups + 1))
                weights = some_of[some].double()
                k = int(torch.multinomial(weights, 1, generator=generator))
                mixed = with_one(part(good, some, stride), part(bad, some, stride), k)
                hits += k in mixed.summary().untrusted
            yield Rate(f"sampled: {name}", draws, 100, runs, hits)
    runs, hits = 10 if smoke else 300, 0
    for _ in range(runs):
        chain = int(torch.randint(CHAINS, (1,), generator=generator))
        k = int(torch.randint(len(y), (1,), generator=generator))
        energy = plan.state["energy"].clone()
        energy[chain, k] -= 1.0
        stale = replace(plan, state={**plan.state, "energy": energy}).stale_energies()
        hits += [(one.example, one.chain) for one in stale] == [(k, chain)]
    yield Rate("sampled: an energy that is one nat stale", 300, len(y), runs, hits)


def pooled(rates: list[Rate], what: str) -> Rate:
    """Return rates added up."""
    return Rate(what, 0, 0, sum(r.runs for r in rates), sum(r.hits for r in rates))


def table(rates: list[Rate], last: str) -> str:
    """Return a table in markdown."""
    lines = [f"| | draws | examples | runs | {last} | 95 % interval |", "|---|---|---|---|---|---|"]
    for rate in rates:
        low, high = rate.interval()
        sizes = f"{rate.draws:,} | {rate.examples:,}" if rate.draws else " | "
        lines.append(
            f"| {rate.what} | {sizes} | {rate.runs:,} | {rate.hits / rate.runs:.1%} | "
            f"{low:.1%} to {high:.1%} |"
        )
    return "\n".join(lines)


def table_of_examples(rows: list[Warned]) -> str:
    """Return the table of the scripts' runs in markdown."""
    lines = ["| | draws | examples | runs | warn | of them unmixed |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {row.what} | {row.draws:,} | {row.examples:,} | {row.runs} | {row.hits} | "
        f"{row.unmixed if row.hits else ''} |"
        for row in rows
    ]
    runs, hits, unmixed = (sum(column) for column in list(zip(*rows, strict=True))[3:])
    return "\n".join([*lines, f"| all of them | | | {runs} | {hits} | {unmixed} |"])


MEASURED: dict[str, tuple[str, Callable[[bool], Iterator[Rate | Warned]]]] = {
    "faults in exact": ("faults", faults_in_exact),
    "faults in sampled": ("faults", faults_in_sampled),
    "alarms of exact": ("alarms", false_alarms_of_exact),
    "alarms of sampled": ("alarms", false_alarms_of_sampled),
    "alarms of many": ("alarms", false_alarms_of_many),
    "runs of examples": ("examples", warned_of_examples),
}


def main() -> None:
    """Measure, and write the numbers and the page's tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a few runs of each kind")
    parser.add_argument("--only", choices=MEASURED, action="append", help="one part, by name")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "verdict.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "verdict_rates.json"
    parts: dict[str, list[dict[str, Any]]] = {}
    if options.only and path.is_file():
        parts = json.loads(path.read_text())
    began = time.monotonic()
    for name in options.only or MEASURED:
        parts[name] = []
        for rate in MEASURED[name][1](options.smoke):
            interval = {"interval": rate.interval()} if isinstance(rate, Rate) else {}
            parts[name].append(rate._asdict() | interval)
            print(f"{rate}, {time.monotonic() - began:.0f} s", flush=True)
        path.write_text(json.dumps(parts, indent=1) + "\n")
    if options.page.is_file():
        options.page.write_text(with_tables(options.page.read_text(), parts))


def with_tables(page: str, parts: dict[str, list[dict[str, Any]]]) -> str:
    """Return the page with its tables written anew."""
    for kind, last in (("alarms", "warn"), ("faults", "named")):
        rates = [
            Rate(*(row[field] for field in Rate._fields))
            for name, (of_kind, _) in MEASURED.items()
            if of_kind == kind
            for row in parts.get(name, ())
        ]
        if kind == "alarms" and rates:
            rates.append(pooled(rates, "all of them"))
        page = _with_table(page, kind, table(rates, last))
    if parts.get("runs of examples"):
        of_scripts = [
            Warned(*(row[field] for field in Warned._fields)) for row in parts["runs of examples"]
        ]
        page = _with_table(page, "examples", table_of_examples(of_scripts))
    return page


def _with_table(page: str, kind: str, lines: str) -> str:
    before, begin, rest = page.partition(f"<!-- {kind} -->\n")
    _, end, after = rest.partition("<!-- end -->")
    return f"{before}{begin}{lines}\n{end}{after}"


if __name__ == "__main__":
    main()
