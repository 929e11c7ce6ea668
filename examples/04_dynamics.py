"""Dynamic textures with latents that move, beside linear methods (the paper's Experiment 4).

A generator of frames is learned in two stages, as in the paper (frames as independent examples,
then a first-order autoregression of their latents), or jointly with the autoregression as prior of
the whole video. It begins at a linear dynamical system (Doretto's, with its transition drawn
towards zero) and moves that system's pixels. Three tasks: the last 22 % of the frames are forecast
1 to 10 ahead from rolling origins; half of the pixels are hidden; every second frame is missing. A
fourth, ``--tasks clips``, learns a network in space and time and draws a new clip.
Beside it: the mean frame, the last one, interpolation in time, iterative PCA, linear systems with a
Kalman smoother, ridge autoregression, kriging in space and time; and kriging of what systems and
generators leave.

    python examples/04_dynamics.py [--rows flag fire] [--tasks forecast] [--smoke] [--paper]

A row is a motion and a task; one that is in the table is not made again. What linear methods need
to be told is chosen on cells of the training part; generators take it from the linear system.
"""

import argparse
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from common.options import experiment_parser
from common.rows import Rows
from common.seeds import over_seeds
from motion.data import MOTIONS, TASKS, load_motion, num_known, seen_cells
from motion.forecasting import forecast, targets
from motion.generator import Recipe
from motion.recovery import recover
from motion.report import filmstrips, holes, tables
from motion.scores import of_forecasts, of_recovery, of_synthesis
from motion.spatiotemporal import clips
from torch import Tensor

SHOWN = ("LDS (Doretto)", "LDS, shrunk + kriging", "kriging", "two-stage", "joint + kriging")


def parsed() -> argparse.Namespace:
    """Return the options."""
    parser: argparse.ArgumentParser = experiment_parser(__doc__, "04_dynamics")
    add = parser.add_argument
    add("--rows", nargs="+", default=list(MOTIONS), help="motions")
    add("--tasks", nargs="+", default=list(TASKS), choices=(*TASKS, "clips"))
    add("--side", type=int, default=32, help="of the frames, in pixels")
    add("--epochs", type=int, help="other than the recipe's")
    return parser.parse_args()


def row(
    video: Tensor, task: str, recipe: Recipe, seed: int
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the results of all methods in a task, and filmstrips."""
    began = time.process_time()
    if task == "forecast":
        outcome, target = forecast(video, recipe, seed), targets(video)
        scores = {name: of_forecasts(target, made) for name, made in outcome.made.items()}
        known = num_known(len(video))
        strips = {"the last known frames, and those that follow": video[known - 6 : known + 10]}
        middle = {name: made[0] for name, made in outcome.made.items() if name in SHOWN}
        past = video[known - 6 : known]
        strips |= {f"forecast: {name}": torch.cat([past, made]) for name, made in middle.items()}
        strips |= {f"new: {name}": made[20:36] for name, made in outcome.synthesis.items()}
    elif task == "clips":
        outcome, scores = clips(video, recipe, seed), {}
        strips = {"video": video[20:36], "fitted": outcome.made["clips"][20:36]}
        strips["new"] = outcome.synthesis["clips"][20:36]
    else:
        seen = seen_cells(video, task, seed)
        outcome = recover(video, seen, recipe, seed)
        scores = {name: of_recovery(video, seen, made) for name, made in outcome.made.items()}
        part = slice(20, 36)
        strips = {"video": video[part], "seen": holes(video, seen)[part]}
        strips |= {name: made[part] for name, made in outcome.made.items() if name in SHOWN}
    new = {name: of_synthesis(video, made) for name, made in outcome.synthesis.items()}
    minutes = {"CPU minutes": outcome.minutes, "of all": (time.process_time() - began) / 60}
    return {"methods": scores, "synthesis": new, "chosen": outcome.chosen, **minutes}, strips


def main() -> None:
    """Make the rows that are asked for, with the tables and a picture of each."""
    options = parsed()
    recipe = Recipe(40)
    if options.paper:
        recipe, options.side = Recipe(600, as_paper=True), 64
    if options.smoke:
        options.rows, options.side, recipe = ["made-up wave"], 16, Recipe(8, 6, 4)
        options.output = Path(tempfile.mkdtemp())
    recipe = replace(recipe, epochs=options.epochs or recipe.epochs)
    rows = Rows(options.output / "04_dynamics.json")
    for motion in options.rows:
        video = load_motion(options.data, motion, options.side, made_up=options.smoke)
        for task in options.tasks:
            settings = {
                "motion": motion,
                "task": task,
                "side": options.side,
                "seed": options.seed,
                "recipe": asdict(recipe),
            }
            if rows.find(settings) is None:
                results, strips = row(video, task, recipe, options.seed)
                rows.add(settings, results)
                stem = f"04_dynamics-{motion}-{task.replace(' ', '-')}.png"
                filmstrips(options.output / stem, strips)
                print(tables(rows.rows[-1:]), flush=True)
    (options.output / "04_dynamics.md").write_text(tables(over_seeds(rows.rows)) + "\n")


if __name__ == "__main__":
    main()
