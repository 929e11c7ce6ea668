"""Faces with hidden pixels, filled by a generator that was learned from them (Experiment 5).

3x3 blocks hide 50, 70 or 90 % of the pixels of every face (P.5, P.7, P.9), or a square of 20x20
or 30x30 pixels does (M20, M30). A linear generator, whose latents change over the image, with noise
that is correlated between neighbours, is learned from the incomplete training faces: in turn their
hidden pixels are completed, and the completed faces give the weights. Its posterior mean fills the
hidden pixels of training faces (T1) and of test faces (T3), and it makes new faces (T2). Beside it:
the mean face, linear interpolation, iterative PCA, kriging by a stationary covariance and by that
of the kriged faces at each place, probabilistic PCA with its residual kriged, and a masked VAE that
begins there. In a tenth of the training faces further holes hide pixels from all methods: on them
the settings of all are chosen, from them come all intervals.

    python examples/05_incomplete.py [--rows P.5 P.7 P.9 M20 M30] [--smoke] [--paper]

A row that is stopped goes on; one that is in the table is not made again.
"""

import argparse
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from common.options import experiment_parser
from common.rows import Rows
from common.seeds import over_seeds
from faces.completion import (
    STACKED,
    Methods,
    Setting,
    begin,
    classical,
    generators,
    masked_vae,
    papers_generator,
)
from faces.completion_report import new_faces, picture, table, table_of_new_faces
from faces.data import load_images
from faces.features import Resemblance
from faces.generator import Recipe
from faces.incomplete import Problem, problem
from faces.intervals import predicted, validated, widths
from faces.new_faces import COUNT
from faces.scores import Reconstruction

PAPER = Recipe(0.3, 600, 10, 100, chains=1, warmup=299, draws=1, as_paper=True)
SIZES, PAPER_SIZES = (1000, 100, 100, 200), (3700, 100, 300, 300)


def parsed() -> argparse.Namespace:
    """Return the options."""
    parser: argparse.ArgumentParser = experiment_parser(__doc__, "05_incomplete")
    add = parser.add_argument
    add("--rows", nargs="+", default=["M30", "P.7", "P.9", "M20", "P.5"], help="kinds of holes")
    add("--rank", type=int, default=100, help="number of latents of PCA, VAE and paper")
    add("--epochs", type=int, help="other than the paper's, with --paper")
    add("--no-vae", action="store_true", help="leave the masked VAE out")
    add("--device", default="cpu")
    return parser.parse_args()


def methods_of(faces: Problem, setting: Setting, folder: Path, with_vae: bool) -> Methods:
    """Return all methods."""
    start = begin(faces, setting, folder)
    methods = classical(faces, start)
    if setting.paper:
        return methods.joined(papers_generator(faces, setting, folder))
    other = methods.predict["probabilistic PCA, kriged"]
    methods = methods.joined(generators(faces, start, other, folder))
    if with_vae:
        seconds = methods.numbers["generator"]["seconds of learning"]
        methods = masked_vae(faces, setting, start, seconds, folder).joined(methods)
    return methods


def row(faces: Problem, setting: Setting, folder: Path, with_vae: bool) -> dict[str, Any]:
    """Return the scores of all methods, T1 to T3, and draw pictures of some."""
    began = time.process_time()
    methods = methods_of(faces, setting, folder, with_vae)
    result: dict[str, Any] = {}
    shown: dict[str, Reconstruction] = {}
    for name, method in methods.predict.items():
        held_out, result[name] = method(faces.validation), methods.numbers.get(name, {})
        half = widths(faces, predicted(faces, faces.validation, held_out, held_out))
        for called, part in (("known", faces.known), ("new", faces.new)):
            made = predicted(faces, part, method(part), held_out)
            result[name][called] = validated(faces, part, made, half)._asdict()
            if part == faces.new and name in ("kriging", STACKED):
                shown[name] = made
        print(f"  {name}: {result[name]['new']['mae']:.4f}", flush=True)
    path = folder.parent / f"05_incomplete-{setting.name}.png"
    picture(path, faces, faces.new, shown)
    drawn = {name: draw(COUNT, setting.seed) for name, draw in methods.draw.items()}
    new_faces(path.with_stem(f"{path.stem}-new"), faces, drawn)
    resemblance = Resemblance(faces.faces[faces.new])
    drawn["training faces"] = faces.faces[faces.train]
    near = {name: resemblance(made) for name, made in drawn.items()}
    minutes = (time.process_time() - began) / 60
    return {"methods": result, "drawn": near, "processor minutes": minutes}


def main() -> None:
    """Make the rows that are asked for, with the table and a picture of each."""
    options = parsed()
    paper, sizes, side = (PAPER, PAPER_SIZES, 64) if options.paper else (None, SIZES, 64)
    if options.smoke:
        options.rows, options.rank, side, sizes = ["P.5", "M30"], 5, 16, (40, 10, 10, 10)
        options.output = Path(tempfile.mkdtemp())
    if paper:
        epochs = 2 if options.smoke else options.epochs
        paper = replace(paper, epochs=epochs or paper.epochs)
    images = load_images(options.data, side, sizes[0] + sizes[3] if options.smoke else None)
    rows = Rows(options.output / "05_incomplete.json")
    for kind in options.rows:
        width = 64 if options.paper else 16
        setting = Setting(kind, options.rank, side, width, options.device, options.seed, paper)
        settings = {**asdict(setting), "faces": list(sizes)}
        if rows.find(settings) is None:
            faces = problem(images, kind, sizes, options.seed, standardised=not paper)
            folder = options.output / setting.name
            folder.mkdir(exist_ok=True)
            rows.add(settings, row(faces, setting, folder, not options.no_vae))
        means = over_seeds(rows.rows)
        tables = f"{table(means)}\n\n{table_of_new_faces(means)}\n"
        print(tables, flush=True)
        (options.output / "05_incomplete.md").write_text(tables)


if __name__ == "__main__":
    main()
