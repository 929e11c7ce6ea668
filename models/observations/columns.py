"""Tables whose columns are of different kinds."""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ..arguments import first_place
from ..distributions.supports import elementwise
from ..distributions.table_row import TableRow
from ..pieces import Entry, mapped
from .base import Context, Observation
from .table_layout import Group, Kind, as_kind, checked_names, laid_out


class Columns(Observation):
    """The rows of a table, each column an observation of its own kind: real, yes/no, a count.

    Given the network's output the columns are independent; what they have in common is the latent.
    What an observation learns with the network (the scale of noise, the dispersion of counts, the
    cut points of grades) is learned for each of its columns, also where it starts from one number.
    One observation given to several columns by their own names is learned for them together:
    ``noise = Gaussian(0.3, learn_scale=True); Columns({"height": noise, "weight": noise})``.

    The network's outputs lie side by side, those of the first column first: make it of
    ``output_shape((columns,))``. :meth:`signal` is laid out in the same way.

    A tensor in ``context`` of shape (n, columns) is one value for each cell, and each column is
    given its own; any other is given to all.

    Parameters
    ----------
    columns : mapping
        What the columns are, in the order of the table: the name of a column, or a tuple of names
        of several side by side, with their observation. Hidden cells are those of
        ``Masked(Columns(...))``, around the whole table.

    Raises
    ------
    TypeError
        If ``columns`` is not a mapping, a name is not a string, or a column not an observation.
    ValueError
        If there is no column, a name appears twice, a column is ``Masked``, or one observation that
        learns is given to different numbers of columns.

    Examples
    --------
    >>> from explainaway.models import Bernoulli, Columns, Gaussian, GeneratorModel
    >>> from explainaway.models import Masked, Normal, Ordinal, Poisson, mlp
    >>> patient = Columns({
    ...     ("height", "weight"): Gaussian(0.3),
    ...     "visits": Poisson(),
    ...     "smoker": Bernoulli(),
    ...     "pain": Ordinal(5),
    ... })
    >>> network = mlp(2, patient.output_shape((5,)))
    >>> model = GeneratorModel(Normal(2), network, Masked(patient))
    >>> model.generate(10, seed=0).shape
    torch.Size([10, 5])
    """

    entry = Entry(
        "p(row) = ∏ p(column | its own outputs)",
        "mixed data: Little & Rubin (2019), chapter 14",
        'Columns({"age": Gaussian(0.5), "dose": observations.StudentT(4.0), "visits": Poisson(), '
        '"smoker": Bernoulli(), "colour": Categorical(3), "pain": Ordinal(5)})',
    )

    _fill_value: Tensor

    def __init__(self, columns: Mapping[str, Kind] | Mapping[str | tuple[str, ...], Kind]) -> None:
        super().__init__()
        if not isinstance(columns, Mapping):
            raise TypeError(
                "columns must be a mapping from names to observations, such as "
                f'{{"age": Gaussian(), ("x", "y"): Bernoulli()}}, got {columns!r}'
            )
        keys = [key if isinstance(key, tuple) else (key,) for key in columns]
        self.names = checked_names(keys)
        kinds = [as_kind(names, kind) for names, kind in zip(keys, columns.values(), strict=True)]
        _let_columns_learn(keys, kinds)
        self.kinds = nn.ModuleList(kinds)
        self.groups = laid_out(keys, kinds)
        self.estimates_mean = all(kind.estimates_mean for kind in kinds)
        fill = [
            torch.as_tensor(kind.fill_value).expand(len(k))
            for k, kind in zip(keys, kinds, strict=True)
        ]
        self.register_buffer("_fill_value", torch.cat(fill), persistent=False)

    @property
    def fill_value(self) -> Tensor:  # type: ignore[override]  # one for each column
        """What stands in a hidden cell of each column, (columns,)."""
        return self._fill_value

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return how many outputs a row needs, (number,).

        Raises
        ------
        ValueError
            If ``shape`` is not (columns,).
        """
        if tuple(shape) != (len(self.names),):
            raise ValueError(
                f"Columns names the {len(self.names)} columns {list(self.names)}, so one example's "
                f"data must have shape ({len(self.names)},), got {tuple(shape)}"
            )
        return (self.groups[-1].outputs.stop,)

    def distribution(
        self, output: Tensor, *, mask: Tensor | None = None, context: Context | None = None
    ) -> dist.TorchDistribution:
        """Return the distribution of rows, event shape (columns,).

        Raises
        ------
        ValueError
            If the output is not of :meth:`output_shape`, or a column's distribution not of one
            number a cell.
        """
        parts = []
        for group, kind in self._grouped(output):
            seen = None if mask is None else mask[:, group.columns]
            part = kind.distribution(
                group.of(output), mask=seen, context=self._context(group, context)
            )
            if part.batch_shape + part.event_shape != (len(output), len(group.names)):
                raise ValueError(
                    f"column {group.label} must be of batch shape (n,) and event shape "
                    f"({len(group.names)},), got {tuple(part.batch_shape)} and "
                    f"{tuple(part.event_shape)}"
                )
            parts.append(part)
        return TableRow([group.label for group in self.groups], parts)

    def signal(self, output: Tensor, context: Context | None = None) -> Tensor:
        """Return the columns' signals side by side, of categories their probabilities."""
        signals = [
            kind.signal(group.of(output), self._context(group, context))
            for group, kind in self._grouped(output)
        ]
        return torch.cat([signal.flatten(1) for signal in signals], 1)

    def reconstruct(self, output: Tensor, context: Context | None = None) -> Tensor:
        """Return each column's estimate, (n, columns): its mean, of categories the mode."""
        return torch.cat(
            [
                kind.reconstruct(group.of(output), self._context(group, context))
                for group, kind in self._grouped(output)
            ],
            1,
        )

    def complete(
        self,
        output: Tensor,
        y: Tensor,
        mask: Tensor | None = None,
        context: Context | None = None,
    ) -> Tensor:
        """Return y with its hidden cells as each column estimates them."""
        return self._filled(lambda kind: kind.complete, output, y, mask, context)

    def impute(
        self,
        output: Tensor,
        y: Tensor,
        mask: Tensor | None = None,
        context: Context | None = None,
    ) -> Tensor:
        """Return y with its hidden cells drawn column by column."""
        return self._filled(lambda kind: kind.impute, output, y, mask, context)

    def _filled(
        self,
        fill: Callable[[Observation], Callable[..., Tensor]],
        output: Tensor,
        y: Tensor,
        mask: Tensor | None,
        context: Context | None,
    ) -> Tensor:
        """Return y with its hidden cells as each column's observation fills them."""
        return torch.cat(
            [
                fill(kind)(group.of(output), *self._data(group, y, mask, context))
                for group, kind in self._grouped(output)
            ],
            1,
        )

    def validate(self, y: Tensor, mask: Tensor | None, context: Context | None) -> None:
        """Raise ValueError, with the column's name, for a table that does not fit."""
        if y.dim() != 2 or y.shape[1] != len(self.names):
            raise ValueError(
                f"y must have shape (n, {len(self.names)}) for the columns {list(self.names)}, got "
                f"{tuple(y.shape)}"
            )
        for group, kind in self._grouped():
            try:
                kind.validate(*self._data(group, y, mask, context))
            except ValueError as error:
                raise ValueError(f"column {group.label}: {error}") from error
        self._check_support(y, mask, context)

    @property
    def has_closed_form(self) -> bool:
        """Whether a column has."""
        return any(kind.has_closed_form for _, kind in self._grouped())

    def closed_form_step(
        self,
        output: Tensor,
        y: Tensor,
        mask: Tensor | None = None,
        context: Context | None = None,
    ) -> None:
        """Let each column learn from its own cells."""
        for group, kind in self._grouped(output):
            kind.closed_form_step(group.of(output), *self._data(group, y, mask, context))

    def _grouped(self, output: Tensor | None = None) -> list[tuple[Group, Observation]]:
        if output is not None and output.shape[1:] != self.output_shape((len(self.names),)):
            raise ValueError(
                f"the columns {list(self.names)} need a network's output of shape (n, "
                f"{self.groups[-1].outputs.stop}), got {tuple(output.shape)}: make the network of "
                f"observation.output_shape(({len(self.names)},))"
            )
        return list(zip(self.groups, cast(list[Observation], list(self.kinds)), strict=True))

    def _context(self, group: Group, context: Context | None) -> Context | None:
        """Return a context with the group's columns of what has one value for each cell."""
        table = (len(self.names),)
        return mapped(context, lambda v: v[:, group.columns] if v.shape[1:] == table else v)

    def _data(
        self, group: Group, y: Tensor, mask: Tensor | None, context: Context | None
    ) -> tuple[Tensor, Tensor | None, Context | None]:
        seen = None if mask is None else mask[:, group.columns]
        return y[:, group.columns], seen, self._context(group, context)

    def _check_support(self, y: Tensor, mask: Tensor | None, context: Context | None) -> None:
        first = mapped(context, lambda value: value[:1])
        hidden = y.isnan() if mask is None else y.isnan() | ~mask.bool()
        for group, kind in self._grouped():
            output = torch.zeros(1, *group.output_shape, device=y.device)
            made = kind.distribution(output, context=self._context(group, first))
            support = elementwise(made.support)
            if support.event_dim > 0:
                continue
            outside = ~(support.check(y[:, group.columns]) | hidden[:, group.columns])
            if bool(outside.any()):
                row, column = first_place(outside)
                place = row, group.columns.start + column
                raise ValueError(
                    f"y{list(place)} = {float(y[place]):g} in column {group.names[column]!r} is "
                    f"outside the support of the observation {type(kind).__name__}, which is "
                    f"{support}"
                )


def _let_columns_learn(keys: Sequence[tuple[str, ...]], kinds: Sequence[Observation]) -> None:
    """Let each column of a group learn for itself."""
    groups: dict[int, tuple[str, ...]] = {}
    for names, kind in zip(keys, kinds, strict=True):
        first = groups.setdefault(id(kind), names)
        learns = kind.has_closed_form or bool(list(kind.parameters()))
        if learns and len(first) != len(names):
            raise ValueError(
                f"columns {list(first)} and {list(names)} share one {type(kind).__name__}, which "
                "learns for each of its columns, and they are not as many: give each an "
                "observation of its own"
            )
        if len(names) > 1:
            kind.learn_by_column(len(names))
