"""A function of tensors as a flat list of tensor operations, split by what depends on what.

Pyro's handlers, distributions and autograd run once, under ``make_fx``; what they did to tensors is
then replayed without them. Operations that do not depend on the varying input (transformed data,
normalising constants, the scale of the noise) are evaluated once and kept.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch._guards import TracingContext, tracing
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from .choices import Choices
from .deconvolution import use_subpixels
from .im2col import use_im2col
from .layers import FoldedNormalisation
from .products import onednn_is_faster, use_onednn
from .simplify import is_random, move_factors, simplify, varying_nodes

aten = torch.ops.aten

Function = Callable[..., tuple[Tensor, ...]]


@dataclass(frozen=True)
class Graph:
    """A captured function ``(*varying, *given) -> outputs``, in two parts.

    Attributes
    ----------
    held : list of Tensor
        Tensors that the function read from elsewhere, by reference: weights, buffers, constants.
    prepare : callable
        From ``(*given, *held)`` to what does not depend on ``varying``.
    evaluate : callable
        From ``(*varying, *prepared)`` to the outputs, as fresh tensors.
    preparation, module : fx.GraphModule
        What ``prepare`` and ``evaluate`` run.
    num_prepared_operations, num_operations : int
        Tensor operations in each.
    is_pure : bool
        Whether it neither draws random numbers nor changes anything.
    """

    held: list[Tensor]
    prepare: Function
    evaluate: Function
    preparation: fx.GraphModule
    module: fx.GraphModule
    num_prepared_operations: int
    num_operations: int
    is_pure: bool


def capture(
    function: Callable[..., tuple[Tensor, ...]],
    varying: Sequence[Tensor],
    given: Sequence[Tensor],
    choices: Choices,
    exact: bool = False,
) -> Graph:
    """Run a function once and return the tensor operations that it made.

    Parameters
    ----------
    function : callable
        ``function(*varying, *given)``, a tuple of tensors. It may differentiate inside; what is
        returned is not differentiable, because the derivative of a captured gradient would be
        silently wrong (pytorch/pytorch#175477).
    varying : sequence of Tensor
        Inputs that change at every evaluation.
    given : sequence of Tensor
        Inputs that change seldom.
    choices : Choices
        Which arithmetic is the fastest here.
    exact : bool, default False
        Keep the function's own arithmetic, so that results are the same to the last bit, where
        another one may be faster.

    Raises
    ------
    TypeError
        If the size of a tensor depends on the data.
    Exception
        Whatever tracing raises, such as for a value read out of a tensor.
    """
    # One mode notes the shapes of all results: each mode that is made formats the stack.
    with tracing(TracingContext(FakeTensorMode())):
        traced = _traced(function, (*varying, *given), exact)
        if _only_changes_its_own(traced.graph):
            with torch.no_grad():
                traced = make_fx(torch.func.functionalize(traced))(*varying, *given)
    graph: fx.Graph = traced.graph
    _refuse_sizes_from_data(graph)
    held = _lift_constants(traced)
    if not exact:
        use_faster_arithmetic(graph, len(varying), choices)
    if not any(_is_mutable(node) for node in graph.nodes):
        simplify(graph)
        move_factors(graph, list(graph.nodes)[: len(varying)])
        # What was rewritten may leave its result in another order in memory than when traced.
        for node in graph.find_nodes(op="call_function", target=aten.view.default):
            node.target = aten.reshape.default
    return _split(graph, held, len(varying))


def _traced(
    function: Callable[..., tuple[Tensor, ...]], arguments: Sequence[Tensor], exact: bool
) -> fx.GraphModule:
    if exact:
        return make_fx(function)(*arguments)
    folding = FoldedNormalisation()
    with folding:
        traced = make_fx(function)(*arguments)
    if folding.shared:
        with FoldedNormalisation(folding.shared):
            traced = make_fx(function)(*arguments)
    return traced


_SIZED_BY_DATA = {
    aten.nonzero.default,
    aten.masked_select.default,
    aten._local_scalar_dense.default,
    aten.repeat_interleave.Tensor,
    aten.bincount.default,
    aten._unique.default,
    aten._unique2.default,
    aten.unique_dim.default,
    aten.unique_consecutive.default,
    aten.unique_dim_consecutive.default,
}


def _refuse_sizes_from_data(graph: fx.Graph) -> None:
    """Raise TypeError where a result's size depends on the data: the graph would keep this one's.

    A size that was read as a number is gone from the graph, but what had that size is not.
    """
    for node in graph.nodes:
        indices = node.args[1] if node.target is aten.index.Tensor else ()
        if node.target in _SIZED_BY_DATA or any(
            index is not None and index.meta["val"].dtype in (torch.bool, torch.uint8)
            for index in indices
        ):
            raise TypeError(
                f"the size of a tensor depends on the data ({node.target}): select by "
                "torch.where or by a mask of the distribution instead"
            )


def use_faster_arithmetic(graph: fx.Graph, num_varying: int, choices: Choices) -> None:
    """Rewrite what is the same function, in sums of another order."""
    graph.eliminate_dead_code()
    inputs = list(graph.nodes)[:num_varying]
    if onednn_is_faster(choices):
        use_onednn(graph)
    varying = varying_nodes(graph, inputs)
    use_im2col(graph, varying, choices)
    use_subpixels(graph, varying, choices)


def _only_changes_its_own(graph: fx.Graph) -> bool:
    """Return whether there are operations in place, none of them on an input or a buffer."""
    changed = [node.args[0] for node in graph.nodes if _is_mutable(node)]
    return bool(changed) and all(
        isinstance(node, fx.Node) and _base(node).op == "call_function" for node in changed
    )


def _base(node: fx.Node) -> fx.Node:
    """Return the node whose memory a view is of."""
    while (_is_mutable(node) or _is_view(node)) and isinstance(node.args[0], fx.Node):
        node = node.args[0]
    return node


def _lift_constants(traced: fx.GraphModule) -> list[Tensor]:
    """Make inputs of the tensors that the graph reads from its module, and return them."""
    graph = traced.graph
    held: list[Tensor] = []
    inputs: dict[int, fx.Node] = {}
    last = [node for node in graph.nodes if node.op == "placeholder"][-1]
    for node in list(graph.nodes):
        if node.op != "get_attr":
            continue
        value = getattr(traced, str(node.target))
        if not isinstance(value, Tensor) or is_traceable_wrapper_subclass(value):
            raise TypeError(f"the model uses {type(value).__name__}, which is not a plain tensor")
        if id(value) not in inputs:
            with graph.inserting_after(last):
                last = graph.placeholder(f"held_{len(held)}")
            last.meta["val"] = value
            inputs[id(value)] = last
            held.append(value)
        node.replace_all_uses_with(inputs[id(value)])
        graph.erase_node(node)
    return held


def _split(graph: fx.Graph, held: list[Tensor], num_varying: int) -> Graph:
    nodes = list(graph.nodes)
    placeholders = [node for node in nodes if node.op == "placeholder"]
    calls = [node for node in nodes if node.op == "call_function"]
    (output,) = (node for node in nodes if node.op == "output")
    varies = varying_nodes(graph, placeholders[:num_varying])
    is_pure = not any(_is_mutable(node) or is_random(node) for node in calls)
    if not is_pure:
        # Their order matters, and once is not enough.
        varies.update(calls)
    results: tuple[fx.Node, ...] = tuple(output.args[0])
    needed = dict.fromkeys(
        arg
        for node in [*(call for call in calls if call in varies), output]
        for arg in node.all_input_nodes
        if arg not in varies
    )
    prepared = list(needed)
    prepare = fx.Graph()
    made: dict[fx.Node, fx.Node] = {}
    for node in [*placeholders[num_varying:], *(call for call in calls if call not in varies)]:
        made[node] = prepare.node_copy(node, made.__getitem__)
    prepare.output(tuple(made[node] for node in prepared))
    prepare.eliminate_dead_code()
    evaluate = fx.Graph()
    made = {node: evaluate.node_copy(node) for node in placeholders[:num_varying]}
    for place, node in enumerate(prepared):
        made[node] = evaluate.placeholder(f"prepared_{place}")
    for node in calls:
        if node in varies:
            made[node] = evaluate.node_copy(node, made.__getitem__)
    # What a caller does to an output in place must not reach an input.
    evaluate.output(
        tuple(
            made[node]
            if _is_fresh(node, varies)
            else evaluate.call_function(
                aten.clone.default, (made[node],), {"memory_format": torch.contiguous_format}
            )
            for node in results
        )
    )
    preparation, module = fx.GraphModule({}, prepare), fx.GraphModule({}, evaluate)
    return Graph(
        held,
        _as_function(prepare),
        _as_function(evaluate),
        preparation,
        module,
        _count(prepare),
        _count(evaluate),
        is_pure,
    )


_CALLED_FASTER = {
    aten.add.Tensor: torch.add,
    aten.addmm.default: torch.addmm,
    aten.div.Tensor: torch.div,
    aten.exp.default: torch.exp,
    aten.log.default: torch.log,
    aten.mm.default: torch.mm,
    aten.mul.Scalar: torch.mul,
    aten.mul.Tensor: torch.mul,
    aten.neg.default: torch.neg,
    aten.pow.Tensor_Scalar: torch.pow,
    aten.reciprocal.default: torch.reciprocal,
    aten.relu.default: torch.relu,
    aten.sigmoid.default: torch.sigmoid,
    aten.sqrt.default: torch.sqrt,
    aten.sub.Tensor: torch.sub,
    aten.t.default: torch.t,
    aten.tanh.default: torch.tanh,
}
"""Torch's functions for operators that small graphs are full of: the way to them is shorter."""


def _as_function(graph: fx.Graph) -> Function:
    """Return a graph as a function that runs its operations one by one."""
    called = fx.Graph()
    called.output(called.graph_copy(graph, {}))
    for node in called.nodes:
        if node.op == "call_function":
            node.target = _CALLED_FASTER.get(node.target, node.target)
    return fx.GraphModule({}, called).forward


def _count(graph: fx.Graph) -> int:
    return sum(
        node.op == "call_function" and node.target is not operator.getitem for node in graph.nodes
    )


def _schema(node: fx.Node) -> Any:
    return getattr(node.target, "_schema", None)


def _is_mutable(node: fx.Node) -> bool:
    schema = _schema(node)
    return schema is not None and bool(schema.is_mutable)


def _is_view(node: fx.Node) -> bool:
    schema = _schema(node)
    return schema is not None and any(r.alias_info is not None for r in schema.returns)


def _is_fresh(node: fx.Node, varies: set[fx.Node]) -> bool:
    """Return whether a result is a new tensor at every evaluation, not a view or an input."""
    if node not in varies or node.op == "placeholder":
        return False
    if not _is_view(node):
        return True
    return all(_is_fresh(arg, varies) for arg in node.all_input_nodes)
