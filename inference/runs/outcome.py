"""What sampling leaves behind beside its draws."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..diagnostics.moments import Moments, moments_from_dict, moments_to_dict


class Outcome(NamedTuple):
    """What sampling n examples leaves behind: those of a chunk, or all.

    Attributes
    ----------
    state : dict of Tensor
        The kernel's last state, (c, n, ...).
    tuning : dict of Tensor
        What warmup found, (n, ...).
    moments : dict of Moments
        What was accumulated.
    num_gradients : float
        Gradient evaluations of each chain for its draws, warmup not included; mean over examples.
    seconds : float
        Wall time of the draws, warmup not included.
    interrupted : bool
        Whether Ctrl-C ended it early.
    """

    state: dict[str, Tensor]
    tuning: dict[str, Tensor]
    moments: dict[str, Moments]
    num_gradients: float
    seconds: float
    interrupted: bool = False

    @staticmethod
    def merged(parts: Sequence["Outcome"]) -> "Outcome":
        """Return the outcome of all examples from those of their chunks."""
        first = parts[0]
        sizes = [len(part.tuning["step_size"]) for part in parts]
        return Outcome(
            {name: torch.cat([part.state[name] for part in parts], 1) for name in first.state},
            {name: torch.cat([part.tuning[name] for part in parts]) for name in first.tuning},
            {
                name: Moments(
                    torch.cat([part.moments[name].mean for part in parts]),
                    torch.cat([part.moments[name].squares for part in parts]),
                    moments.num_values,
                )
                for name, moments in first.moments.items()
            },
            sum(p.num_gradients * size for p, size in zip(parts, sizes, strict=True)) / sum(sizes),
            sum(part.seconds for part in parts),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts, for a checkpoint."""
        return {**self._asdict(), "moments": moments_to_dict(self.moments)}

    @staticmethod
    def from_dict(content: Mapping[str, Any]) -> "Outcome":
        """Return the outcome of :meth:`to_dict`."""
        return Outcome(**{**content, "moments": moments_from_dict(content["moments"])})


def typical_tuning(tuning: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what is typical of tunings, (n, ...), for other examples: (1, ...)."""
    typical = {}
    for name, value in tuning.items():
        if name != "scale":
            typical[name] = value.median()[None]
        elif value.dim() == 2:
            typical[name] = (value**2).mean(0, keepdim=True).sqrt()
        else:
            typical[name] = torch.linalg.cholesky((value @ value.mT).mean(0, keepdim=True))
    return typical
