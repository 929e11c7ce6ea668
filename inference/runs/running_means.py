"""Posterior means that a fit has accumulated over its last visits."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from ..potentials.data import ExampleData
from ..potentials.potential import Potential
from ..potentials.trace import Model, evaluation_mode
from .chains import Chains
from .last_draws import latents_at

AT_ONCE = 2**21
"""Cells whose signals are computed at once."""

KeepMeans = bool | Literal["auto"]


class RunningMeans:
    """Means of the signal and of the completed data over draws of the latents.

    The k-th epoch weighs as k: learning goes on meanwhile, and the later θ is the better one. That
    costs a quarter of the draws.

    Attributes
    ----------
    means : dict of Tensor
        ``"signal"`` and, where estimates are means, ``"filled"``: (n, ...) each.
    count : int
        Epochs that they are over.
    begun_at : int
        Epoch that they begin at.
    """

    def __init__(self) -> None:
        self.means: dict[str, Tensor] = {}
        self.count = 0
        self.begun_at = -1

    def begin(self, epoch: int) -> None:
        """Forget what was before an epoch."""
        self.means, self.count, self.begun_at = {}, 0, epoch

    @torch.no_grad()
    def add(self, potential: Potential, chains: Chains, examples: ExampleData) -> None:
        """Take in where the chains are, their draws of an example together."""
        self.count += 1
        cells: Any = getattr(potential.model, "data_cells", None)
        n, c = examples.num_examples, chains.num_chains
        with evaluation_mode(potential.model):
            size = sum(tensor[0].numel() for tensor in examples.tensors())
            for part in parts_of(examples, size * c):
                data, latents = latents_at(chains, potential, examples, part)
                estimates = cells.estimates(latents, *data.args, **data.kwargs)._asdict()
                for name, value in estimates.items():
                    if value is not None:
                        mean = value.reshape(c, len(part), *value.shape[1:]).mean(0)
                        self._of(name, mean, n)[part] += self._move(name, part, mean)

    def _of(self, name: str, like: Tensor, num_examples: int) -> Tensor:
        if name not in self.means:
            self.means[name] = like.new_zeros(num_examples, *like.shape[1:])
        return self.means[name]

    def _move(self, name: str, part: Tensor, mean: Tensor) -> Tensor:
        return 2 / (self.count + 1) * (mean - self.means[name][part])

    def to_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        return {"means": self.means, "count": self.count, "begun_at": self.begun_at}

    def take_back(self, content: Mapping[str, Any], device: torch.device) -> None:
        """Be again as in :meth:`to_dict`."""
        self.means = {name: value.to(device) for name, value in content["means"].items()}
        self.count, self.begun_at = content["count"], content["begun_at"]


def parts_of(examples: ExampleData, size: int) -> list[Tensor]:
    """Return the indices of all examples in parts, when each takes so many cells."""
    index = torch.arange(examples.num_examples, device=examples.device)
    return list(index.split(max(1, AT_ONCE // size)))


def running_means(model: Model, keep: KeepMeans, chains: Chains) -> RunningMeans | None:
    """Return empty means, None where none are kept.

    Parameters
    ----------
    model : callable
        What learns.
    keep : bool or "auto"
        As ``posterior_means`` of a fit: ``"auto"`` keeps them where the model can say what they are
        of and the chains are in memory.
    chains : Chains
        Of all examples.

    Raises
    ------
    ValueError
        If ``keep`` is neither, or means are asked for of a model without a signal.
    """
    if not (isinstance(keep, bool) or (isinstance(keep, str) and keep == "auto")):
        raise ValueError(f'posterior_means must be True, False or "auto", got {keep!r}')
    knows = callable(getattr(getattr(model, "data_cells", None), "estimates", None))
    if keep is True and not knows:
        raise ValueError(
            'posterior_means must be False or "auto" here: only a GeneratorModel says what its '
            f"signal is, got a {type(model).__name__}"
        )
    if keep == "auto":
        keep = knows and chains.file is None
    return RunningMeans() if keep else None
