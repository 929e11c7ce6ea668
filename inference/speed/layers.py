"""Batch normalisation of captured graphs folded into the filters before it.

In evaluation mode it multiplies each channel by a factor and adds a term, neither of which depends
on what is evaluated: ``s * (W x + b) + t`` is ``(s W) x + (s b + t)``, whose filters are scaled
once. The gradient in x, ``Wᵀ (s g)``, is ``(s W)ᵀ g``. That is the same function with other
roundings, and two passes over every map less.

References
----------
Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only
inference" (2018), section 3.2.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, fx

aten = torch.ops.aten

WORTH_FOLDING = 2**14
"""Numbers in a map from which its normalisation is folded: smaller ones take no time."""


class _Layer(NamedTuple):
    """A layer of weights with the normalisation that follows it, as nodes of a graph.

    Attributes
    ----------
    norm, linear, weight : Node
        The normalisation, the convolution or matrix product before it, what that multiplies by.
    gradients : list of Node
        Gradients in what is normalised, each of which goes to the node beside it in
        ``linear_gradients``, the layer's gradient in its input.
    linear_gradients : list of Node
        Convolutions or matrix products by the same weight.
    axis : int
        Of the weight, along which its output channels lie.
    repeats : int
        Columns of a matrix for each channel.
    """

    norm: fx.Node
    linear: fx.Node
    weight: fx.Node
    gradients: list[fx.Node]
    linear_gradients: list[fx.Node]
    axis: int
    repeats: int


def fold_batch_norms(graph: fx.Graph, varying: set[fx.Node]) -> None:
    """Fold what is normalised by running statistics into the weights of the layer before.

    Left as it is: normalisation by the batch's own statistics, one whose factors or weights vary,
    and one where gradients in weights or factors are taken: those need what is in between.

    Parameters
    ----------
    graph : fx.Graph
        Changed in place.
    varying : set of Node
        What depends on the inputs that change at every evaluation.
    """
    for node in list(graph.nodes):
        if node.target is aten.native_batch_norm.default and not node.args[5]:
            layer = _layer_of(node)
            if layer is not None and not varying & {layer.weight, *_fixed(layer)}:
                _fold(graph, layer)
    graph.eliminate_dead_code()


def _layer_of(norm: fx.Node) -> _Layer | None:
    """Return the layer that a normalisation ends, None if it is of another structure."""
    image = norm.args[0]
    assert isinstance(image, fx.Node)
    value: Tensor = image.meta["val"]
    linear, repeats = image, 1
    if image.target in (aten.view.default, aten._unsafe_view.default):
        # (n, c * h * w) to (n, c, h, w)
        assert isinstance(image.args[0], fx.Node)
        linear, repeats = image.args[0], math.prod(value.shape[2:])
        if len(linear.users) != 1 or linear.meta["val"].shape != (len(value), value[0].numel()):
            return None
    if linear.target is aten.convolution.default and linear is image:
        transposed, groups = linear.args[6], linear.args[8]
        weight, axis = linear.args[1], 1 if transposed else 0
        if transposed and groups != 1:
            return None
    elif linear.target in (aten.mm.default, aten.addmm.default) and not linear.kwargs:
        weight, axis = linear.args[-1], 1
    else:
        return None
    assert isinstance(weight, fx.Node)
    gradients = [user for user in image.users if user is not norm]
    linear_gradients = [_linear_gradient(gradient, norm, weight) for gradient in gradients]
    found = [node for node in linear_gradients if node is not None]
    if len(found) < len(gradients):
        return None
    layer = _Layer(norm, linear, weight, gradients, found, axis, repeats)
    dtypes = {node.meta["val"].dtype for node in (image, weight, *_fixed(layer))}
    bias = _bias_of(linear)
    flat = bias is None or bias.meta["val"].dim() == 1
    large = value.numel() >= WORTH_FOLDING
    return layer if large and flat and len(dtypes) == 1 and _is_only_normalised(layer) else None


def _fixed(layer: _Layer) -> list[fx.Node]:
    """Return what is added and multiplied by, besides the weight."""
    nodes = (*layer.norm.args[1:5], _bias_of(layer.linear))
    return [node for node in nodes if isinstance(node, fx.Node)]


def _bias_of(linear: fx.Node) -> fx.Node | None:
    if linear.target is aten.mm.default:
        return None
    bias = linear.args[0 if linear.target is aten.addmm.default else 2]
    assert bias is None or isinstance(bias, fx.Node)
    return bias


def _is_only_normalised(layer: _Layer) -> bool:
    """Return whether nothing else uses the normalisation's statistics, its second and third."""
    return all(
        user.args[1] == 0 or set(user.users) <= set(layer.gradients) for user in layer.norm.users
    )


def _linear_gradient(gradient: fx.Node, norm: fx.Node, weight: fx.Node) -> fx.Node | None:
    """Return where a gradient in what is normalised is multiplied by the layer's weight."""
    if gradient.target is not aten.native_batch_norm_backward.default:
        return None
    arguments = gradient.args
    own = (norm.args[0], norm.args[1], *norm.args[3:5], norm.args[7])
    if (*arguments[1:5], arguments[8]) != own or len(gradient.users) != 1:
        return None
    if arguments[7] or not _is_in_input(arguments[9]):
        return None
    (first,) = gradient.users
    below = arguments[0]
    assert isinstance(below, fx.Node)
    if len(first.users) != 1 or not (_same_layout(first, below) or below.meta["val"].dim() == 4):
        return None
    (user,) = first.users
    if user.target is aten.convolution_backward.default:
        same = user.args[0] is first and user.args[2] is weight and user.args[1] is not first
        return user if same and _is_in_input(user.args[10]) else None
    if user.target in (aten.view.default, aten._unsafe_view.default) and len(user.users) == 1:
        first, (user,) = user, user.users
    if user.target is aten.mm.default and user.args[0] is first:
        right = user.args[1]
        assert isinstance(right, fx.Node)
        return user if weight in _turned(right) or right in _turned(weight) else None
    return None


def _is_in_input(mask: object) -> bool:
    return mask == [True, False, False]


def _turned(node: fx.Node) -> list[object]:
    return [node.args[0]] if node.target is aten.t.default else []


def _fold(graph: fx.Graph, layer: _Layer) -> None:
    norm, linear = layer.norm, layer.linear
    value = norm.args[0].meta["val"]  # type: ignore[union-attr]
    with graph.inserting_before(norm):
        scale, bias = _scale_and_bias(graph, layer)
        bias.meta["val"] = value.new_empty(linear.meta["val"].shape[1])
        shape = [1] * layer.weight.meta["val"].dim()
        shape[layer.axis] = -1
        column = graph.call_function(aten.view.default, (scale, shape))
        scaled = graph.call_function(aten.mul.Tensor, (layer.weight, column))
        scaled.meta["val"] = layer.weight.meta["val"]
        if linear.target is aten.convolution.default:
            folded = graph.call_function(
                aten.convolution.default, (linear.args[0], scaled, bias, *linear.args[3:])
            )
        else:
            folded = graph.call_function(aten.addmm.default, (bias, linear.args[-2], scaled))
        folded.meta["val"] = linear.meta["val"]
        if linear is not norm.args[0]:
            folded = graph.call_function(aten.view.default, (folded, list(value.shape)))
            folded.meta["val"] = value
    for user in norm.users:
        if user.args[1] == 0:
            user.replace_all_uses_with(folded)
    for gradient, linear_gradient in zip(layer.gradients, layer.linear_gradients, strict=True):
        (first,) = gradient.users
        first.replace_all_uses_with(_in_layout_of(graph, first, gradient))
        if linear_gradient.target is aten.convolution_backward.default:
            linear_gradient.update_arg(2, scaled)
        else:
            with graph.inserting_before(linear_gradient):
                turned = graph.call_function(aten.t.default, (scaled,))
            turned.meta["val"] = scaled.meta["val"].t()
            linear_gradient.update_arg(1, turned)


def _same_layout(node: fx.Node, other: fx.Node) -> bool:
    a, b = node.meta["val"], other.meta["val"]
    return bool(a.stride() == b.stride())


def _in_layout_of(graph: fx.Graph, first: fx.Node, gradient: fx.Node) -> fx.Node:
    """Return what a normalisation's gradient was of, stored as that gradient was."""
    below = gradient.args[0]
    assert isinstance(below, fx.Node)
    if _same_layout(first, below):
        return below
    plain = first.meta["val"].is_contiguous()
    layout = torch.contiguous_format if plain else torch.channels_last
    with graph.inserting_before(gradient):
        stored = graph.call_function(aten.clone.default, (below,), {"memory_format": layout})
    stored.meta["val"] = first.meta["val"]
    return stored


def _scale_and_bias(graph: fx.Graph, layer: _Layer) -> tuple[fx.Node, fx.Node]:
    """Return by what each output channel is multiplied, and what is added to it then."""
    weight, shift, mean, variance = layer.norm.args[1:5]
    add, sub, mul = aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor
    spread = graph.call_function(aten.add.Scalar, (variance, layer.norm.args[7]))
    scale = graph.call_function(aten.rsqrt.default, (spread,))
    if weight is not None:
        scale = graph.call_function(mul, (weight, scale))
    bias = graph.call_function(mul, (mean, scale))
    if shift is None:
        bias = graph.call_function(aten.neg.default, (bias,))
    else:
        bias = graph.call_function(sub, (shift, bias))
    if layer.repeats > 1:
        repeat = aten.repeat_interleave.self_int
        scale, bias = (graph.call_function(repeat, (v, layer.repeats)) for v in (scale, bias))
    own = _bias_of(layer.linear)
    if own is not None:
        bias = graph.call_function(add, (graph.call_function(mul, (own, scale)), bias))
    return scale, bias
