"""Held-out faces through generators of d latents, beside PCA and a VAE (the paper's Experiment 7).

A generator is learned from faces, and others are reconstructed: the posterior mean of the decoded
signal over several chains. The decoder moves the pixels of a linear image (``warped``; it starts at
PCA) or is the paper's deconvolution network (``deconvnet``). Beside it: PCA of as many components,
PCA of the faces and their mirror images, by projection and by least absolute error, and a VAE of
the same decoder, of the same start, that learns for the same time. Fifty faces of the training set
are kept apart: on them the noise of the reconstruction is chosen, and from them comes the noise of
each method's intervals.

    python examples/07_evaluation.py [--rows 20 60 100 200] [--smoke] [--paper] [--device cuda]

A row (one d) that is stopped goes on; one that is in the table is not made again. ``--paper`` has
the paper's settings, and says after each sweep what it has cost.
"""

import argparse
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from common.options import experiment_parser
from common.rows import Rows
from common.seeds import over_seeds
from faces.data import Faces, load_images, split
from faces.generator import PAPER, RECIPE
from faces.methods import Setting, generator, pca, vae
from faces.report import picture, table


def parsed() -> argparse.Namespace:
    """Return the options."""
    parser: argparse.ArgumentParser = experiment_parser(__doc__, "07_evaluation")
    add = parser.add_argument
    add("--rows", type=int, nargs="+", default=[20, 60, 100, 200], help="numbers of latents")
    add("--decoder", choices=("warped", "deconvnet"), default="warped")
    add("--width", type=int, default=32, help="channels of the largest hidden map")
    add("--side", type=int, default=64, help="of the images, in pixels")
    add("--epochs", type=int, help="other than the recipe's")
    add("--device", default="cpu")
    return parser.parse_args()


def row(faces: Faces, setting: Setting, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the scores of all methods and their reconstructions, by name."""
    ours, learned = generator(faces, setting, folder)
    results = {"generator": ours, **pca(faces, setting.rank)}
    if not setting.recipe.as_paper:
        results["VAE"] = vae(faces, setting, learned, folder)
    return (
        {name: {**result.scores._asdict(), **result.numbers} for name, result in results.items()},
        {name: result.mean for name, result in results.items()},
    )


def main() -> None:
    """Make the rows that are asked for, with the table and a picture of each."""
    options = parsed()
    recipe, sizes = PAPER if options.paper else RECIPE, (950, 50, 300)
    if options.paper:
        options.decoder, options.width = "deconvnet", 64
    if options.smoke:
        options.rows, options.side, options.width, sizes = [5], 16, 4, (60, 10, 10)
        options.output = Path(tempfile.mkdtemp())
        recipe = replace(recipe, epochs=2, warmup=5, draws=5)
    recipe = replace(recipe, epochs=options.epochs or recipe.epochs)
    images = load_images(options.data, options.side, sum(sizes) if options.smoke else None)
    faces = split(images, *sizes, options.seed)
    rows = Rows(options.output / "07_evaluation.json")
    for rank in options.rows:
        setting = Setting(
            rank, options.side, options.decoder, options.width, options.device, options.seed, recipe
        )
        settings = {**asdict(setting), "faces": list(sizes)}
        if rows.find(settings) is None:
            folder = options.output / f"{setting.name}-{recipe.epochs}-epochs"
            folder.mkdir(exist_ok=True)
            methods, means = row(faces, setting, folder)
            rows.add(settings, {"methods": methods})
            shown = {name: means[name] for name in ("generator", "PCA", "VAE") if name in means}
            picture(options.output / f"07_evaluation-{setting.name}.png", faces.test, shown)
        text = table(over_seeds(rows.rows))
        print(text, flush=True)
        (options.output / "07_evaluation.md").write_text(text + "\n")


if __name__ == "__main__":
    main()
