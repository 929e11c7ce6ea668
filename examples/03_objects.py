"""Faces between faces and new faces (the paper's Experiment 3).

``grid``: two latents of eleven faces, a deconvolution network, its grid of 9 x 9 images. ``faces``:
100 latents of 1,000 faces, the way between pairs of them on great circles, and new ones, beside a
VAE and a GAN of the same decoder that learn for the same time, and PCA with normal scores. New
faces are compared with 1,000 others that nothing has learned from, by distances between features;
100 more are reconstructed by inferential back-propagation, the posterior mean of the decoded
signal, through each decoder.

    python examples/03_objects.py [--rows grid faces] [--decoder deconvnet] [--smoke] [--paper]

The decoder is a linear image whose pixels are moved, which starts at PCA (``warped``), or the
paper's network (``deconvnet``). A row that is in the table is not made again.
"""

import argparse
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from common.options import experiment_parser
from common.rows import Rows
from common.seeds import over_seeds
from faces.data import load_images, split
from faces.features import Resemblance
from faces.generator import PAPER, Recipe, reconstruct
from faces.scores import clipped, noise_of, scores
from objects.grid import between, two_latents
from objects.methods import Setting, generators
from objects.report import grid_picture, picture, table
from torch import Tensor

RECIPE = Recipe(noise=0.25, epochs=40, steps=5, batch_size=50, chains=1, warmup=100, draws=50)
PAIRS = 5


def parsed() -> argparse.Namespace:
    """Return the options."""
    parser: argparse.ArgumentParser = experiment_parser(__doc__, "03_objects")
    add = parser.add_argument
    add("--rows", nargs="+", default=["grid", "faces"], choices=["grid", "faces"])
    add("--decoder", choices=("warped", "deconvnet"), default="warped")
    add("--width", type=int, default=16, help="channels of the largest hidden map")
    add("--side", type=int, default=32, help="of the images, in pixels")
    add("--latents", type=int, default=100)
    add("--epochs", type=int, help="other than the recipe's")
    return parser.parse_args()


def row(
    images: Tensor, sizes: tuple[int, int, int], setting: Setting, folder: Path
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the results of all methods, and pictures of them."""
    faces = split(images, *sizes, setting.seed)
    made = generators(faces.train, setting, folder)
    # Those that are kept apart are what new faces are compared with; half of them scale the noise.
    reference, few = faces.held_out, faces.held_out[: len(faces.test)]
    resemblance = Resemblance(reference)
    results: dict[str, Any] = {}
    count = min(len(reference), len(faces.train))
    candidates = {name: each.model.generate(count, setting.seed) for name, each in made.items()}
    candidates["training faces"] = faces.train[:count]
    for name, new in candidates.items():
        results[name] = resemblance(new.clamp(-1, 1))
    pictures = {"training faces": faces.train[:12]}
    pictures |= {f"new: {name}": candidates[name][:12] for name in made}
    pictures["held-out faces"] = faces.test[:12]
    for name, each in made.items():
        path = folder / f"{name}.pt"
        apart, _ = reconstruct(each.model, few, setting.recipe, folder / f"few-{name}.pt", 0)
        back, seconds = reconstruct(each.model, faces.test, setting.recipe, path, 0)
        back = clipped(back)
        found = scores(faces.test, back, noise_of(few, clipped(apart)))
        results[name] |= {**found._asdict(), **each.numbers, "seconds of testing": seconds}
        pictures[f"reconstructed: {name}"] = back.mean[:12]
    latents = made["generator"].latents
    assert latents is not None
    ways = between(made["generator"].model, latents[:PAIRS], latents[PAIRS : 2 * PAIRS])
    return {"methods": results}, pictures | {"ways": ways.flatten(0, 1)}


def main() -> None:
    """Make the rows that are asked for, with the table and a picture of each."""
    options = parsed()
    recipe, sizes, epochs = RECIPE, (1000, 1000, 100), 300
    if options.paper:
        recipe, options.decoder, options.width, epochs = PAPER, "deconvnet", 64, 600
    if options.smoke:
        options.side, options.width, options.latents, epochs = 16, 4, 5, 5
        recipe, sizes = replace(recipe, epochs=2, warmup=5, draws=5), (60, 40, 12)
        options.output = Path(tempfile.mkdtemp())
    recipe = replace(recipe, epochs=options.epochs or recipe.epochs)
    images = load_images(options.data, options.side, sum(sizes) if options.smoke else None)
    rows = Rows(options.output / "03_objects.json")
    if "grid" in options.rows:
        drawn, fitted = two_latents(images[:11], options.width, epochs, options.seed, options.paper)
        grid_picture(options.output / "03_objects-grid.png", images[:11], fitted, drawn)
    if "faces" in options.rows:
        setting = Setting(
            options.latents, options.side, options.decoder, options.width, options.seed, recipe
        )
        settings = {**asdict(setting), "faces": list(sizes)}
        if rows.find(settings) is None:
            folder = options.output / setting.name
            folder.mkdir(exist_ok=True)
            results, pictures = row(images, sizes, setting, folder)
            rows.add(settings, results)
            picture(options.output / f"03_objects-{setting.decoder}.png", pictures)
        made = table(over_seeds(rows.rows))
        print(made, flush=True)
        (options.output / "03_objects.md").write_text(made + "\n")


if __name__ == "__main__":
    main()
