"""What the verdict on draws is made on: what a user reads of them, where the model offers it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .diagnostics.statistics import Read
from .diagnostics.summary import Summary, summarise
from .potentials.potential import Potential
from .potentials.threads import one_at_a_time
from .potentials.trace import evaluation_mode

DECODED_AT_ONCE = 4096
"""Latents that are decoded at once."""

MOST_READ = 200
"""Draws of each chain, at equal distances, of which signals are decoded for the verdict."""

MOST_CELLS = 8
"""Cells of a signal that are judged, and as many sums of all cells with random signs."""


@one_at_a_time
def summary_of(
    potential: Potential | None,
    samples: Mapping[str, Tensor],
    position: Tensor,
    observed: Mapping[str, Tensor],
    stats: Mapping[str, Tensor],
    thinning: int,
) -> Summary:
    """Return diagnostics of draws; the verdict is made on what a user reads of them.

    Parameters
    ----------
    potential, samples, position, observed
        As in :func:`what_is_read`.
    stats : mapping of Tensor
        ``lp``, ``diverging`` and ``acceptance_rate``, (chains, draws, n).
    thinning : int
        Proposals for each draw.
    """
    what, read = what_is_read(potential, samples, position, observed)
    return summarise(
        position,
        stats["lp"],
        stats["diverging"],
        acceptance_rate=stats["acceptance_rate"],
        thinning=thinning,
        read=read,
        what=what,
    )


def what_is_read(
    potential: Potential | None,
    samples: Mapping[str, Tensor],
    position: Tensor,
    observed: Mapping[str, Tensor],
) -> tuple[str, Read | None]:
    """Return what a user reads of draws, its name and how it is had of some examples.

    Signals, if the model has a method ``decode(latents)``, or ``decode(latents, context)`` where it
    was given a context, that keeps leading dimensions; otherwise the constrained latents; nothing
    if they are the positions themselves.

    Parameters
    ----------
    potential : Potential or None
        Of all n examples.
    samples : mapping of Tensor
        Constrained latents by site name, (chains, draws, n, ...).
    position : Tensor, (chains, draws, n, d)
        The same unconstrained.
    observed : mapping of Tensor
        Data by site name, NaN where hidden.
    """
    if potential is not None and len(samples) == 1:
        read = _signals(
            potential, next(iter(samples.values())), next(iter(observed.values()), None)
        )
        if read is not None:
            return "signals", read
    flat = [value.flatten(3) if value.dim() > 3 else value[..., None] for value in samples.values()]
    if sum(value.shape[3] for value in flat) == position.shape[3]:
        first = slice(0, 1)
        if torch.equal(torch.cat([v[:, :, first] for v in flat], 3), position[:, :, first]):
            return "latents", None
    return "constrained latents", lambda some: torch.cat([v[:, :, some] for v in flat], 3)


def _signals(potential: Potential, latents: Tensor, observed: Tensor | None) -> Read | None:
    model: Any = potential.model
    if not callable(getattr(model, "decode", None)):
        return None
    chains, draws, n = latents.shape[:3]
    chosen = latents[:, :: -(-draws // MOST_READ)]
    data = potential.data
    given = dict(zip(("y", "mask", "context"), data.args, strict=False)) | dict(data.kwargs)
    has_context = given.get("context") is not None

    def decoded(some: slice, few: Tensor) -> Tensor:
        more: tuple[Any, ...] = ()
        if has_context:
            rows = data.select(some)
            of_rows = dict(zip(("y", "mask", "context"), rows.args, strict=False))
            more = ((of_rows | dict(rows.kwargs))["context"],)
        with torch.no_grad(), evaluation_mode(model):
            signal: Tensor = model.decode(few, *more)
        return signal

    try:
        # Anybody's model may have a method of this name; draws must not be lost for it.
        first = decoded(slice(0, 1), chosen[:, :1, :1])
        shape = first.shape[3:]
        usable = first.shape[:3] == (chains, 1, 1) and first.is_floating_point() and first.numel()
    except Exception:
        return None
    if not usable:
        return None
    num_cells = shape.numel()
    hidden = torch.zeros(n, num_cells, dtype=torch.bool)
    if observed is not None and observed.shape[1:] == shape:
        hidden = observed.isnan().reshape(n, num_cells).cpu()
    generator = torch.Generator().manual_seed(0)
    signs = 2.0 * torch.randint(2, (num_cells, MOST_CELLS), generator=generator) - 1

    def read(some: slice) -> Tensor:
        few = chosen[:, :, some]
        size = max(1, DECODED_AT_ONCE // (chains * few.shape[2]))
        found = []
        for block in few.split(size, 1):
            cells = decoded(some, block).flatten(3) if shape else decoded(some, block)[..., None]
            cells = cells.cpu()
            if num_cells > 2 * MOST_CELLS:
                index = _spread(hidden[some]).expand(*cells.shape[:2], -1, -1)
                cells = torch.cat([cells.gather(3, index), cells @ signs.to(cells.dtype)], 3)
            found.append(cells)
        return torch.cat(found, 1)

    return read


def _spread(hidden: Tensor) -> Tensor:
    """Return cells at equal distances, (n, k), hidden ones where there are enough: (n, cells)."""
    order = hidden.logical_not().long().argsort(dim=1, stable=True)
    available = hidden.sum(1)
    available = torch.where(available < MOST_CELLS, hidden.shape[1], available)
    place = torch.arange(MOST_CELLS) * available[:, None] // MOST_CELLS
    chosen: Tensor = order.gather(1, place)
    return chosen
