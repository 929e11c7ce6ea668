"""Sounds of twice the length, from a generator learned from one (the paper's Experiment 2).

A deconvolution network without a fully connected layer is learned from 60,000 samples at 11,025 Hz,
and makes 120,000 from a latent sequence of twice the length: drawn from the prior, or joined of
blocks of the exemplar's. A filter, and noise as the observation adds it, then give it the
exemplar's spectrum. Beside it: grains of the exemplar at random places, short and long, and normal
noise with its spectrum.

    python examples/02_sounds.py [--rows rain fire] [--smoke] [--paper] [--device cuda]

Scores are distances of statistics of envelopes over those of the exemplar's halves from each other,
and what share of excerpts is copied. A row (one sound) that is stopped goes on; one that is in the
table is not made again; the table has means over seeds, sounds and spectrograms are of seed 0.
``--paper`` has the paper's settings.
"""

import argparse
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import torch
from common.options import experiment_parser
from common.rows import Rows
from common.seeds import over_seeds
from signals.data import made_up_sound, sound
from signals.generator import Recipe, learn
from signals.report import spectrograms, table, write_sound
from signals.sound_scores import SoundScores
from signals.synthesis import made_by
from torch import Tensor

from explainaway.models import sound_deconvnet
from explainaway.resampling import overlapped_grains, phase_noise

NAMES = ["fire", "applause", "rain", "bees", "waves"]
RECIPE = Recipe(
    width=32,
    latent_channels=4,
    num_layers=3,
    noise=0.3,
    iterations=500,
    steps=3,
    rate=2e-3,
    batch_norm=False,
    learn_prior=True,
)
PAPER = Recipe(
    width=64,
    latent_channels=1,
    num_layers=4,
    noise=0.1,
    iterations=3000,
    steps=10,
    rate=1e-3,
    batch_norm=True,
    learn_prior=False,
)


def parsed() -> argparse.Namespace:
    """Return the options."""
    parser: argparse.ArgumentParser = experiment_parser(__doc__, "02_sounds")
    add = parser.add_argument
    add("--rows", nargs="+", default=NAMES, help="names of sounds")
    add("--iterations", type=int, help="other than the recipe's")
    add("--grains", type=int, nargs=2, default=[256, 4096], help="lengths of grains, in samples")
    add("--device", default="cpu")
    return parser.parse_args()


def baselines(exemplar: Tensor, grains: list[int], seed: int) -> dict[str, Tensor]:
    """Return sounds of twice the length that nothing was learned for."""
    samples, length = exemplar.double().numpy(), 2 * exemplar.shape[1]
    made = {
        f"grains of {grain}": overlapped_grains(samples, length, grain, seed) for grain in grains
    }
    made["noise of its spectrum"] = phase_noise(samples, (length,), seed)
    return {name: torch.tensor(one).float() for name, one in made.items()}


def main() -> None:
    """Make the rows that are asked for, with the table, spectrograms and sounds of each."""
    options = parsed()
    recipe = PAPER if options.paper else RECIPE
    if options.smoke:
        options.rows, options.output = ["made up"], Path(tempfile.mkdtemp())
        recipe = replace(recipe, width=4, iterations=3)
    recipe = replace(recipe, iterations=options.iterations or recipe.iterations)
    rows = Rows(options.output / "02_sounds.json")
    for name in options.rows:
        exemplar = made_up_sound() if options.smoke else sound(options.data, name)
        settings = {"name": name, "seed": options.seed, "grains": options.grains, **asdict(recipe)}
        if rows.find(settings) is None:
            kept = options.output / f"{name}-seed{options.seed}{'-paper' * options.paper}.pt"
            ours = learn(exemplar, sound_deconvnet, 10, recipe, kept, options.seed, options.device)
            made = made_by(ours, exemplar, options.seed) | baselines(
                exemplar, options.grains, options.seed
            )
            scores = SoundScores(exemplar)
            methods = {"halves of the exemplar": scores.of_halves()}
            methods |= {method: scores(one) for method, one in made.items()}
            methods["generator"] |= ours.numbers
            rows.add(settings, {"methods": methods})
            if options.seed == 0:
                picture = options.output / f"02_sounds-{name}.png"
                spectrograms(picture, {"exemplar": exemplar, **made})
                for method, one in made.items():
                    called = f"{name}-{method.replace(',', '').replace(' ', '_')}"
                    write_sound(options.output / f"02_sounds-{called}.wav", one)
        text = table(over_seeds(rows.rows))
        print(text, flush=True)
        (options.output / "02_sounds.md").write_text(text + "\n")


if __name__ == "__main__":
    main()
