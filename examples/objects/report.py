"""Tables and pictures of faces that were made."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from faces.features import quality_cells
from torch import Tensor

from explainaway.plots import save_panels, tile


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as a Markdown table, a line for each method.

    The measures of new faces are by random features, and by principal components in parentheses. A
    row may be a mean over ``seeds``.
    """
    lines = [
        "| decoder | | MMD² x 1000 | precision | recall | density | coverage | MAE held out | "
        "RMSE | epochs | seeds |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        for name, method in row["methods"].items():
            cells = [row["settings"]["decoder"], name, *quality_cells(method)]
            for key in ("mae", "rmse"):
                cells.append(f"{method[key]:.4f}" if key in method else "")
            cells.append(f"{method['epochs']:.0f}" if "epochs" in method else "")
            cells.append(f"{row.get('seeds', 1)}")
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def picture(path: Path, images: Mapping[str, Tensor]) -> Path:
    """Write images by name, a row each; the ways between faces as a block of nine columns."""
    names = {"ways": "from face to face on great circles (generator)"}
    panels = {
        names.get(name, name): _tiled(made, 9 if name == "ways" else len(made))
        for name, made in images.items()
    }
    return save_panels(path, panels)


def grid_picture(path: Path, truth: Tensor, fitted: Tensor, grid: Tensor) -> Path:
    """Write the faces that were learned from, how they were fitted, and the grid."""
    panels = {
        "eleven faces": _tiled(truth, len(truth)),
        "as fitted": _tiled(fitted, len(fitted)),
        "all values of two latents, from -2 to 2": _tiled(grid, 9),
    }
    return save_panels(path, panels, width=5.0)


def _tiled(images: Tensor, columns: int) -> Any:
    return tile((images.permute(0, 2, 3, 1).numpy() + 1) / 2, columns, pad=2)
