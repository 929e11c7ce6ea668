"""Faces that are known by random projections only (the paper's Experiment 6).

Of each face inner products with normal random images are known, one for every twelve of its cells,
and nothing else, of training faces and of new ones. Mean face, spectrum, components and a generator
whose pixels move are learned from the projections of the training faces; then training faces (T1)
and test faces (T3) are reconstructed, and new ones drawn (T2). What the generator leaves of the
projections is explained by the Wiener estimate under the spectrum of what it leaves. Beside it: the
mean face, the pseudo-inverse, the LASSO in a cosine basis (its coefficients weighted by the
spectrum or not), probabilistic PCA by EM, the Wiener estimate, and the linear factors with the
Wiener estimate at which learning begins; for comparison spectrum and factors of the complete faces.
A tenth of the projections of some training faces are kept from all methods: settings are chosen on
them, and from them come the sizes of intervals.

    python examples/06_indirect.py [--rows 20 60 100] [--side 64] [--smoke] [--paper]

What a row (one d) has is not made again; factors are kept when it is stopped. With ``--matrices 1``
all faces are projected by the same images.
"""

import argparse
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from common.options import experiment_parser
from common.rows import Rows
from common.seeds import over_seeds
from faces.data import load_images
from projections.generator import PAPER, RECIPE
from projections.methods import (
    Evaluated,
    Setting,
    evaluated,
    reachable,
    with_rank,
    without_rank,
)
from projections.problem import problem
from projections.report import new_faces, picture, table, table_of_new_faces

SIZES = 1000, 80, 100, 200
"""Training faces, those of which projections are held out, those scored, new faces."""

SHOWN = "LASSO", "Wiener", "generator, Wiener"


def parsed() -> argparse.Namespace:
    """Return the options."""
    parser: argparse.ArgumentParser = experiment_parser(__doc__, "06_indirect")
    add = parser.add_argument
    add("--rows", type=int, nargs="+", default=[20, 60, 100], help="numbers of latents")
    add("--side", type=int, default=32, help="of the images, in pixels")
    add("--projections", type=int, help="of each face; by default a twelfth of its cells")
    add("--matrices", type=int, default=12, help="faces take turns with them")
    add("--epochs", type=int, help="other than the recipe's")
    add("--device", default="cpu")
    return parser.parse_args()


def main() -> None:
    """Make the rows that are asked for, with the table and a picture of each."""
    options = parsed()
    recipe, sizes = PAPER if options.paper else RECIPE, SIZES
    if options.paper:
        options.side = 64
    if options.smoke:
        options.rows, options.side, options.matrices, sizes = [4], 8, 4, (60, 8, 8, 8)
        options.output = Path(tempfile.mkdtemp())
        recipe = replace(recipe, epochs=2, warmup=5, draws=5)
    recipe = replace(recipe, epochs=options.epochs or recipe.epochs)
    images = load_images(options.data, options.side, sizes[0] + sizes[3] if options.smoke else None)
    # 1,000 at 64x64
    projections = options.projections or round(1000 * (options.side / 64) ** 2)
    faces = problem(images, sizes, projections, options.matrices, options.seed)
    others: dict[str, Evaluated] = {}
    rows = Rows(options.output / "06_indirect.json")
    for rank in options.rows:
        setting = Setting(
            rank, options.side, projections, options.matrices, options.device, options.seed, recipe
        )
        settings = {**asdict(setting), "faces": list(sizes)}
        kept = rows.find(settings) or {"methods": {}}
        free = without_rank(faces, setting, options.output)
        methods = {**free, **with_rank(faces, setting, options.output)}
        made: dict[str, Evaluated] = {}
        for name, make in methods.items():
            if name not in kept["methods"]:
                made[name] = others.get(name) or evaluated(faces, name, make, options.seed)
        others |= {name: made[name] for name in free if name in made}
        if made:
            rows.rows = [row for row in rows.rows if row is not kept]
            found = {name: each.scores for name, each in made.items()} | kept["methods"]
            result = {"methods": {name: found[name] for name in methods}}
            rows.add(settings, result | {"training faces": reachable(faces)})
        if all(name in made for name in SHOWN):
            path = options.output / f"06_indirect-{setting.name}.png"
            shown = {name: made[name].parts["new"] for name in SHOWN}
            picture(path, faces.faces[faces.parts()["new"]], shown)
            new_faces(path.with_stem(f"{path.stem}-new"), faces, made)
        means = over_seeds(rows.rows)
        tables = f"{table(means)}\n\n{table_of_new_faces(means)}\n"
        print(tables, flush=True)
        (options.output / "06_indirect.md").write_text(tables)


if __name__ == "__main__":
    main()
