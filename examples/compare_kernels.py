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
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from common.folders import DATA
from kernels.measures import CHAINS, Row, draw, measured, moments, warmup_steps
from kernels.posteriors import KERNELS, Case, digits_case, face_cases, holes_case, linear_case
from kernels.report import HEAD, line, picture, table

from explainaway.inference import HMC


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
        kernel, _ = KERNELS[name]
        posterior = draw(case, kernel, warmup_steps(name, gradients), gradients, seed)
        rows.append(measured(case, name, posterior, mean, sd, energy))
        print(line(rows[-1]), flush=True)
    print(f"{case.name}: {time.monotonic() - began:.0f} s")
    return rows


def main() -> None:
    """Run the comparison and write its table and figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--only", default="", help="only posteriors whose name begins so")
    parser.add_argument("--gradients", type=int, default=4000, help="for each chain, after warmup")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=DATA)
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
