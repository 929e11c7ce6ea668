"""How far a synthesised sound texture is from its exemplar, and how much of it is copied."""

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NUM_BANDS = 24
LOWEST, MODULATIONS = 60.0, (1.5, 3.0, 6.0, 12.5, 25.0, 50.0, 100.0, 200.0)
"""Centre of the lowest band, and edges of the modulation bands, in Hz."""


class SoundStatistics(NamedTuple):
    """Time-averaged statistics of a sound in the bands of a cochlear filterbank.

    Attributes
    ----------
    levels : array, (bands,)
        Root mean square of each band, in decibels.
    moments : array, (2, bands)
        Of the compressed envelopes: standard deviation over the mean, and skewness.
    modulations : array, (modulation bands, bands)
        Root of the share of an envelope's variance in octaves of modulation from 1.5 to 200 Hz.
    correlations : array, (bands * (bands - 1) / 2,)
        Of the envelopes of all pairs of bands.
    """

    levels: Array
    moments: Array
    modulations: Array
    correlations: Array


def sound_statistics(sound: Array, rate: int) -> SoundStatistics:
    """Return the statistics by which listeners recognise sound textures.

    Parameters
    ----------
    sound : array, (t,)
        Samples, at least half a second.
    rate : int
        Samples in a second, at least 4,000.

    Raises
    ------
    ValueError
        If the sound is not of shape (t,), is too short, or the rate too low.

    References
    ----------
    McDermott & Simoncelli, "Sound texture perception via statistics of the auditory periphery:
    evidence from sound synthesis" (2011). Their half-cosine filters on the ERB scale and envelopes
    to the power 0.3; of their statistics those that are neither phases nor fourth moments.
    """
    if rate < 4000:
        raise ValueError(f"rate must be at least 4000 samples in a second, got {rate}")
    if sound.ndim != 1 or 2 * len(sound) < rate:
        raise ValueError(
            f"sound must have shape (t,), at least half a second ({rate // 2} samples), "
            f"got {sound.shape}"
        )
    spectrum = np.fft.rfft(sound)
    filters = _filters(np.fft.rfftfreq(len(sound), 1 / rate), rate)
    # An analytic signal has no negative frequencies; its modulus is the envelope.
    analytic = np.zeros((NUM_BANDS, len(sound)), dtype=np.complex128)
    analytic[:, : len(spectrum)] = 2 * filters * spectrum
    modulus = np.abs(np.fft.ifft(analytic))
    # Up to 200 Hz nothing of the envelope is needed beyond 400 samples in a second.
    length = round(len(sound) * 2 * MODULATIONS[-1] / rate)
    slow = np.fft.rfft(modulus**0.3)[:, : length // 2 + 1]
    envelopes = np.fft.irfft(slow, length) * length / len(sound)
    mean, deviation = envelopes.mean(1), np.maximum(envelopes.std(1), 1e-12)
    centred = (envelopes - mean[:, None]) / deviation[:, None]
    power = np.abs(np.fft.rfft(centred)) ** 2
    frequencies = np.fft.rfftfreq(length, 1 / (2 * MODULATIONS[-1]))
    octaves = [
        power[:, (low <= frequencies) & (frequencies < high)].sum(1)
        for low, high in itertools.pairwise(MODULATIONS)
    ]
    return SoundStatistics(
        10 * np.log10((modulus**2).mean(1) / 2 + 1e-12),
        np.stack([deviation / np.maximum(mean, 1e-12), (centred**3).mean(1)]),
        np.sqrt(np.stack(octaves) / power.sum(1)),
        np.corrcoef(centred)[np.triu_indices(NUM_BANDS, 1)],
    )


def sound_distances(one: SoundStatistics, other: SoundStatistics) -> Array:
    """Return the mean square differences of the four kinds of statistics, (4,).

    Of levels, moments, modulations and correlations. Short sounds have noisy statistics, which are
    further apart: compare sounds of equal length.
    """
    return np.array([((a - b) ** 2).mean() for a, b in zip(one, other, strict=True)])


def nearest_excerpts(
    sound: Array, exemplar: Array, length: int, count: int = 100, seed: int = 0
) -> Array:
    """Return how far excerpts of a sound are from the nearest of the exemplar.

    Parameters
    ----------
    sound : array, (t,)
        Where the excerpts are taken, at random places.
    exemplar : array, (s,)
        Where they are looked for, at all places.
    length : int
        Of an excerpt, in samples.
    count : int, default 100
        Number of excerpts.
    seed : int, default 0
        Of the places.

    Returns
    -------
    array, (count,)
        Mean square differences, over the mean squares of the excerpt. 0 is copied; silence, which
        is near to everything, would have 1.

    Raises
    ------
    ValueError
        If an excerpt is longer than a sound.
    """
    longest = min(len(sound), len(exemplar))
    if not 1 <= length <= longest:
        raise ValueError(f"length must lie between 1 and {longest} samples, got {length}")
    starts = np.random.default_rng(seed).integers(len(sound) - length + 1, size=count)
    excerpts = sound[starts[:, None] + np.arange(length)]
    size = len(exemplar)
    products = np.fft.irfft(np.conj(np.fft.rfft(excerpts, size)) * np.fft.rfft(exemplar), size)
    squares = np.convolve(exemplar**2, np.ones(length), mode="valid")
    own = np.maximum((excerpts**2).sum(1), 1e-12)
    apart = own[:, None] - 2 * products[:, : size - length + 1] + squares
    nearest: Array = np.maximum(apart.min(1), 0) / own
    return nearest


def _filters(frequencies: NDArray[np.floating], rate: int) -> Array:
    """Return half cosines of equal width in equivalent rectangular bandwidths, (bands, f)."""
    low, high, place = (
        9.265 * np.log(1 + np.asarray(hertz) / 228.8455)
        for hertz in (LOWEST, 0.45 * rate, frequencies)
    )
    centres = np.linspace(low, high, NUM_BANDS)
    away = (place - centres[:, None]) / (centres[1] - centres[0])
    return np.where(np.abs(away) < 1, np.cos(away * np.pi / 2), 0.0)
