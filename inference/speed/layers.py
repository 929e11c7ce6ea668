"""Batch normalisation by running statistics, folded into the layer before it while it is captured.

In evaluation mode it multiplies each channel by a factor and adds a term, neither of which depends
on what is evaluated: ``s * (W x + b) + t`` is ``(s W) x + (s b + t)``, whose filters are scaled
once. That is the same function with other roundings, and two passes over every map less.

References
----------
Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only
inference" (2018), section 3.2.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

WORTH_FOLDING = 2**14
"""Numbers in a map from which its normalisation is folded: smaller ones take no time."""

_CONVOLUTIONS = {F.conv1d, F.conv2d, F.conv3d}
_TRANSPOSED = {F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d}
_VIEWS = {Tensor.view, Tensor.reshape, Tensor.unflatten, torch.reshape, torch.unflatten}


class _Layer(NamedTuple):
    """A layer of weights that has been evaluated.

    Attributes
    ----------
    number : int
        In the order of evaluation.
    again : callable
        From a weight and a bias to the layer's output with those, in the shape that is normalised.
    weight, bias
        Its own.
    axis : int
        Of the weight, along which its output channels lie.
    repeats : int
        Outputs of the layer for each channel that is normalised.
    """

    number: int
    again: Callable[[Tensor, Tensor], Tensor]
    weight: Tensor
    bias: Tensor | None
    axis: int
    repeats: int


class FoldedNormalisation(TorchFunctionMode):
    """Evaluates layers with scaled weights instead of normalising what they give.

    Left as it is: normalisation by the batch's own statistics, and of a layer whose output is used
    elsewhere too. That may turn out later: then ``shared`` holds the layer's number, and the
    function has to be run again with it as ``skipped``.

    Parameters
    ----------
    skipped : collection of int
        Numbers of layers to leave alone.
    """

    def __init__(self, skipped: Collection[int] = ()) -> None:
        super().__init__()
        self.shared: set[int] = set()
        self._skipped = skipped
        self._folded: set[int] = set()
        self._used: set[int] = set()
        self._layers: dict[int, _Layer] = {}
        # Outputs are found by identity, so they must not go away.
        self._outputs: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.batch_norm:
            given = _named(_NORM, args, kwargs)
            layer = self._layers.get(id(given["input"]))
            if layer is not None and _is_foldable(given, layer) and self._may_fold(layer):
                self._folded.add(layer.number)
                return _folded(given, layer)
        layer = self._layers.get(id(args[0])) if args and func in _VIEWS else None
        output = func(*args, **kwargs)
        if layer is not None:
            self._note_view(layer, args, kwargs, output)
        elif any(isinstance(value, Tensor) for value in tree_leaves(output)):
            # What asks for a shape uses no values.
            self._note_uses(args, kwargs)
        if func is F.linear or func in _CONVOLUTIONS or func in _TRANSPOSED:
            self._note_layer(func, args, kwargs, output)
        return output

    def _may_fold(self, layer: _Layer) -> bool:
        return layer.number not in self._skipped and layer.number not in self._used

    def _note_uses(self, args: Any, kwargs: Any) -> None:
        """Note the layers whose outputs are used otherwise."""
        for value in tree_leaves((args, kwargs)):
            layer = self._layers.get(id(value))
            if layer is not None:
                self._used.add(layer.number)
                if layer.number in self._folded:
                    self.shared.add(layer.number)

    def _note_layer(self, func: Any, args: Any, kwargs: Any, output: Tensor) -> None:
        given = _named(("input", "weight", "bias"), args, kwargs)
        rest = args[3:], {k: v for k, v in kwargs.items() if k not in given}
        groups = rest[1].get("groups", rest[0][3] if len(rest[0]) > 3 else 1)
        transposed = func in _TRANSPOSED
        if transposed and groups != 1:
            return

        def again(weight: Tensor, bias: Tensor) -> Tensor:
            result: Tensor = func(given["input"], weight, bias, *rest[0], **rest[1])
            return result

        number = len(self._outputs)
        axis = 1 if transposed else 0
        self._remember(
            output, _Layer(number, again, given["weight"], given.get("bias"), axis, repeats=1)
        )

    def _note_view(self, layer: _Layer, args: Any, kwargs: Any, view: Tensor) -> None:
        """From (n, c * h * w) to (n, c, h, w)."""
        source: Tensor = args[0]
        if source.dim() != 2 or view.dim() < 3 or len(view) != len(source):
            self._note_uses(args, kwargs)
            return

        def again(weight: Tensor, bias: Tensor) -> Tensor:
            return layer.again(weight, bias).view(view.shape)

        repeats = math.prod(view.shape[2:])
        self._remember(view, layer._replace(again=again, repeats=repeats))

    def _remember(self, output: Tensor, layer: _Layer) -> None:
        self._layers[id(output)] = layer
        self._outputs.append(output)


_NORM = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")


def _named(names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {**dict(zip(names, args, strict=False)), **{k: kwargs[k] for k in names if k in kwargs}}


def _is_foldable(norm: Mapping[str, Any], layer: _Layer) -> bool:
    image: Tensor = norm["input"]
    tensors = [norm["running_mean"], norm["running_var"], layer.weight]
    tensors += [v for v in (norm.get("weight"), norm.get("bias"), layer.bias) if v is not None]
    fixed = not norm.get("training", False) and all(
        tensor is not None and tensor.is_leaf and tensor.dtype == image.dtype for tensor in tensors
    )
    return fixed and image.numel() >= WORTH_FOLDING


def _folded(norm: Mapping[str, Any], layer: _Layer) -> Tensor:
    scale = torch.rsqrt(norm["running_var"] + norm.get("eps", 1e-5))
    if norm.get("weight") is not None:
        scale = norm["weight"] * scale
    bias = -norm["running_mean"] * scale
    if norm.get("bias") is not None:
        bias = norm["bias"] + bias
    if layer.repeats > 1:
        scale, bias = (v.repeat_interleave(layer.repeats) for v in (scale, bias))
    if layer.bias is not None:
        bias = bias + layer.bias * scale
    shape = [1] * layer.weight.dim()
    shape[layer.axis] = -1
    return layer.again(layer.weight * scale.view(shape), bias)
