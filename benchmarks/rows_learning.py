"""Whole iterations of learning, and what the loop adds to the network's own work."""

from collections.abc import Callable

import torch
from torch import Tensor

from explainaway.inference import MALA, AlternatingBackProp, bind
from explainaway.inference.potentials.trace import evaluation_mode

from .cases import Case, deconvnet_case, demo_case, mlp_case
from .hand_written import Loop
from .paired import Ratio, paired
from .table import Row

SECTION = "An iteration of learning (l = 10 MALA steps, then Adam)"
OVERHEAD = "The loop beyond the network's forward and backward passes"
STEPS = 10
MakeCase = Callable[[], Case]


def rows(smoke: bool) -> list[Row]:
    """Time every case, eager and compiled."""
    makers: list[MakeCase] = [mlp_case, demo_case, lambda: deconvnet_case(32, 32, 32)]
    if smoke:
        makers = [lambda: mlp_case(n=10)]
    found: list[Row] = []
    for make in makers:
        found += _rows(make, smoke)
    return found


def _rows(make: MakeCase, smoke: bool) -> list[Row]:
    pairs, seconds = (3, 0.001) if smoke else (21, 0.05)
    name = make().name
    graph, eager = _ours(make()), _by_hand(make())
    found = [
        Row(
            SECTION,
            name,
            "ours / by hand",
            paired(graph, eager, pairs, seconds),
            0.95,
        ),
        Row(
            SECTION,
            name,
            "ours / the same loop through Pyro's trace",
            paired(graph, _ours(make(), captured=False), pairs, seconds),
        ),
    ]
    if smoke:
        return found
    case = make()
    learner = _learner(case, compile=True)
    compiled, by_hand = _iteration(learner, case, 110), _by_hand(make(), compile=True)
    return [
        *found,
        Row(
            SECTION,
            name,
            "ours compiled / by hand",
            paired(compiled, eager, pairs, seconds),
            0.95,
        ),
        Row(
            SECTION,
            name,
            "ours compiled / by hand compiled",
            paired(compiled, by_hand, pairs, seconds),
            1.05,
        ),
        Row(
            OVERHEAD, name, "ours compiled / its evaluations alone", _overhead(learner, case), 1.05
        ),
    ]


def _ours(case: Case, captured: bool = True) -> Callable[[], object]:
    learner = _learner(case, compile=False, capture=captured)
    return _iteration(learner, case, 5)


def _iteration(learner: AlternatingBackProp, case: Case, before: int) -> Callable[[], object]:
    """Return an iteration of learning, after some others in which things are captured."""
    index = torch.arange(len(case.y))
    for _ in range(before):
        learner.step(case.y, index)
    return lambda: learner.step(case.y, index)


def _learner(case: Case, compile: bool, capture: bool = True) -> AlternatingBackProp:
    model = case.model().train()
    abp = AlternatingBackProp(
        model,
        MALA(),
        inference_steps=STEPS,
        batch_size=len(case.y),
        compile=compile,
        capture=capture,
    )
    abp.start(case.y)
    return abp


def _by_hand(case: Case, compile: bool = False) -> Callable[[], Tensor]:
    observed = None if case.observed is None else case.observed.float()
    y = case.y.nan_to_num()
    loop = Loop(case.network, y, case.scale, case.latent_dim, STEPS, observed, case.link, compile)
    for _ in range(3):
        loop.iterate()
    return loop.iterate


def _overhead(learner: AlternatingBackProp, case: Case) -> Ratio:
    """Time an iteration against its evaluations, each compiled by itself, and Adam's step."""
    with evaluation_mode(learner.model):
        potential = bind(learner.model, case.y, compile=True)
    leaves = list(case.network.parameters())
    z = case.position()

    def evaluations() -> None:
        with evaluation_mode(learner.model):
            for _ in range(STEPS + 1):
                potential(z)
        potential.loss_and_gradients(z, leaves)
        learner.optimizer.step()

    for _ in range(12):
        evaluations()
    return paired(_iteration(learner, case, 0), evaluations)
