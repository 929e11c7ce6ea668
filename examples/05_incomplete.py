"""Faces with hidden pixels, filled by a generator that was learned from them (Experiment 5).

3x3 blocks hide 50, 70 or 90 % of the pixels of every face (P.5, P.7, P.9), or a square of 20x20
or 30x30 pixels does (M20, M30). A generator is learned from the incomplete training faces: linear
in its latents, but for the places of the pixels, which move. Its posterior mean fills the hidden
pixels of training faces (T1) and of new faces (T2), and what it leaves of the observed pixels is
kriged: neighbours know what no latent does. Beside it: the mean face, linear interpolation,
iterative PCA, kriging from the mean face, probabilistic PCA with its residual kriged, where
learning starts, and a masked VAE of the same decoder, of the same start and time, kriged too. In a
tenth of the training faces further holes hide pixels from all methods: on them settings are chosen,
from them come all intervals.

    python examples/05_incomplete.py [--rows P.5 P.7 P.9 M20 M30] [--smoke] [--paper]

A row that is stopped goes on; one that is in the table is not made again.
"""

import argparse
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from common.options import experiment_parser
from common.rows import Rows
from faces.completion import (
    Predict,
    Setting,
    begin,
    classical,
    generator,
    masked_vae,
    with_kriging,
)
from faces.completion_report import picture, table
from faces.data import load_images
from faces.generator import Recipe
from faces.incomplete import Problem, problem
from faces.intervals import predicted, validated
from faces.scores import Reconstruction

RECIPE = Recipe(noise=2.0, epochs=6, steps=5, batch_size=50, chains=1, warmup=150, draws=150)
PAPER = Recipe(0.3, 600, 10, 100, chains=1, warmup=299, draws=1, as_paper=True)
SIZES, PAPER_SIZES = (1000, 100, 100, 200), (3700, 100, 300, 300)


def parsed() -> argparse.Namespace:
    """Return the options."""
    parser: argparse.ArgumentParser = experiment_parser(__doc__, "05_incomplete")
    add = parser.add_argument
    add("--rows", nargs="+", default=["M30", "P.7", "P.9", "M20", "P.5"], help="kinds of holes")
    add("--rank", type=int, default=100, help="number of latents")
    add("--epochs", type=int, help="other than the recipe's")
    add("--device", default="cpu")
    return parser.parse_args()


def predictions(
    faces: Problem, setting: Setting, folder: Path
) -> tuple[dict[str, Predict], dict[str, dict[str, Any]]]:
    """Return all methods, and what there is to say of some."""
    start = begin(faces, setting, folder)
    methods, numbers = classical(faces, start), {}
    ours = generator(faces, setting, start, folder)
    if not setting.recipe.as_paper:
        vae, epochs = masked_vae(faces, setting, start, ours.seconds, folder)
        methods["masked VAE"] = vae
        methods["masked VAE, kriged"] = with_kriging(faces, vae, start)
        numbers["masked VAE"] = {"seconds of learning": ours.seconds, "epochs": epochs}
    methods["generator"] = ours.predict
    methods["generator, kriged"] = with_kriging(faces, ours.predict, start)
    numbers["generator"] = {"seconds of learning": ours.seconds, **ours.numbers}
    return methods, numbers


def row(faces: Problem, setting: Setting, folder: Path) -> dict[str, Any]:
    """Return the scores of all methods, T1 and T2, and draw a picture of some."""
    methods, numbers = predictions(faces, setting, folder)
    result: dict[str, Any] = {}
    shown: dict[str, Reconstruction] = {}
    for name, method in methods.items():
        held_out, result[name] = method(faces.validation), numbers.get(name, {})
        for called, part in (("known", faces.known), ("new", faces.new)):
            made = predicted(faces, part, method(part), held_out)
            result[name][called] = validated(faces, part, made)._asdict()
            if part == faces.new and name in ("kriging", "generator, kriged"):
                shown[name] = made
    picture(folder.parent / f"05_incomplete-{setting.name}.png", faces, faces.new, shown)
    return result


def main() -> None:
    """Make the rows that are asked for, with the table and a picture of each."""
    options = parsed()
    recipe, sizes, side = (PAPER, PAPER_SIZES, 64) if options.paper else (RECIPE, SIZES, 64)
    if options.smoke:
        options.rows, options.rank, side, sizes = ["P.5", "M30"], 5, 16, (40, 10, 10, 10)
        options.output = Path(tempfile.mkdtemp())
        recipe = replace(recipe, epochs=2, warmup=5, draws=5)
    recipe = replace(recipe, epochs=options.epochs or recipe.epochs)
    images = load_images(options.data, side, sizes[0] + sizes[3] if options.smoke else None)
    rows = Rows(options.output / "05_incomplete.json")
    for kind in options.rows:
        width = 64 if options.paper else 16
        setting = Setting(kind, options.rank, side, width, options.device, options.seed, recipe)
        settings = {**asdict(setting), "faces": list(sizes)}
        if rows.find(settings) is None:
            faces = problem(images, kind, sizes, options.seed, not recipe.as_paper)
            folder = options.output / setting.name
            folder.mkdir(exist_ok=True)
            rows.add(settings, {"methods": row(faces, setting, folder)})
        print(table(rows.rows), flush=True)
        (options.output / "05_incomplete.md").write_text(table(rows.rows) + "\n")


if __name__ == "__main__":
    main()
