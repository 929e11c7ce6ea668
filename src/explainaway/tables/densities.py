"""Log densities of a table's columns, as a function of the network's outputs."""

import torch
from torch import Tensor

from ..models import Columns, GeneratorModel
from ..models.data_cells import cell_log_prob


def columns_of(model: GeneratorModel) -> Columns:
    """Return the observations of a table's columns."""
    columns = model.observation.base
    assert isinstance(columns, Columns)
    return columns


def column_log_densities(
    model: GeneratorModel, output: Tensor, y: Tensor, context: dict[str, Tensor] | None
) -> Tensor:
    """Return those of the model's cells, (n, columns), zero where nothing is known."""
    filled, observed = model.observation.prepare(y, None)
    made = model.observation.distribution(output, mask=observed, context=context)
    density = cell_log_prob(made, filled)
    assert density is not None
    return density


def column_of_output(model: GeneratorModel) -> Tensor:
    """Return to which of the model's columns each output belongs, (outputs,)."""
    places = []
    for group in columns_of(model).groups:
        each = (group.outputs.stop - group.outputs.start) // len(group.names)
        columns = torch.arange(group.columns.start, group.columns.stop)
        places.append(columns.repeat_interleave(each))
    return torch.cat(places)


def cells_seen(model: GeneratorModel, y: Tensor, context: dict[str, Tensor] | None) -> Tensor:
    """Return 1 where something is known of the cell that an output is of, else 0, (n, outputs)."""
    known = ~y.isnan()
    for limit in (context or {}).values():
        known = known | ~limit.isnan()
    return known[:, column_of_output(model)].to(y.dtype)
