"""Deconvolutions of captured graphs as matrix products, where those are faster.

A transposed convolution multiplies each input pixel's channels by the whole filter and adds what
overlaps (col2im); its gradient collects each pixel's neighbourhood (im2col) and multiplies by the
transpose. Where maps are small and channels many, as in a network's first layers, that is one
product of the processor's best shape, and the filters are used as they are stored.

References
----------
Chellapilla, Puri & Simard, "High performance convolutional neural networks for document
processing" (2006).
"""

import functools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, fx

from .choices import Choices
from .deconvolution import (
    Form,
    deconvolved,
    form_of,
    is_channels_last,
    subpixel_filters,
    subpixels,
    trial,
)
from .products import onednn_is_faster, product
from .timing import least_seconds

aten = torch.ops.aten

FASTER_BY = 0.8
"""Share of the other forms' time that this one may need to be chosen."""

WORTH_A_TRIAL = 2**24
"""Multiplications from which the forms are compared."""

TIMED_EXAMPLES = 16
TIMED_CALLS = 2


def use_im2col(graph: fx.Graph, varying: set[fx.Node], choices: Choices) -> None:
    """Replace the deconvolutions, and their gradients in the input, that are faster as products.

    Parameters
    ----------
    graph : fx.Graph
        Changed in place.
    varying : set of Node
        What depends on the inputs that change at every evaluation: a filter must not.
    choices : Choices
        What is faster here.
    """
    onednn = onednn_is_faster(choices)
    for node in list(graph.nodes):
        form = form_of(node)
        backward = node.target is aten.convolution_backward.default
        if form is None or node.args[2 if backward else 1] in varying:
            continue
        image, weight = node.args[1:3] if backward else node.args[:2]
        value, filters = image.meta["val"], weight.meta["val"]
        if value[:, 0].numel() * filters.numel() < WORTH_A_TRIAL:
            continue
        question = (
            form,
            (min(len(value), TIMED_EXAMPLES), *value.shape[1:]),
            filters.shape[1],
            is_channels_last(filters),
            backward,
            onednn,
            torch.get_num_threads(),
        )
        if choices.choose(f"im2col {question}", lambda q=question: im2col_is_faster(*q)):  # type: ignore[misc]
            replace = _replace_gradient if backward else _replace
            replace(graph, node, form, onednn)
    graph.eliminate_dead_code()


def _replace(graph: fx.Graph, node: fx.Node, form: Form, onednn: bool) -> None:
    image, weight, bias = node.args[:3]
    assert isinstance(weight, fx.Node)
    with graph.inserting_before(node):
        matrix = _matrix(graph, weight)
        result = graph.call_function(
            torch.ops.explainaway.deconvolution_by_im2col.default,
            (
                image,
                matrix,
                form.size,
                form.stride,
                form.padding,
                is_channels_last(node.meta["val"]),
                onednn,
            ),
        )
        if bias is not None:
            column = graph.call_function(aten.view.default, (bias, [-1, 1, 1]))
            result = graph.call_function(aten.add.Tensor, (result, column))
    result.meta["val"] = node.meta["val"]
    node.replace_all_uses_with(result)


def _replace_gradient(graph: fx.Graph, node: fx.Node, form: Form, onednn: bool) -> None:
    gradient, _, weight = node.args[:3]
    assert isinstance(weight, fx.Node)
    (first,) = node.users
    with graph.inserting_before(node):
        result = graph.call_function(
            torch.ops.explainaway.convolution_by_im2col.default,
            (
                gradient,
                _matrix(graph, weight),
                form.size,
                form.stride,
                form.padding,
                is_channels_last(first.meta["val"]),
                onednn,
            ),
        )
    result.meta["val"] = first.meta["val"]
    first.replace_all_uses_with(result)
    graph.erase_node(first)


def _matrix(graph: fx.Graph, weight: fx.Node) -> fx.Node:
    """Return filters (cin, cout, k, k) as (cin, k * k * cout); no copy if channels are last."""
    turned = graph.call_function(aten.permute.default, (weight, [0, 2, 3, 1]))
    return graph.call_function(aten.reshape.default, (turned, [weight.meta["val"].shape[0], -1]))


@functools.cache
def im2col_is_faster(
    form: Form,
    shape: tuple[int, ...],
    channels: int,
    last: bool,
    backward: bool,
    onednn: bool,
    num_threads: int,
) -> bool:
    """Return whether a deconvolution is clearly faster as a matrix product, measured once.

    Parameters
    ----------
    form : Form
        The deconvolution.
    shape : tuple of int
        Of its input, (n, c, h, w).
    channels : int
        Of its output.
    last : bool
        Whether filters and images are stored with the channels innermost.
    backward : bool
        Whether its gradient in the input is meant.
    onednn : bool
        Whether products go to oneDNN.
    num_threads : int
        Threads that torch uses now.
    """
    if torch.are_deterministic_algorithms_enabled():
        return False
    layout = torch.channels_last if last else torch.contiguous_format
    n, above, *sides = shape
    below_shape = (n, channels, *(form.stride * side for side in sides))
    filters = (above, channels, form.size, form.size)
    image, weight = trial(below_shape if backward else shape, filters, layout)
    others: list[Callable[[], Tensor]]
    with torch.no_grad():
        matrix = weight.permute(0, 2, 3, 1).reshape(above, -1)
        options = (matrix, form.size, form.stride, form.padding, last, onednn)
        if backward:
            ours = functools.partial(convolution_by_im2col, image, *options)
            others = [lambda: torch.conv2d(image, weight, stride=form.stride, padding=form.padding)]
        else:
            ours = functools.partial(deconvolution_by_im2col, image, *options)
            arranged = subpixel_filters(weight, form.stride, form.padding)
            others = [
                lambda: deconvolved(image, weight, form),
                lambda: subpixels(image, arranged, form),
            ]
        expected, got = others[0](), ours()
        # Sums of thousands of products of standard normal numbers.
        close = torch.allclose(got, expected, rtol=1e-3, atol=1e-2)
        seconds = least_seconds(ours, TIMED_CALLS)
        return close and all(
            seconds < FASTER_BY * least_seconds(other, TIMED_CALLS) for other in others
        )


def deconvolution_by_im2col(
    image: Tensor, matrix: Tensor, size: int, stride: int, padding: int, last: bool, onednn: bool
) -> Tensor:
    """Return a transposed convolution that multiplies sides by its stride.

    Parameters
    ----------
    image : Tensor, (n, cin, h, w)
        What is up-sampled.
    matrix : Tensor, (cin, size * size * cout)
        The filters; channels innermost.
    size, stride, padding : int
        As in :class:`Form`.
    last : bool
        Whether the result's channels are stored innermost.
    onednn : bool
        Whether the product goes to oneDNN.

    Returns
    -------
    Tensor, (n, cout, h * stride, w * stride)
    """
    n, channels, height, width = image.shape
    pixels = image.permute(0, 2, 3, 1).reshape(-1, channels)
    columns = _multiplied(pixels, matrix, onednn).view(n, height, width, size, size, -1)
    result = columns.new_zeros(n, stride * height, stride * width, columns.shape[-1])
    for i, rows, onto_rows in _overlaps(height, size, stride, padding):
        for j, across, onto_across in _overlaps(width, size, stride, padding):
            result[:, onto_rows, onto_across].add_(columns[:, rows, across, i, j])
    return _stored(result, last)


def convolution_by_im2col(
    image: Tensor, matrix: Tensor, size: int, stride: int, padding: int, last: bool, onednn: bool
) -> Tensor:
    """Return the transpose of :func:`deconvolution_by_im2col`: an ordinary convolution.

    Parameters
    ----------
    image : Tensor, (n, cout, h * stride, w * stride)
        A gradient in the deconvolution's output.
    matrix, size, stride, padding, last, onednn
        As there.

    Returns
    -------
    Tensor, (n, cin, h, w)
    """
    n, channels, *sides = image.shape
    height, width = (side // stride for side in sides)
    pixels = image.permute(0, 2, 3, 1)
    columns = image.new_zeros(n, height, width, size, size, channels)
    for i, rows, from_rows in _overlaps(height, size, stride, padding):
        for j, across, from_across in _overlaps(width, size, stride, padding):
            columns[:, rows, across, i, j].copy_(pixels[:, from_rows, from_across])
    result = _multiplied(columns.view(n * height * width, -1), matrix.t(), onednn)
    return _stored(result.view(n, height, width, -1), last)


def _overlaps(
    side: int, size: int, stride: int, padding: int
) -> Iterator[tuple[int, slice, slice]]:
    """Yield, for each element of a filter, the pixels above that it sends to pixels below."""
    for element in range(size):
        shift = element - padding
        first = max(0, -(shift // stride))
        end = min(side, (stride * side - 1 - shift) // stride + 1)
        if first < end:
            onto = slice(stride * first + shift, stride * (end - 1) + shift + 1, stride)
            yield element, slice(first, end), onto


def _multiplied(a: Tensor, b: Tensor, onednn: bool) -> Tensor:
    # oneDNN knows no fake tensors of a compiler, and no double precision.
    suits = a.device.type == "cpu" and a.dtype == torch.float32 and type(a) is Tensor
    return product(a, b) if suits and onednn else a @ b


def _stored(pixels: Tensor, last: bool) -> Tensor:
    turned = pixels.permute(0, 3, 1, 2)
    return turned if last else turned.contiguous()


_OPERATORS = torch.library.Library("explainaway", "FRAGMENT")
for _function in (deconvolution_by_im2col, convolution_by_im2col):
    _OPERATORS.define(
        f"{_function.__name__}"
        "(Tensor image, Tensor matrix, int size, int stride, int padding, bool last, bool onednn)"
        " -> Tensor"
    )
    # Of operations that run on every device, fake tensors included.
    _OPERATORS.impl(_function.__name__, _function, "CompositeExplicitAutograd")
