"""What users keep numbers in, as tensors: arrays with and without a mask, tables, lists."""

import sys
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

COARSE = 0.01
"""Share of a column's range by which rounding may shift its values without a word."""

PAD = (
    "give all examples one length: pad them, torch.nn.utils.rnn.pad_sequence(sequences, "
    "batch_first=True, padding_value=float('nan')), and treat NaN as not observed"
)


def as_tensor(path: str, value: Any, dtype: torch.dtype, device: torch.device) -> Any:
    """Return a container of numbers as a tensor, everything else as it is.

    Where a container says that a value is hidden (a masked array, pandas' NA), it becomes NaN.
    Floating-point numbers take ``dtype``, others keep theirs; all move to ``device``.

    Raises
    ------
    TypeError
        If it holds something else than numbers, or is sparse.
    ValueError
        If a finite number is none in ``dtype``.

    Warns
    -----
    UserWarning
        If ``dtype`` rounds values of a column by a hundredth of their range or more.
    """
    if not isinstance(value, Tensor):
        value = _array_of(path, value)
        if not isinstance(value, np.ndarray):
            return value
        value = _from_array(path, value)
    elif isinstance(value, torch.masked.MaskedTensor):
        hidden = ~value.get_mask()
        value = _with_hidden(path, value.get_data(), hidden)
    if value.layout != torch.strided or value.is_nested:
        if value.is_nested:
            raise TypeError(f"{path} must not be ragged, got a nested tensor: {PAD}")
        raise TypeError(f"{path} {_sparse_words(str(value.layout))} tensor.to_dense()")
    if value.is_inference():
        value = value.clone()
    if not value.is_floating_point():
        return value.to(device)
    return _cast(path, value, dtype, device)


def numbers_in(path: str, value: Any) -> Any:
    """Return nested lists of numbers as an array, everything else as it is.

    Raises
    ------
    ValueError
        If lists differ in length.
    """
    if not isinstance(value, list | tuple) or not value or not _only_numbers(value):
        return value
    try:
        return np.array(value)
    except ValueError:
        raise ValueError(f"{path} must not be ragged, got lists of unequal length: {PAD}") from None


def _only_numbers(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_only_numbers(item) for item in value)
    return isinstance(value, bool | int | float | complex | np.number | np.bool_)


def _array_of(path: str, value: Any) -> Any:
    """Return what can be read as a NumPy array as one."""
    if isinstance(value, np.ndarray):
        return value
    pandas: Any = sys.modules.get("pandas")
    if pandas is not None and isinstance(value, pandas.DataFrame | pandas.Series):
        return _of_table(path, value, pandas)
    sparse: Any = sys.modules.get("scipy.sparse")
    if sparse is not None and sparse.issparse(value):
        raise TypeError(f"{path} {_sparse_words(type(value).__name__)} matrix.toarray()")
    if hasattr(value, "__array__") and not isinstance(value, np.generic | type):
        return np.asarray(value)
    return value


def _sparse_words(kind: str) -> str:
    return (
        f"must be dense, got a sparse {kind}: whether an entry that is not stored is 0 or not "
        "observed is for you to say. NaN where it is not observed, or, if it is 0,"
    )


def _of_table(path: str, value: Any, pandas: Any) -> Any:
    """Return a data frame or series of numbers as an array, its missing values as NaN."""
    table = value.to_frame() if isinstance(value, pandas.Series) else value
    is_number = pandas.api.types.is_numeric_dtype
    others = [f"{n!r} ({t})" for n, t in table.dtypes.items() if not is_number(t)]
    if others:
        raise TypeError(
            f"{path} must be a table of numbers, got the columns {', '.join(others)}: leave them "
            "out or write them as numbers (categories: column.cat.codes, NaN for -1)"
        )
    if bool(table.isna().to_numpy().any()):
        return value.to_numpy(dtype=np.float64, na_value=np.nan)
    return value.to_numpy(dtype=np.result_type(*(_plain_type(t) for t in table.dtypes)))


def _plain_type(dtype: Any) -> np.dtype[Any]:
    """Return NumPy's type of a column: of a nullable or sparse one, that of its numbers."""
    if isinstance(dtype, np.dtype):
        return dtype
    inner = getattr(dtype, "numpy_dtype", getattr(dtype, "subtype", np.float64))
    return np.dtype(inner)


def _from_array(path: str, value: np.ndarray[Any, Any]) -> Tensor:
    if value.dtype.kind not in "biufc":
        if value.dtype.kind == "O" and any(
            isinstance(v, Sequence | np.ndarray) for v in value.flat
        ):
            raise ValueError(f"{path} must not be ragged, got an array of sequences: {PAD}")
        raise TypeError(
            f"{path} must hold numbers, got an array of dtype {value.dtype}: write it as numbers, "
            "NaN where a value is missing"
        )
    if value.dtype.kind == "f" and value.dtype.itemsize > 8:
        value = value.astype(np.float64)
    hidden = np.ma.getmaskarray(value) if isinstance(value, np.ma.MaskedArray) else None
    plain = np.asarray(value)
    plain = plain.astype(plain.dtype.newbyteorder("="), copy=not plain.flags.writeable)
    tensor = torch.from_numpy(np.ascontiguousarray(plain) if plain.ndim else plain)
    return tensor if hidden is None else _with_hidden(path, tensor, torch.from_numpy(hidden))


def _with_hidden(path: str, value: Tensor, hidden: Tensor) -> Tensor:
    """Return values of a masked array with NaN where they are hidden."""
    if not bool(hidden.any()):
        return value
    if value.dtype == torch.bool or value.is_complex():
        raise TypeError(
            f"{path} is a masked array of {value.dtype} with hidden values: what they are "
            "cannot be written as NaN; give plain values"
        )
    if not value.is_floating_point():
        value = value.to(torch.float64)
    return torch.where(hidden, torch.nan, value)


def _cast(path: str, value: Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return floating-point values in another precision, where that leaves what they say."""
    made = value.to(device, dtype)
    given, taken = torch.finfo(value.dtype), torch.finfo(dtype)
    if (given.eps >= taken.eps and given.max <= taken.max) or value.numel() == 0:
        return made
    infinite = made.isinf().cpu() & value.isfinite().cpu()
    if bool(infinite.any()):
        place = torch.nonzero(infinite)[0].tolist()
        raise ValueError(
            f"{path}{place} = {float(value[tuple(place)]):g} is too large for the model's "
            f"{dtype}: rescale the data, or take model.double()"
        )
    if value.dim() == 0:
        return made
    low = value.nan_to_num(torch.inf).amin(0).to(torch.float64)
    high = value.nan_to_num(-torch.inf).amax(0).to(torch.float64)
    extent, size = high - low, torch.maximum(low.abs(), high.abs())
    # Columns that are constant up to the rounding of what was given have lost nothing.
    coarse = (taken.eps * size > COARSE * extent) & (extent > 16 * given.eps * size)
    if bool(coarse.any()):
        cell = torch.nonzero(coarse)[0].tolist()
        of = "".join(f", {i}" for i in cell)
        warnings.warn(
            f"{path} loses what differs between examples: {path}[:{of}] ranges from "
            f"{float(low[tuple(cell)]):.10g} to {float(high[tuple(cell)]):.10g}, which the model's "
            f"{dtype} rounds by up to {float(taken.eps * size[tuple(cell)] / 2):.3g}; subtract its "
            "mean, or take model.double()",
            stacklevel=2,
        )
    return made
