"""Energies with their gradients, against the same by hand."""

import copy
from dataclasses import replace

import torch

from explainaway.inference import bind
from explainaway.inference.speed.precision import Arithmetic, with_arithmetic

from .cases import Case, deconvnet_case, demo_case, mlp_case
from .hand_written import energy_and_gradient
from .paired import paired
from .table import Row

SECTION = "Energy and gradient of all latents"


def rows(smoke: bool) -> list[Row]:
    """Time every case, eager and compiled."""
    cases = [mlp_case(), mlp_case(n=10), demo_case(), deconvnet_case(32, 32, 32)]
    if smoke:
        cases = [mlp_case(n=10)]
    found: list[Row] = []
    for case in cases:
        found += _rows(case, smoke)
    return found


def _rows(case: Case, smoke: bool) -> list[Row]:
    z = case.position()
    graph = bind(case.model(), case.y, capture=True)
    y = case.y.nan_to_num()
    case.network.requires_grad_(False)
    observed = None if case.observed is None else case.observed.float()
    eager = energy_and_gradient(case.network, y, case.scale, observed, case.link)
    check_same(graph(z), eager(z))
    pairs, seconds = (3, 0.001) if smoke else (21, 0.05)
    found = [
        Row(
            SECTION,
            case.name,
            "ours / by hand",
            paired(lambda: graph(z), lambda: eager(z), pairs, seconds),
            0.95,
        ),
        Row(
            SECTION,
            case.name,
            "ours / the same model through Pyro's trace",
            paired(
                lambda: graph(z),
                lambda: graph.plain()(z),
                pairs,
                seconds,
            ),
        ),
    ]
    if case.y.dim() == 4:
        last = with_arithmetic(
            bind(replace(case, network=copy.deepcopy(case.network)).model(), case.y, capture=True),
            Arithmetic(channels_last=True),
        )
        check_same(last(z), eager(z))
        ratio = paired(lambda: last(z), lambda: eager(z), pairs, seconds)
        found.append(Row(SECTION, case.name, "ours, channels last / by hand", ratio, 0.95))
    if smoke:
        return found
    compiled = bind(case.model(), case.y, compile=True)
    for _ in range(110):
        compiled(z)
    by_hand = energy_and_gradient(case.network, y, case.scale, observed, case.link, compile=True)
    check_same(compiled(z), by_hand(z))
    return [
        *found,
        Row(
            SECTION,
            case.name,
            "ours compiled / by hand",
            paired(lambda: compiled(z), lambda: eager(z), pairs, seconds),
            0.95,
        ),
        Row(
            SECTION,
            case.name,
            "ours compiled / by hand compiled",
            paired(lambda: compiled(z), lambda: by_hand(z), pairs, seconds),
            1.05,
        ),
    ]


def check_same(
    ours: tuple[torch.Tensor, torch.Tensor], theirs: tuple[torch.Tensor, torch.Tensor]
) -> None:
    """Raise unless gradients agree, and energies up to their constants."""
    energies = ours[0] - theirs[0]
    # Constants: what does not depend on z is the same for each example but for its missing cells.
    scale = float(theirs[1].abs().max())
    if not torch.allclose(ours[1], theirs[1], rtol=1e-3, atol=1e-4 * scale):
        raise AssertionError("the gradients differ")
    if not bool(energies.isfinite().all()):
        raise AssertionError("an energy is not finite")
