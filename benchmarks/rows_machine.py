"""How much of the processor's speed the paper's network gets."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from explainaway.inference import bind
from explainaway.inference.speed.precision import Arithmetic, with_arithmetic
from explainaway.inference.speed.products import product

from .cases import deconvnet_case
from .paired import paired
from .table import Row

SECTION = "The machine's limit"
SIZE = 1024


def rows(smoke: bool) -> list[Row]:
    """Compare the rate of operations with that of a large matrix product, the fastest there is."""
    case = deconvnet_case(2, 16, 8) if smoke else deconvnet_case(16, 64, 128)
    z = case.position()
    potential = with_arithmetic(
        bind(case.model(), case.y, capture=True), Arithmetic(channels_last=True)
    )
    # Parameters do not require gradients here, so that the count is that of z's gradient.
    case.network.requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        potential.plain()(z)
    operations = counter.get_total_flops()
    a, b = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    found = []
    with torch.no_grad():
        for name, multiply in (("BLAS", torch.mm), ("oneDNN", product)):
            ratio = paired(lambda p=multiply: p(a, b), lambda: potential(z), 3 if smoke else 15)  # type: ignore[misc]
            found.append(
                Row(
                    SECTION,
                    case.name,
                    f"its FLOP/s / a {SIZE}³ product's by {name}",
                    ratio.times(operations / (2 * SIZE**3)),
                    0.7,
                    larger_is_better=True,
                )
            )
    return found
