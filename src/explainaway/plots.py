"""Pictures of what was recovered and generated."""

import os
from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.floating]


def tile(images: Array, columns: int, pad: int = 1) -> Array:
    """Return images (n, h, w) or (n, h, w, 3) as one picture, ``columns`` in a row."""
    n, height, width = images.shape[:3]
    rows = -(-n // columns)
    canvas = np.full(
        (rows * (height + pad) - pad, columns * (width + pad) - pad, *images.shape[3:]), np.nan
    )
    for i, image in enumerate(images):
        top, left = (i // columns) * (height + pad), (i % columns) * (width + pad)
        canvas[top : top + height, left : left + width] = image
    return canvas


def save_panels(
    path: str | os.PathLike[str],
    panels: Mapping[str, Array],
    *,
    limits: Mapping[str, tuple[float, float]] | None = None,
    title: str = "",
    width: float = 9.0,
) -> Path:
    """Write one PNG with a row of images for each panel, its name above.

    Parameters
    ----------
    path : path
        Where to.
    panels : mapping of array
        Pictures by name, (h, w) shown in grey or (h, w, 3) in colour; NaN is shown as a hole.
    limits : mapping of (float, float), optional
        Black and white of a grey panel; by default -1 and 1.
    title : str, optional
        Above the picture.
    width : float, default 9
        In inches.

    Returns
    -------
    Path
        Of the picture.
    """
    heights = [panel.shape[0] / panel.shape[1] for panel in panels.values()]
    figure = Figure(figsize=(width, sum(heights) * width + 0.32 * len(heights) + 0.4))
    axes = figure.subplots(len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[
        :, 0
    ]
    grey = matplotlib.colormaps["gray"].with_extremes(bad="#c6d5e8")
    for axis, (name, panel) in zip(axes, panels.items(), strict=True):
        low, high = (limits or {}).get(name, (-1.0, 1.0))
        if panel.ndim == 3:
            shown = np.where(np.isnan(panel), (0.78, 0.84, 0.91), panel)
            axis.imshow(shown.clip(0, 1), interpolation="nearest")
        else:
            axis.imshow(panel, cmap=grey, vmin=low, vmax=high, interpolation="nearest")
        axis.set_title(name, fontsize=9, loc="left", pad=3)
        axis.axis("off")
    if title:
        figure.suptitle(title, fontsize=10)
    figure.tight_layout(pad=0.6)
    path = Path(path)
    figure.savefig(path, dpi=110)
    # A palette of 128 colours makes a quarter of the file, and nobody sees the difference.
    with Image.open(path) as picture:
        reduced = picture.convert("RGB").quantize(128)
    reduced.save(path, optimize=True)
    return path
