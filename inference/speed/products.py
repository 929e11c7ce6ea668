"""Matrix products of captured graphs by the library that is the fastest on this processor.

Torch multiplies float32 matrices on a CPU by its BLAS. The convolution library beside it, oneDNN,
can do so too, and where the BLAS does not know the processor's widest instructions (MKL on AMD's
with AVX-512) in half the time.
"""

import functools
from typing import Any

import torch
from torch import Tensor, fx

from .choices import Choices
from .timing import least_seconds

aten = torch.ops.aten

FASTER_BY = 0.8
"""Share of the BLAS's time that oneDNN may need to be chosen: well away from rounding of clocks."""

TIMED_CALLS = 9

WORTH_A_CALL = 2**20
"""Multiplications from which a product is given to oneDNN: its calls cost about 6 µs more."""


def onednn_is_faster(choices: Choices) -> bool:
    """Return whether oneDNN multiplies float32 matrices faster than the BLAS here."""
    num_threads = torch.get_num_threads()
    return choices.choose(
        f"products by oneDNN, {num_threads} threads", lambda: measured_onednn_is_faster(num_threads)
    )


@functools.cache
def measured_onednn_is_faster(num_threads: int) -> bool:
    """Return whether it is, by the clock, asked once for each number of threads."""
    if torch.are_deterministic_algorithms_enabled() or onednn_linear() is None:
        return False
    generator = torch.Generator().manual_seed(0)
    # Of the type that is asked for, whatever the default is.
    a, b = (torch.randn(256, 256, generator=generator, dtype=torch.float32) for _ in range(2))
    times = []
    with torch.no_grad():
        for multiply in (torch.mm, product):
            multiply(a, b)
            times.append(least_seconds(functools.partial(multiply, a, b), TIMED_CALLS))
        close = torch.allclose(torch.mm(a, b), product(a, b), rtol=1e-3, atol=1e-3)
    return close and times[1] < FASTER_BY * times[0]


def onednn_linear() -> Any:
    """Return oneDNN's linear layer, None in a torch without it."""
    if not torch.backends.mkldnn.is_available():
        return None
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


def product(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a @ b`` of float32 matrices on a CPU, by oneDNN."""
    result: Tensor = onednn_linear()(a, b.t(), None, "none", [], "")
    return result


def use_onednn(graph: fx.Graph) -> None:
    """Give large float32 products of a graph on a CPU to oneDNN."""
    linear = onednn_linear().default
    for node in list(graph.nodes):
        if node.target is aten.addmm.default and not node.kwargs:
            bias, left, right = node.args
            suits = bias.meta["val"].dim() == 1
        elif node.target is aten.mm.default:
            bias, (left, right) = None, node.args
            suits = True
        else:
            continue
        if not suits or not _is_worth_it(left.meta["val"], right.meta["val"]):
            continue
        with graph.inserting_before(node):
            turned = right.args[0] if right.target is aten.t.default else _turned(graph, right)
            result = graph.call_function(linear, (left, turned, bias, "none", [], ""))
        result.meta["val"] = node.meta["val"]
        node.replace_all_uses_with(result)
    graph.eliminate_dead_code()


_OPERATORS = torch.library.Library("explainaway", "FRAGMENT")
_OPERATORS.define("linear(Tensor input, Tensor weight, Tensor? bias) -> Tensor")


@torch.library.impl(_OPERATORS, "linear", "CPU")
def _linear_on_cpu(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    result: Tensor = onednn_linear()(input, weight, bias, "none", [], "")
    return result


@torch.library.impl(_OPERATORS, "linear", "Meta")
def _linear_on_meta(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return input.new_empty(input.shape[0], weight.shape[0])


def for_inductor(module: fx.GraphModule) -> fx.GraphModule:
    """Return a graph whose products TorchInductor leaves alone: it expects packed weights there."""
    graph = fx.Graph()
    graph.output(graph.graph_copy(module.graph, {}))
    linear = getattr(onednn_linear(), "default", None)
    for node in graph.nodes:
        if node.op == "call_function" and node.target is linear:
            node.target = torch.ops.explainaway.linear.default
            node.args = node.args[:3]
    return fx.GraphModule({}, graph)


def _turned(graph: fx.Graph, node: fx.Node) -> fx.Node:
    turned = graph.call_function(aten.t.default, (node,))
    turned.meta["val"] = node.meta["val"].t()
    return turned


def _is_worth_it(left: Tensor, right: Tensor) -> bool:
    plain = left.dtype == right.dtype == torch.float32 and left.device.type == "cpu"
    return plain and left.shape[0] * left.shape[1] * right.shape[1] >= WORTH_A_CALL
