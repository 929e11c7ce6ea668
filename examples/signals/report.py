"""Tables, pictures and sounds of what was made."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw
from scipy.io import wavfile
from torch import Tensor

from .data import RATE

SECONDS = 10
"""Of a sound that is written."""


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as a Markdown table, a column for each exemplar.

    A cell is the distance over that of the exemplar's halves, and the share that is copied; the
    least distance of each column is bold. Its head says how many iterations were made, its foot of
    how many seeds the column is the mean.

    Parameters
    ----------
    rows : sequence of mapping
        As ``Rows`` keeps them, or means of them over ``seeds``.
    """
    methods = list(rows[0]["methods"])
    lines = [
        "| distance, copied | " + " | ".join(map(_name, rows)) + " |",
        "|---" * (len(rows) + 1) + "|",
    ]
    least = [min(one["distance"] for one in _rivals(row).values()) for row in rows]
    for method in methods:
        cells = [method]
        for row, best in zip(rows, least, strict=True):
            one = row["methods"][method]
            mark = "**" if one["distance"] == best and method in _rivals(row) else ""
            cells.append(f"{mark}{one['distance']:.2f}{mark}, {100 * one['copied']:.0f} %")
        lines.append("| " + " | ".join(cells) + " |")
    seconds = [f"{row['methods']['generator']['seconds']:.0f}" for row in rows]
    lines.append("| CPU seconds of learning | " + " | ".join(seconds) + " |")
    lines.append("| seeds | " + " | ".join(str(row.get("seeds", 1)) for row in rows) + " |")
    return "\n".join(lines)


def _name(row: Mapping[str, Any]) -> str:
    """Return the exemplar's name, and how long was learned."""
    settings = row["settings"]
    return f"{settings['name']}, {settings['iterations']}"


def _rivals(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: one for name, one in row["methods"].items() if not name.startswith("halves")}


def strip(path: Path, images: Mapping[str, Tensor]) -> Path:
    """Write images (3, h, w) side by side at half their size, with their names above.

    Parameters
    ----------
    path : Path
        Of the PNG.
    images : mapping of Tensor
        In [-1, 1].
    """
    left, head, gap = 0, 18, 4
    height = max(image.shape[1] for image in images.values()) // 2
    widths = [max(image.shape[2] // 2, 112) + gap for image in images.values()]
    canvas = Image.new("RGB", (sum(widths) - gap, height + head), "white")
    draw = ImageDraw.Draw(canvas)
    for (name, image), width in zip(images.items(), widths, strict=True):
        pixels = ((image.permute(1, 2, 0).numpy() + 1) * 127.5).round().clip(0, 255)
        drawn = Image.fromarray(pixels.astype(np.uint8))
        canvas.paste(drawn.resize((drawn.width // 2, drawn.height // 2)), (left, head))
        draw.text((left, 2), name, fill="black", font_size=12)
        left += width
    canvas.quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)
    return path


def spectrograms(path: Path, sounds: Mapping[str, Tensor]) -> Path:
    """Write spectrograms of sounds (1, t), one under the other, with their scales.

    Parameters
    ----------
    path : Path
        Of the PNG.
    sounds : mapping of Tensor
        By name.
    """
    figure = Figure(figsize=(9, 1.35 * len(sounds)), layout="compressed")
    axes = figure.subplots(len(sounds), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axis, (name, sound) in zip(axes, sounds.items(), strict=True):
        shown = axis.specgram(
            sound[0].numpy() + 1e-6,
            NFFT=512,
            noverlap=256,
            Fs=RATE,
            vmin=-110,
            vmax=-40,
            cmap="magma",
        )[3]
        axis.set_title(name, fontsize=8, loc="left", pad=2)
        axis.tick_params(labelsize=7)
    axes[0].set_xlim(0, SECONDS)
    axes[-1].set_xlabel("seconds", fontsize=8)
    figure.supylabel("hertz", fontsize=8)
    figure.colorbar(shown, ax=axes, label="decibels", shrink=0.6)
    figure.savefig(path, dpi=90)
    with Image.open(path) as picture:
        reduced = picture.convert("RGB").quantize(64)
    reduced.save(path, optimize=True)
    return path


def write_sound(path: Path, sound: Tensor) -> Path:
    """Write ten seconds of a sound (1, t) as 16 bit WAV, its loudest sample at 0.9."""
    samples = sound[0, : SECONDS * RATE].numpy()
    wavfile.write(path, RATE, (samples / abs(samples).max() * 0.9 * 32767).astype(np.int16))
    return path
