"""Sounds from WAV files."""

from math import gcd
from pathlib import Path

import numpy as np
import torch
from scipy.io import wavfile
from scipy.signal import resample_poly
from torch import Tensor

from .found import MissingDataError, check_count, found, or_file


def load_sound(
    source: str | Path, rate: int, *, count: int | None = None, file: str | None = None
) -> Tensor:
    """Return a sound as a tensor.

    Parameters
    ----------
    source : path
        A WAV file.
    rate : int
        Samples a second of what is returned; a file of another rate is resampled.
    count : int, optional
        Return only the first so many samples.
    file : str, optional
        If the source is a folder that has this file, it is read.

    Returns
    -------
    Tensor, (channels, samples)
        In [-1, 1], single precision: whole numbers are scaled by their type's range.

    Raises
    ------
    MissingDataError
        If the file is not there.
    ValueError
        If it is no WAV file, has no samples, or fewer than ``count``.
    """
    check_count("rate", rate)
    check_count("count", count)
    path = found(source, file, "a WAV file")
    if path.is_dir():
        raise MissingDataError(f"{path} is a folder: expected {or_file('a WAV file', file)}")
    try:
        stored, samples = wavfile.read(path)
    except ValueError as error:
        raise ValueError(f"{path} must be a WAV file: {error}") from None
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float64) - 128) / 128
    elif samples.dtype.kind == "i":
        samples = samples / -float(np.iinfo(samples.dtype).min)
    samples = samples.reshape(len(samples), -1).T
    if stored != rate:
        common = gcd(stored, rate)
        samples = resample_poly(samples, rate // common, stored // common, axis=1)
    if samples.shape[1] < (count or 1):
        raise ValueError(
            f"{path} must have {count or 1} samples or more at {rate} Hz, got {samples.shape[1]}"
        )
    return torch.from_numpy(np.ascontiguousarray(samples[:, :count], dtype=np.float32))
