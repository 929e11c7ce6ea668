"""Textures of twice the side, from a generator learned from one image (the paper's Experiment 1).

A deconvolution network without a fully connected layer is learned from one image of 224x224 pixels,
and makes one of 448x448 from a latent map of twice the side: drawn from the prior, or quilted of
blocks of the exemplar's. A filter, and noise as the observation adds it, then give it the
exemplar's spectrum. Beside it: image quilting, random crops, and normal noise with its spectrum and
colours.

    python examples/01_textures.py [--rows gravel leaves] [--smoke] [--paper] [--device cuda]

Scores are distances of joint filter statistics over those of the exemplar's halves from each other,
and what share of patches is copied. A row (one texture) that is stopped goes on; one that is in the
table is not made again; the table has means over seeds, pictures are of seed 0. ``--paper`` has
the paper's settings.
"""

import argparse
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import torch
from common.options import experiment_parser
from common.rows import Rows
from common.seeds import over_seeds
from signals.data import made_up_texture, texture
from signals.generator import Recipe, learn
from signals.report import strip, table
from signals.synthesis import made_by
from signals.texture_scores import TextureScores
from torch import Tensor

from explainaway.models import texture_deconvnet
from explainaway.resampling import phase_noise, quilted

NAMES = ["leaves", "gravel", "water", "pebbles", "bark", "flowers"]
NAMES += ["cracked_earth", "weave", "brick", "fabric"]
RECIPE = Recipe(
    width=16,
    latent_channels=4,
    num_layers=4,
    noise=0.3,
    iterations=1500,
    steps=3,
    rate=2e-3,
    batch_norm=True,
    learn_prior=True,
)
PAPER = Recipe(
    width=64,
    latent_channels=1,
    num_layers=5,
    noise=0.3,
    iterations=3000,
    steps=10,
    rate=1e-3,
    batch_norm=True,
    learn_prior=False,
)


def parsed() -> argparse.Namespace:
    """Return the options."""
    parser: argparse.ArgumentParser = experiment_parser(__doc__, "01_textures")
    add = parser.add_argument
    add("--rows", nargs="+", default=NAMES, help="names of textures")
    add("--iterations", type=int, help="other than the recipe's")
    add("--block", type=int, default=48, help="side of a quilt's block")
    add("--device", default="cpu")
    return parser.parse_args()


def baselines(exemplar: Tensor, block: int, seed: int) -> dict[str, Tensor]:
    """Return textures of twice the side that nothing was learned for."""
    pixels, side = exemplar.double().numpy(), 2 * exemplar.shape[1]
    rng, half = torch.Generator().manual_seed(seed), exemplar.shape[1] // 2
    places = torch.randint(half + 1, (16, 2), generator=rng).tolist()
    crops = torch.stack([exemplar[:, i : i + half, j : j + half] for i, j in places])
    tiles = crops.unflatten(0, (4, 4)).permute(2, 0, 3, 1, 4).reshape(3, side, side)
    return {
        "quilting": torch.tensor(quilted(pixels, (side, side), block, seed)).float(),
        "random crops": tiles,
        "noise of its spectrum": torch.tensor(phase_noise(pixels, (side, side), seed)).float(),
    }


def main() -> None:
    """Make the rows that are asked for, with the table and a picture of each."""
    options = parsed()
    recipe = PAPER if options.paper else RECIPE
    if options.smoke:
        options.rows, options.output = ["made up"], Path(tempfile.mkdtemp())
        recipe = replace(recipe, width=4, num_layers=4, iterations=3)
    recipe = replace(recipe, iterations=options.iterations or recipe.iterations)
    rows = Rows(options.output / "01_textures.json")
    for name in options.rows:
        exemplar = made_up_texture() if options.smoke else texture(options.data, name)
        settings = {"name": name, "seed": options.seed, "block": options.block, **asdict(recipe)}
        if rows.find(settings) is None:
            kept = options.output / f"{name}-seed{options.seed}{'-paper' * options.paper}.pt"
            ours = learn(exemplar, texture_deconvnet, 2, recipe, kept, options.seed, options.device)
            made = made_by(ours, exemplar, options.seed)
            made |= baselines(exemplar, options.block, options.seed)
            made = {method: image.clamp(-1, 1) for method, image in made.items()}
            scores = TextureScores(exemplar)
            methods = {"halves of the exemplar": scores.of_halves()}
            methods |= {method: scores(image) for method, image in made.items()}
            methods["generator"] |= ours.numbers
            rows.add(settings, {"methods": methods})
            if options.seed == 0:
                made.pop("random crops")
                strip(options.output / f"01_textures-{name}.png", {"exemplar": exemplar, **made})
        text = table(over_seeds(rows.rows))
        print(text, flush=True)
        (options.output / "01_textures.md").write_text(text + "\n")


if __name__ == "__main__":
    main()
