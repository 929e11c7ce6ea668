"""Scikit-learn's examples of imputation with one line changed: the imputer.

Five places where scikit-learn shows ``IterativeImputer`` or the pieces around it, done once as they
are and once with ``GeneratorImputer(random_state=0)`` in its place:

- the gallery's *imputing missing values before building an estimator* and *variants of
  IterativeImputer* (on the diabetes table alone: the California houses would be downloaded);
- the user guide's two columns of which one is twice the other, with the docstring's three rows, and
  the same with more rows;
- the user guide's tree on irises with indicators of gaps (there with ``SimpleImputer``);
- multiple imputation with Rubin's rules (diabetes; the original's Boston houses are withdrawn).

    python examples/imputing_as_sklearn.py [--seeds 3] [--examples missing-values ...] [--smoke]

A seed is other gaps. Rows that are in the table are not made again; seconds are of the CPU.
"""

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from common.folders import ROOT
from common.rows import Rows
from imputing import multiple, regressions, snippets
from imputing.report import picture, tables
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, SimpleImputer

from explainaway.tables import GeneratorImputer

EXAMPLES = ("missing-values", "variants", "twice", "irises", "multiple")
BOTH = ("IterativeImputer", regressions.OURS)
Job = tuple[str, Callable[[], dict[str, Any]]]


def jobs(example: str, seed: int, smoke: bool) -> Iterator[Job]:
    """Yield the imputers of an example, by name, with what measures them."""
    few: dict[str, Any] = {"epochs": 3, "num_draws": 8} if smoke else {}

    def ours() -> Any:
        return GeneratorImputer(random_state=0, **few)

    def theirs() -> Any:
        return IterativeImputer(random_state=0)

    if example in ("missing-values", "variants"):
        each = {"missing-values": regressions.MISSING_VALUES, "variants": regressions.VARIANTS}
        setting = each[example]
        imputers = {**setting.imputers, regressions.OURS: ours}
        if smoke:
            setting = setting._replace(rows=60, folds=2)
            imputers = {name: imputers[name] for name in ("mean", *BOTH)}
        for name, make in imputers.items():
            yield name, partial(regressions.scored, setting, seed, make)
        return
    both = dict(zip(BOTH, (theirs, ours), strict=True))
    if example == "twice":
        if seed == 0:
            for name, make in both.items():
                yield name, partial(snippets.few_rows, make)
        for name, make in both.items():
            yield f"{name}, 200 rows", partial(snippets.many_rows, make, seed)
    if example == "irises":
        for name, make in {"mean": SimpleImputer, **both}.items():
            yield name, partial(snippets.irises, make, seed, 1 if smoke else 4)
    if example == "multiple":
        table = multiple.standardised().iloc[: 80 if smoke else None]
        ways: dict[str, multiple.Fill] = {
            "IterativeImputer": partial(multiple.chained, max_iter=2 if smoke else 20),
            "GeneratorImputer": partial(multiple.ours, **few),
        }
        if not smoke:
            ways["GeneratorImputer, fixed weights"] = partial(multiple.ours, proper=False)
        for name, fill in ways.items():
            yield name, partial(multiple.pooled, fill, table, 0.75, seed)


def timed(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what is measured, and the CPU seconds that it took."""
    start = time.process_time()
    return {**measure(), "seconds": time.process_time() - start}


def main() -> None:
    """Make the rows that are missing, the tables and the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--seeds", type=int, default=3)
    add("--examples", nargs="+", choices=EXAMPLES, default=EXAMPLES)
    add("--smoke", action="store_true", help="seconds, on some rows")
    add("--output", type=Path, default=ROOT / "examples" / "results")
    options = parser.parse_args()
    if options.smoke:
        options.output, options.seeds = Path(tempfile.mkdtemp()), 1
        options.examples = ("missing-values", "twice", "irises", "multiple")
    warnings.simplefilter("ignore", ConvergenceWarning)
    rows = Rows(options.output / "imputing_as_sklearn.json")
    for seed in range(options.seeds):
        for example in options.examples:
            for name, measure in jobs(example, seed, options.smoke):
                settings = {"example": example, "imputer": name, "seed": seed}
                if rows.find(settings) is None:
                    rows.add(settings, timed(measure))
                    print(settings, flush=True)
    text = tables(rows.rows)
    (options.output / "imputing_as_sklearn.md").write_text(text + "\n")
    picture(options.output / "imputing_as_sklearn.png", rows.rows)
    print(text)


if __name__ == "__main__":
    main()
