"""Data sets and loaders, read into memory: as they say, or refused by what cannot be kept."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
)

from .containers import PAD, as_tensor

READ_TWICE = 32
"""Examples that are read a second time, to see whether they stay what they are."""

CHAINS = "each example keeps a chain of its own, so it must be found again by its index"


def unload(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Read a loader's or a map-style data set's examples into memory, in their own order.

    A loader's ``collate_fn`` makes its batches, of its own size; they are put together. In which
    order examples are visited, and how many at once, is the learning loop's business.

    Raises
    ------
    ValueError
        If a loader leaves out or repeats examples or orders them by a rule of its own, if
        examples are others each time they are read, or batches cannot be put together.
    """
    for position, value in enumerate(args):
        if isinstance(value, DataLoader | Dataset) and len(args) > 1:
            raise ValueError(
                f"data[{position}] is a {type(value).__name__}, which must be the only argument: "
                "its items are all that the model is called with"
            )
    if len(args) != 1 or not isinstance(args[0], DataLoader | Dataset):
        return args
    loader = args[0] if isinstance(args[0], DataLoader) else None
    source: Any = args[0] if loader is None else loader.dataset
    if isinstance(source, IterableDataset) or not hasattr(source, "__len__"):
        raise ValueError(
            f"data must be a data set with a length, got {type(source).__name__}: {CHAINS}"
        )
    if loader is not None:
        _check_order(loader, len(source))
    batches = _read(loader, source)
    data = batches[0] if len(batches) == 1 else _joined("", batches)
    return tuple(data) if isinstance(data, list | tuple) else (data,)


def _check_order(loader: DataLoader[Any], num_examples: int) -> None:
    """Raise ValueError unless a loader gives every example once, in order or shuffled."""
    if type(loader).__iter__ is not DataLoader.__iter__:
        raise ValueError(
            f"data is a {type(loader).__name__}, which makes batches in its own way: read it "
            "into tensors first"
        )
    batches = loader.batch_sampler
    if batches is not None and type(batches) is not BatchSampler:
        raise ValueError(
            f"data is a loader with batch_sampler {type(batches).__name__}, which would not be "
            "followed: minibatches are drawn by AlternatingBackProp(batch_size=...); leave it out"
        )
    sampler: Any = loader.sampler if batches is None else batches.sampler
    plain = type(sampler) is SequentialSampler or (
        type(sampler) is RandomSampler
        and not sampler.replacement
        and sampler.num_samples == num_examples
    )
    if not plain or len(sampler) != num_examples:
        raise ValueError(
            f"data is a loader with sampler {type(sampler).__name__}, which would not be "
            "followed: every example is visited once an epoch, in an order of the loop's own. For "
            "some of the examples give torch.utils.data.Subset(dataset, indices)"
        )
    size = None if batches is None else batches.batch_size
    if batches is not None and batches.drop_last and size and num_examples % size:
        raise ValueError(
            f"data is a loader with drop_last=True, which leaves out {num_examples % size} of "
            f"{num_examples} examples: every example is learned from; leave it out"
        )


def _read(loader: DataLoader[Any] | None, source: Any) -> list[Any]:
    """Return the batches of a loader, or all examples as one where it collates as torch does."""
    collate: Any = default_collate if loader is None else loader.collate_fn
    n, size = len(source), len(source)
    if loader is not None and loader.batch_sampler is None:
        # Batches are switched off: what is called collate_fn is given single examples.
        convert, collate = collate, lambda items: default_collate([convert(i) for i in items])
    elif collate is not default_collate and loader is not None:
        of_loader: Any = loader.batch_sampler
        size = of_loader.batch_size

    def read(indices: range) -> Any:
        return _collated(collate, [source[i] for i in indices])

    if n == 0:
        raise ValueError("data must hold at least one example, got an empty data set")
    parts = [range(start, min(start + size, n)) for start in range(0, n, size)]
    batches = [read(part) for part in parts]
    again = parts[0][:READ_TWICE] if len(parts) == 1 else parts[0]
    first = batches[0] if again == parts[0] else read(again)
    if not _same(first, read(again)):
        raise ValueError(
            "data is a data set whose examples are others each time they are read (a random "
            f"transform, or a random collate_fn): {CHAINS}, and its data must stay what they are. "
            "Leave what is random out, or read several versions as so many examples"
        )
    return batches


def _collated(collate: Any, items: list[Any]) -> Any:
    if collate is default_collate:
        items = [_readable(item) for item in items]
    try:
        return collate(items)
    except RuntimeError as error:
        if "equal size" not in str(error):
            raise
        raise ValueError(
            f"data is a data set whose examples differ in shape: {PAD}, in the data set or by a "
            "collate_fn"
        ) from error


def _readable(item: Any) -> Any:
    """Return an example with the hidden values of masked arrays as NaN."""
    if isinstance(item, Mapping):
        return {key: _readable(value) for key, value in item.items()}
    if isinstance(item, tuple | list) and not hasattr(item, "_fields"):
        return type(item)(_readable(value) for value in item)
    if isinstance(item, np.ma.MaskedArray):
        return as_tensor("data", item, torch.get_default_dtype(), torch.device("cpu"))
    return item


def _joined(path: str, batches: list[Any]) -> Any:
    """Put what batches hold together, one batch after the other."""
    first = batches[0]
    if isinstance(first, Mapping):
        if any(set(batch) != set(first) for batch in batches):
            raise ValueError(f"collate_fn gives batches with other keys than {sorted(first)}")
        return {k: _joined(f"{path}[{k!r}]", [batch[k] for batch in batches]) for k in first}
    if isinstance(first, tuple | list):
        parts = zip(*batches, strict=True)
        made = [_joined(f"{path}[{i}]", list(part)) for i, part in enumerate(parts)]
        return type(first)(*made) if hasattr(first, "_fields") else made
    tensors = [
        as_tensor(f"data{path}", batch, torch.get_default_dtype(), torch.device("cpu"))
        if not isinstance(batch, Tensor)
        else batch
        for batch in batches
    ]
    if not all(isinstance(tensor, Tensor) and tensor.dim() for tensor in tensors):
        raise ValueError(
            f"collate_fn gives {type(first).__name__} in data{path}, which differs from batch to "
            "batch: it must give tensors that lead with the example"
        )
    shapes = sorted({tuple(tensor.shape[1:]) for tensor in tensors})
    if len(shapes) > 1:
        raise ValueError(
            f"collate_fn gives batches whose examples have the shapes {shapes[:3]} in data{path}: "
            f"{PAD}"
        )
    return torch.cat(tensors)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Mapping):
        return all(_same(a[key], b[key]) for key in a)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, Tensor):
        if a.shape != b.shape:
            return False
        return torch.equal(a.nan_to_num(), b.nan_to_num()) and torch.equal(a.isnan(), b.isnan())
    if isinstance(a, np.ndarray):
        return _same(torch.from_numpy(np.asarray(a)), torch.from_numpy(np.asarray(b)))
    return bool(a == b) or a is b
