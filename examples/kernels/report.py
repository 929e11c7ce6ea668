"""Text, table and figure of the rows."""

from pathlib import Path

import matplotlib

from .measures import Row

matplotlib.use("Agg")
import matplotlib.pyplot as plt

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
