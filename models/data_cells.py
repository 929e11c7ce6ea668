"""The cells of a model's data one by one: which are observed, and how probable they are."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .data_checks import as_floating
from .distributions.table_row import TableRow
from .observations import Observation
from .pieces import Context


class Estimates(NamedTuple):
    """What one draw of the latents says of the data.

    Attributes
    ----------
    signal : Tensor, (n, ...)
        As :meth:`GeneratorModel.decode` returns it.
    filled : Tensor, (n, ...), optional
        y with its hidden cells estimated given z and the observed ones, as
        :meth:`GeneratorModel.reconstruct` returns it; None where estimates are categories, of which
        there is no mean.
    """

    signal: Tensor
    filled: Tensor | None


class DataCells:
    """What a learning loop asks a model about single cells: its ``data_cells``.

    Latents are given by site name, ``{"z": (n, ...)}``, and y, mask and context as to
    :meth:`GeneratorModel.forward`.

    Parameters
    ----------
    observation : Observation
        Of the model.
    output : callable
        From latents (n, ...) and a context to the network's output.
    dtype : torch.dtype
        Of the model.
    """

    def __init__(
        self,
        observation: Observation,
        output: Callable[[Tensor, Context | None], Tensor],
        dtype: torch.dtype,
    ) -> None:
        self._observation = observation
        self._output = output
        self._dtype = dtype

    def observed(
        self, y: Tensor, mask: Tensor | None = None, context: Context | None = None
    ) -> Tensor | None:
        """Return which cells are observed, (n, ...); None where no cell can be missing."""
        try:
            hidden = torch.zeros((1, *y.shape[1:]), dtype=torch.bool, device=y.device)
            self._observation.prepare(as_floating(y[:1], self._dtype), hidden)
        except ValueError:
            return None
        known = ~y.isnan()
        return known if mask is None else known & mask

    def without(
        self,
        hidden: Tensor,
        y: Tensor,
        mask: Tensor | None = None,
        context: Context | None = None,
    ) -> dict[str, Any]:
        """Return the arguments of the model with some cells hidden, in one form for any of them.

        Parameters
        ----------
        hidden : bool Tensor, (n, ...)
            Which cells.
        """
        if mask is None and y.is_floating_point():
            y = y.masked_fill(hidden, torch.nan)
        else:
            mask = ~hidden if mask is None else mask & ~hidden
        given = {"y": y, "mask": mask, "context": context}
        return {name: value for name, value in given.items() if value is not None}

    @torch.no_grad()
    def log_density(
        self,
        cells: Tensor,
        latents: Mapping[str, Tensor],
        y: Tensor,
        mask: Tensor | None = None,
        context: Context | None = None,
    ) -> Tensor:
        """Return the log density of observed cells given the latents, in nats.

        Of noise that is independent from cell to cell, (n, ...): of each cell, 0 for all but
        ``cells``. Of correlated noise, (n,): of an example's ``cells`` together, given its other
        observed cells too.

        Parameters
        ----------
        cells : bool Tensor, (n, ...)
            Which cells; all of them are observed.
        """
        y = as_floating(y, self._dtype)
        output = self._output(latents["z"], context)
        filled, observed = self._observation.prepare(y, cells if mask is None else cells & mask)
        made: Any = self._observation.distribution(output, mask=observed, context=context)
        by_cell = cell_log_prob(made, filled)
        if by_cell is not None:
            return by_cell
        both = []
        for hidden in (torch.zeros_like(cells), cells):
            known = ~hidden if mask is None else mask & ~hidden
            filled, observed = self._observation.prepare(y, known)
            made = self._observation.distribution(output, mask=observed, context=context)
            both.append(made.log_prob(filled))
        joint: Tensor = both[0] - both[1]
        return joint

    @torch.no_grad()
    def estimates(
        self,
        latents: Mapping[str, Tensor],
        y: Tensor,
        mask: Tensor | None = None,
        context: Context | None = None,
    ) -> Estimates:
        """Return the signal and the completed data at a draw of the latents."""
        output = self._output(latents["z"], context)
        signal = self._observation.signal(output, context)
        if not self._observation.estimates_mean:
            return Estimates(signal, None)
        filled, known = self._observation.prepare(as_floating(y, self._dtype), mask)
        return Estimates(signal, self._observation.complete(output, filled, known, context))

    def hold_noise(self) -> Callable[[], None]:
        """Keep what the observation has learned as it is, and return what lets it learn again."""
        held = [p for p in self._observation.parameters() if p.requires_grad]
        for parameter in held:
            parameter.requires_grad_(False)
        self._observation.is_held = True

        def let_go() -> None:
            for parameter in held:
                parameter.requires_grad_(True)
            self._observation.is_held = False

        return let_go


def cell_log_prob(made: Any, y: Tensor) -> Tensor | None:
    """Return the log density of each cell, of y's shape; None where cells are not independent."""
    if isinstance(made, TableRow):
        values = y.split(made.widths, -1)
        parts = [cell_log_prob(p, v) for p, v in zip(made.parts, values, strict=True)]
        known = [part for part in parts if part is not None]
        return torch.cat(known, -1) if len(known) == len(parts) else None
    while isinstance(made, torch.distributions.Independent):
        made = made.base_dist
    if made.event_shape or made.batch_shape != y.shape:
        return None
    density: Tensor = made.log_prob(y)
    return density
