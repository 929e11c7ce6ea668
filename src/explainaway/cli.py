"""The console script ``explainaway``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command of the command line and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="explainaway", description="Generator networks learned by explaining away."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser(
        "demo",
        help="learn from digits with most of their pixels missing, and fill them in",
        description=(
            "Learn a generator network from scikit-learn's 8x8 digits with most of their pixels "
            "missing; recover them (T1), generate new digits (T2), recover test digits (T3)."
        ),
    )
    demo.add_argument(
        "--observation",
        choices=("censored", "gaussian", "bernoulli"),
        default="censored",
        help="Gaussian noise with black and white pixels censored, around a tanh, or yes/no pixels",
    )
    demo.add_argument("--kernel", choices=("hmc", "mala", "langevin"), default="hmc")
    demo.add_argument("--missing", type=float, default=0.7, help="share of hidden pixels")
    demo.add_argument("--epochs", type=int, default=None, help="passes through the data")
    demo.add_argument("--seed", type=int, default=0)
    demo.add_argument("--output", type=Path, default=Path("demo"), help="folder for the results")
    demo.add_argument("--smoke", action="store_true", help="seconds instead of minutes")
    demo.add_argument("--no-progress", action="store_true", help="no progress bars")
    given = parser.parse_args(arguments)
    # Imported late: `explainaway --help` need not load torch.
    from .demo import DemoSettings, run_demo

    try:
        settings = DemoSettings.of(
            observation=given.observation,
            kernel=given.kernel,
            missing=given.missing,
            epochs=given.epochs,
            seed=given.seed,
            output=given.output,
            smoke=given.smoke,
            progress=not given.no_progress,
        )
        run_demo(settings)
    except (ValueError, FileNotFoundError) as error:
        print(f"explainaway: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        print(f"\nexplainaway: {interrupt or 'stopped'}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
