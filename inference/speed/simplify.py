"""Rewriting of captured graphs that leaves every result as it is, to the last bit.

What autograd and Pyro write down has much in it that no reader would: additions of zeros, factors
that could have been multiplied beforehand, tensors of ones that are made at every evaluation.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, fx

aten = torch.ops.aten


def simplify(graph: fx.Graph) -> None:
    """Take out what changes nothing or is there already, make constant what a shape alone gives."""
    for node in list(graph.nodes):
        if node.op == "call_function":
            _fill_by_shape(graph, node)
    for node in list(graph.nodes):
        if node.op == "call_function":
            _fill_from_filled(graph, node)
    for node in list(graph.nodes):
        if node.op == "call_function" and (same := _same_as(node)) is not None:
            node.replace_all_uses_with(same)
            graph.erase_node(node)
    graph.eliminate_dead_code()
    share(graph)


def share(graph: fx.Graph) -> None:
    """Evaluate once what is evaluated several times from the same arguments.

    A visit evaluates a model's energy at many places, and what that energy prepares at each.
    There must be no operation in place.
    """
    found: dict[Any, fx.Node] = {}
    for node in list(graph.nodes):
        if node.op != "call_function" or is_random(node):
            continue
        key = (node.target, _hashable(node.args), _hashable(node.kwargs))
        first = found.setdefault(key, node)
        if first is not node:
            node.replace_all_uses_with(first)
            graph.erase_node(node)


def is_random(node: fx.Node) -> bool:
    """Return whether an operation draws random numbers."""
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def _hashable(value: Any) -> Any:
    """Return a key for arguments; numbers of different type (1, 1.0, True) are different."""
    if isinstance(value, tuple | list):
        return tuple(_hashable(item) for item in value)
    if isinstance(value, dict):
        return tuple((name, _hashable(item)) for name, item in value.items())
    return value if isinstance(value, fx.Node) else (type(value), repr(value))


_FILLED = {
    aten.ones_like.default: 1,
    aten.zeros_like.default: 0,
    aten.new_zeros.default: 0,
    aten.new_ones.default: 1,
}


def _fill_by_shape(graph: fx.Graph, node: fx.Node) -> None:
    value = node.meta.get("val")
    if node.target not in _FILLED or not isinstance(value, Tensor):
        return
    with graph.inserting_before(node):
        full = _full(graph, value, _FILLED[node.target])
    node.replace_all_uses_with(full)
    graph.erase_node(node)


def _full(graph: fx.Graph, like: Tensor, number: float) -> fx.Node:
    full = graph.call_function(
        aten.full.default,
        (list(like.shape), number),
        {"dtype": like.dtype, "device": like.device, "pin_memory": False},
    )
    full.meta["val"] = like
    return full


_FILLED_AS_BEFORE = {
    aten.expand.default,
    aten.view.default,
    aten._unsafe_view.default,
    aten.unsqueeze.default,
    aten.squeeze.dim,
    aten.clone.default,
}


def _fill_from_filled(graph: fx.Graph, node: fx.Node) -> None:
    """Make one number of a tensor whose elements are all the same, also where it is a factor."""
    value = node.meta.get("val")
    if not isinstance(value, Tensor) or not node.args:
        return
    first, *others = node.args
    number = _filling(first)
    replacement: fx.Node | None = None
    with graph.inserting_before(node):
        if number is not None and node.target in _FILLED_AS_BEFORE | {aten.neg.default}:
            filling = -number if node.target is aten.neg.default else number
            replacement = _full(graph, value, filling)
        elif node.target is aten.mul.Tensor and not node.kwargs:
            for sign, factor in ((number, others[0]), (_filling(others[0]), first)):
                if sign is not None and isinstance(factor, fx.Node) and _same_dtype(node, factor):
                    replacement = _expanded(graph, factor, sign, value)
                    break
    if replacement is not None:
        node.replace_all_uses_with(replacement)
        graph.erase_node(node)


def _filling(value: Any) -> float | None:
    """Return 1 or -1 if a node is a tensor of that number alone."""
    if isinstance(value, fx.Node) and value.target is aten.full.default:
        number = value.args[1]
        if isinstance(number, int | float) and abs(number) == 1:
            return float(number)
    return None


def _expanded(graph: fx.Graph, factor: fx.Node, number: float, value: Tensor) -> fx.Node:
    """Return a factor times 1 or -1 in another's shape: by a view, not by a product."""
    own = factor.meta["val"]
    if number == -1:
        factor = graph.call_function(aten.neg.default, (factor,))
        factor.meta["val"] = own
    if own.shape == value.shape:
        return factor
    expanded = graph.call_function(aten.expand.default, (factor, list(value.shape)))
    expanded.meta["val"] = value
    return expanded


_SAME_TENSOR = {aten.detach.default, aten.alias.default, aten.lift_fresh.default}
_SAME_IF_SHAPE_IS = {aten.view.default, aten.expand.default, aten._unsafe_view.default}
_SAME_IF_OTHER_IS_1 = {aten.mul.Tensor, aten.div.Tensor, aten.mul.Scalar, aten.pow.Tensor_Scalar}


def _same_as(node: fx.Node) -> fx.Node | None:
    """Return the argument that a node's result equals, if there is one."""
    if not node.args or not isinstance(node.args[0], fx.Node):
        return None
    first, other = node.args[0], node.args[1] if len(node.args) > 1 else None
    target: Any = node.target
    if target in _SAME_TENSOR:
        return first
    if target in _SAME_IF_SHAPE_IS and _same_shape(node, first):
        return first
    if target in _SAME_IF_OTHER_IS_1 and other == 1.0 and _same_dtype(node, first):
        return first
    if target is aten.add.Tensor and isinstance(other, fx.Node) and not node.kwargs:
        for zero, value in ((first, other), (other, first)):
            if _is_zero(zero) and _same_shape(node, value) and _same_dtype(node, value):
                return value
    return None


def _is_zero(node: fx.Node) -> bool:
    return node.target is aten.full.default and bool(node.args[1] == 0)


def _same_shape(node: fx.Node, source: fx.Node) -> bool:
    new, old = node.meta.get("val"), source.meta.get("val")
    return isinstance(new, Tensor) and isinstance(old, Tensor) and new.shape == old.shape


def _same_dtype(node: fx.Node, source: fx.Node) -> bool:
    new, old = node.meta.get("val"), source.meta.get("val")
    return isinstance(new, Tensor) and isinstance(old, Tensor) and new.dtype == old.dtype


def varying_nodes(graph: fx.Graph, varying: Iterable[fx.Node]) -> set[fx.Node]:
    """Return the nodes whose results depend on some of the inputs."""
    found = set(varying)
    for node in graph.nodes:
        if node.op == "call_function" and any(arg in found for arg in node.all_input_nodes):
            found.add(node)
    return found


def move_factors(graph: fx.Graph, varying: Iterable[fx.Node]) -> None:
    """Multiply signs and powers of two into factors that do not depend on the varying inputs.

    ``-(w * (2 * x))`` becomes ``(-2 * w) * x``, whose first factor is evaluated once. Both are
    exact in floating point.
    """
    moved = True
    while moved:
        found = varying_nodes(graph, varying)
        moved = any([_move_factor(graph, node, found) for node in list(graph.nodes)])
        graph.eliminate_dead_code()
    share(graph)


def _move_factor(graph: fx.Graph, node: fx.Node, found: set[fx.Node]) -> bool:
    if node not in found or not node.users:
        return False
    if node.target is aten.neg.default:
        product = node.args[0]
        assert isinstance(product, fx.Node)
        if product.target is aten.mul.Tensor and len(product.users) == 1:
            return _rewrite(graph, node, product, -1.0, found)
    if node.target is aten.mul.Tensor and not node.kwargs:
        for product in node.args:
            if isinstance(product, fx.Node) and product in found and len(product.users) == 1:
                factor = _exact_factor(product)
                if factor is not None:
                    fixed = [arg for arg in node.args if arg is not product]
                    inner = product.args[0]
                    if len(fixed) == 1 and _is_fixed(fixed[0], found):
                        return _replace(graph, node, fixed[0], inner, factor)
    return False


def _rewrite(
    graph: fx.Graph, node: fx.Node, product: fx.Node, factor: float, found: set[fx.Node]
) -> bool:
    for fixed, other in (product.args, product.args[::-1]):
        if _is_fixed(fixed, found):
            return _replace(graph, node, fixed, other, factor)
    return False


def _is_fixed(value: Any, found: set[fx.Node]) -> bool:
    # A tensor: a number would turn the product of two tensors into one of another kind.
    return isinstance(value, fx.Node) and value not in found


def _exact_factor(node: fx.Node) -> float | None:
    """Return the power of two, or -1, by which a node multiplies its first argument."""
    if node.target is aten.neg.default:
        return -1.0
    if node.target not in (aten.mul.Scalar, aten.mul.Tensor) or len(node.args) != 2:
        return None
    factor = node.args[1]
    if not isinstance(factor, int | float) or factor == 0 or not math.isfinite(factor):
        return None
    source = node.args[0]
    exact = abs(math.frexp(factor)[0]) == 0.5
    return factor if exact and isinstance(source, fx.Node) and _same_dtype(node, source) else None


def _replace(graph: fx.Graph, node: fx.Node, fixed: Any, other: Any, factor: float) -> bool:
    with graph.inserting_before(node):
        scaled = _scaled(graph, fixed, factor)
        product = graph.call_function(aten.mul.Tensor, (scaled, other))
        product.meta["val"] = node.meta.get("val")
    node.replace_all_uses_with(product)
    return True


def _scaled(graph: fx.Graph, node: fx.Node, factor: float) -> fx.Node:
    """Return a node times a number; of an expanded one, what it expands times the number."""
    if node.target is aten.expand.default:
        source, *shape = node.args
        assert isinstance(source, fx.Node)
        scaled = graph.call_function(aten.expand.default, (_scaled(graph, source, factor), *shape))
    else:
        scaled = graph.call_function(aten.mul.Scalar, (node, factor))
    scaled.meta["val"] = node.meta.get("val")
    return scaled
