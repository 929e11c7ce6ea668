"""Deconvolutions of captured graphs as sub-pixel convolutions, where those are faster.

A transposed convolution that up-samples by s is an ordinary one to s² times as many channels, whose
outputs are interleaved. On a processor that takes more multiplications (36 for 25 with filters of
5x5), and less time where the deconvolution has few output channels, as in a network's last layer.

References
----------
Shi et al., "Is the deconvolution layer the same as a convolutional layer?" (2016).
"""

import functools
import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

from .choices import Choices
from .timing import least_seconds

aten = torch.ops.aten

FASTER_BY = 0.8
"""Share of the deconvolution's time that the other form may need to be chosen."""

WORTH_A_TRIAL = 2**22
"""Multiplications from which the two forms are compared: smaller ones take no time."""

TIMED_EXAMPLES = 8
TIMED_CALLS = 3


class Form(NamedTuple):
    """A deconvolution with equal sides, without groups or dilation.

    Attributes
    ----------
    size, stride, padding : int
        Of its filter, in both directions; ``output_padding`` is such that it multiplies the side
        by the stride.
    """

    size: int
    stride: int
    padding: int

    @property
    def reach(self) -> int:
        """How far from a pixel the sub-pixel filter looks, to each side."""
        return (self.stride - 1 + self.padding) // self.stride

    @property
    def is_symmetric(self) -> bool:
        """Whether it looks as far to the left as to the right."""
        return -math.ceil((self.padding - self.size + 1) / self.stride) == self.reach


def use_subpixels(graph: fx.Graph, varying: set[fx.Node], choices: Choices) -> None:
    """Replace the deconvolutions of a graph that are faster as sub-pixel convolutions.

    Parameters
    ----------
    graph : fx.Graph
        Changed in place.
    varying : set of Node
        What depends on the inputs that change at every evaluation: a filter must not, so that it
        is rearranged once.
    choices : Choices
        What is faster here.
    """
    for node in list(graph.nodes):
        form = form_of(node)
        if form is None or node.target is not aten.convolution.default or node.args[1] in varying:
            continue
        image, weight, bias = node.args[:3]
        value, filters = image.meta["val"], weight.meta["val"]
        if value[:, 0].numel() * filters.numel() < WORTH_A_TRIAL:
            continue
        question = (
            form,
            (min(len(value), TIMED_EXAMPLES), *value.shape[1:]),
            filters.shape[1],
            value.is_contiguous(),
            torch.get_num_threads(),
        )
        if not choices.choose(f"subpixels {question}", lambda q=question: subpixels_are_faster(*q)):  # type: ignore[misc]
            continue
        with graph.inserting_before(node):
            arranged = graph.call_function(
                torch.ops.explainaway.subpixel_filters.default,
                (weight, form.stride, form.padding),
            )
            if bias is not None:
                bias = graph.call_function(aten.repeat_interleave.self_int, (bias, form.stride**2))
            reach = [form.reach] * 2
            channels = graph.call_function(
                aten.convolution.default,
                (image, arranged, bias, [1, 1], reach, [1, 1], False, [0, 0], 1),
            )
            result = graph.call_function(aten.pixel_shuffle.default, (channels, form.stride))
        result.meta["val"] = node.meta["val"]
        node.replace_all_uses_with(result)
    graph.eliminate_dead_code()


def form_of(node: fx.Node) -> Form | None:
    """Return the form of a deconvolution that has a sub-pixel one, or of its gradient in the input.

    None for anything else, and for a gradient that is in the filters too: those are being learned.
    """
    arguments: tuple[Any, ...] = node.args
    if node.target is aten.convolution_backward.default:
        if list(arguments[-1]) != [True, False, False] or len(node.users) != 1:
            return None
        image, weight, _, stride, padding, dilation, transposed, output_padding, groups = arguments[
            1:-1
        ]
    elif node.target is aten.convolution.default:
        image, weight, _, stride, padding, dilation, transposed, output_padding, groups = arguments
    else:
        return None
    value, filters = image.meta["val"], weight.meta["val"]
    plain = value.dtype == torch.float32 and value.device.type == "cpu" and value.dim() == 4
    square = all(len(set(sides)) == 1 for sides in (stride, padding, filters.shape[2:]))
    if not transposed or not plain or not square or groups != 1 or set(dilation) != {1}:
        return None
    form = Form(filters.shape[2], stride[0], padding[0])
    scales = set(output_padding) == {form.stride + 2 * form.padding - form.size}
    return form if scales and form.stride > 1 and form.is_symmetric else None


def deconvolved(image: Tensor, weight: Tensor, form: Form) -> Tensor:
    """Return the deconvolution of an image by filters (cin, cout, k, k)."""
    extra = form.stride + 2 * form.padding - form.size
    return torch.conv_transpose2d(
        image, weight, None, form.stride, form.padding, output_padding=extra
    )


def subpixels(image: Tensor, arranged: Tensor, form: Form) -> Tensor:
    """Return the same by the :func:`subpixel_filters`."""
    return torch.pixel_shuffle(torch.conv2d(image, arranged, padding=form.reach), form.stride)


def is_channels_last(tensor: Tensor) -> bool:
    """Return whether channels are stored innermost, and not also one after the other."""
    last = tensor.is_contiguous(memory_format=torch.channels_last)
    return last and not tensor.is_contiguous()


def trial(
    image: tuple[int, ...], filters: tuple[int, ...], layout: torch.memory_format
) -> tuple[Tensor, Tensor]:
    """Return standard normal tensors of two shapes, the same ones every time."""
    generator = torch.Generator().manual_seed(0)
    one, other = (
        torch.randn(shape, generator=generator, dtype=torch.float32).contiguous(
            memory_format=layout
        )
        for shape in (image, filters)
    )
    return one, other


@functools.cache
def subpixels_are_faster(
    form: Form, shape: tuple[int, ...], channels: int, contiguous: bool, num_threads: int
) -> bool:
    """Return whether the sub-pixel form of a deconvolution is clearly faster, measured once.

    Parameters
    ----------
    form : Form
        The deconvolution.
    shape : tuple of int
        Of its input, (n, c, h, w).
    channels : int
        Of its output.
    contiguous : bool
        Whether images are stored channel by channel, or with the channels innermost.
    num_threads : int
        Threads that torch uses now.
    """
    if torch.are_deterministic_algorithms_enabled():
        return False
    layout = torch.contiguous_format if contiguous else torch.channels_last
    image, weight = trial(shape, (shape[1], channels, form.size, form.size), layout)
    with torch.no_grad():
        arranged = subpixel_filters(weight, form.stride, form.padding)

        def plain() -> Tensor:
            return deconvolved(image, weight, form)

        def subpixel() -> Tensor:
            return subpixels(image, arranged, form)

        expected, got = plain(), subpixel()
        # Sums of hundreds of products of standard normal numbers.
        close = torch.allclose(got, expected, rtol=1e-3, atol=1e-2)
        same = close and got.stride() == expected.stride()
        return same and least_seconds(subpixel, TIMED_CALLS) < FASTER_BY * least_seconds(
            plain, TIMED_CALLS
        )


def subpixel_filters(weight: Tensor, stride: int, padding: int) -> Tensor:
    """Return a deconvolution's filters (cin, cout, k, k) as those of its sub-pixel form.

    Output pixel ``stride * i + a`` sees input pixel ``i + δ`` through the filter's element
    ``a + padding - stride * δ``, if there is one.

    Returns
    -------
    Tensor
        (cout * stride², cin, m, m), channels in the order that ``pixel_shuffle`` takes, in the
        memory format of ``weight``.
    """
    size = weight.shape[2]
    reach = Form(size, stride, padding).reach
    ahead = torch.arange(-reach, reach + 1, device=weight.device)
    element = torch.arange(stride, device=weight.device)[:, None] + padding - stride * ahead
    # What lies outside the filter is the zero that is put behind its last element.
    element = torch.where((element >= 0) & (element < size), element, size).flatten()
    padded = torch.nn.functional.pad(weight, (0, 1, 0, 1))
    chosen = padded.index_select(2, element).index_select(3, element)
    # (cin, cout, a, δ, b, ε) to (cout, a, b, cin, δ, ε)
    chosen = chosen.unflatten(3, (stride, -1)).unflatten(2, (stride, -1))
    arranged = chosen.permute(1, 2, 4, 0, 3, 5).flatten(0, 2)
    layout = torch.channels_last if is_channels_last(weight) else torch.contiguous_format
    filters: Tensor = arranged.contiguous(memory_format=layout)
    return filters


_OPERATORS = torch.library.Library("explainaway", "FRAGMENT")
_OPERATORS.define("subpixel_filters(Tensor weight, int stride, int padding) -> Tensor")
# Of operations that run on every device, fake tensors included.
_OPERATORS.impl("subpixel_filters", subpixel_filters, "CompositeExplicitAutograd")
