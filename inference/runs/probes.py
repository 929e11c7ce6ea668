"""Whether a file was made by the same model: its settings by name, its energies at some points."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..potentials.potential import Potential
from ..potentials.trace import Model, evaluation_mode, seeded

NUM_ROWS = 4

SAME = 200
"""Roundings, relative to the largest, by which the same model may differ on another machine."""


class Probes(NamedTuple):
    """Energies and gradients of a few rows at points that the chains know, and farther away.

    Shapes are (k, d) of positions, (2, k) of energies and (2, k, d) of gradients.
    """

    position: Tensor
    energy: Tensor
    gradient: Tensor

    @staticmethod
    def of(potential: Potential, position: Float[Tensor, "k d"]) -> "Probes":
        """Return those of a potential's first rows; NaN where it cannot be evaluated."""
        position = position[:NUM_ROWS].detach().clone()
        first = potential.rows(slice(len(position))).cast(None).plain()
        noise = torch.Generator().manual_seed(0)
        away = torch.randn(position.shape, generator=noise).to(position)
        results = []
        with evaluation_mode(potential.model), seeded(0):
            for point in (position, 0.5 * position + away):
                try:
                    results.append(first(point))
                except (RuntimeError, ValueError):
                    nan = torch.full_like(point, torch.nan)
                    results.append((nan[:, 0], nan))
        energies, gradients = zip(*results, strict=True)
        return Probes(position, torch.stack(energies), torch.stack(gradients))

    def differ(self, other: "Probes") -> float | None:
        """Return by how many nats the energies are apart, None if all is the same."""
        for mine, others in zip(self[1:], other[1:], strict=True):
            if mine.shape != others.shape:
                return float("nan")
            tolerance = SAME * torch.finfo(mine.dtype).eps
            finite = others[others.isfinite()].abs()
            atol = tolerance * (float(finite.max()) if finite.numel() else 0.0)
            if not torch.allclose(mine, others, rtol=tolerance, atol=atol, equal_nan=True):
                apart = (self.energy - other.energy).abs().nan_to_num(torch.inf)
                return float(apart.max())
        return None


def check_probes(path: Path, kept: Mapping[str, Tensor], potential: Potential) -> None:
    """Evaluate a file's probes again.

    Raises
    ------
    ValueError
        If they are those of another model.
    """
    before = Probes(**kept)
    now = Probes.of(potential, before.position.to(potential.data.device))
    apart = Probes(*(value.cpu() for value in now)).differ(Probes(*(v.cpu() for v in before)))
    if apart is not None:
        raise ValueError(
            f"checkpoint {str(path)!r} is of other work: with the same parameters its energies "
            f"differ by up to {apart:.3g} nats, so its prior, network or observation, or something "
            "else that the model reads, is not what it is here. Give another file, or delete this "
            "one to start afresh"
        )


def settings_of(model: Model, learned: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a module's parameters and buffers that are not learned, as they are now, by name."""
    if not isinstance(model, nn.Module):
        return {}
    state = model.state_dict().items()
    return {name: value.detach().cpu().clone() for name, value in state if name not in learned}


def check_settings(
    path: Path, kept: Mapping[str, Tensor], later: Mapping[str, Tensor], given: Mapping[str, Tensor]
) -> None:
    """Compare the settings of a file with those given, but for what had changed as it went on.

    Raises
    ------
    ValueError
        If one differs; the message names it.
    """
    for name in sorted(kept.keys() | given.keys()):
        before, now = kept.get(name), given.get(name)
        moved = before is not None and name in later and not _same(before, later[name].cpu())
        if (moved and now is not None) or (before is not None and _same(before, now)):
            continue
        raise ValueError(
            f"checkpoint {str(path)!r} is of other work: its {name} is {_shown(before)}, here it "
            f"is {_shown(now)}. Give another file, or delete this one to start afresh"
        )


def _same(a: Tensor, b: Tensor | None) -> bool:
    return b is not None and a.shape == b.shape and a.dtype == b.dtype and _equal(a, b)


def _equal(a: Tensor, b: Tensor) -> bool:
    return bool(((a == b) | (a.isnan() & b.isnan())).all())


def _shown(value: Tensor | None) -> str:
    if value is None:
        return "not there"
    if value.numel() <= 8:
        return str(value.tolist())
    return f"a tensor of shape {tuple(value.shape)} with mean {float(value.double().mean()):.6g}"
