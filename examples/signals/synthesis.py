"""Making a larger signal by a generator that has learned one, with the one's spectrum."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from torch import Tensor

from explainaway.resampling import phase_noise, quilted

from .generator import Learned


def made_by(learned: Learned, exemplar: Tensor, seed: int) -> dict[str, Tensor]:
    """Return signals twice as long in each dimension, by the way they were made.

    Latents are drawn from the prior, or are blocks of those of the exemplar, which the network
    joins. A filter and noise make the spectrum that of the exemplar.

    Parameters
    ----------
    learned : Learned
        The generator.
    exemplar : Tensor, (channels, ...)
        What it has learned.
    seed : int
        Of the draws.
    """
    drawn = learned.larger.generate(1, seed=seed)[0].cpu()
    latents = in_blocks(learned.latents, seed)
    joined = learned.larger.reconstruct(latents[None])[0].cpu()
    return {
        "generator": drawn,
        "generator, filter, noise": with_spectrum(exemplar, drawn, seed),
        "blocks of latents, filter, noise": with_spectrum(exemplar, joined, seed),
    }


def with_spectrum(exemplar: Tensor, made: Tensor, seed: int) -> Tensor:
    """Return what was made with its mean and its power at each frequency made the exemplar's.

    Where there is too much it is filtered, where there is too little normal noise is added: a
    linear filter after the network, and the observation's noise. Powers are those of the
    exemplar's principal channels (colours), means over 9 neighbouring frequencies in each
    dimension.

    Parameters
    ----------
    exemplar : Tensor, (channels, ...)
        Whose spectrum it is.
    made : Tensor, (channels, ...)
        Twice as long in each dimension.
    seed : int
        Of the noise.
    """
    count = len(exemplar)
    mean = exemplar.flatten(1).mean(1)
    covariance = exemplar.flatten(1).cov().reshape(count, count)
    axes = torch.linalg.eigh(covariance).eigenvectors

    def principal(signal: Tensor) -> NDArray[np.float64]:
        centred = (signal.flatten(1) - mean[:, None]).double().numpy()
        rotated: NDArray[np.float64] = (axes.T.double().numpy() @ centred).reshape(signal.shape)
        return rotated

    pairs = zip(principal(exemplar), principal(made), strict=True)
    channels = [_matched(one, other, seed + c) for c, (one, other) in enumerate(pairs)]
    back: Tensor = axes @ torch.tensor(np.stack(channels)).float().flatten(1) + mean[:, None]
    return back.reshape(made.shape)


def _matched(
    exemplar: NDArray[np.float64], made: NDArray[np.float64], seed: int
) -> NDArray[np.float64]:
    """Do so for one channel, of mean zero."""
    size = exemplar.shape
    there = made[tuple(map(slice, size))]
    spectra = [np.fft.fftn(one - one.mean()) for one in (exemplar, there)]
    powers = [uniform_filter(abs(one) ** 2, 9, mode="wrap") for one in spectra]
    # Running sums leave rounding errors where there is nothing.
    wanted, found = (np.maximum(power, 1e-9 * power.mean()) for power in powers)
    missing = np.fft.ifftn(spectra[0] * np.sqrt(np.maximum(1 - found / wanted, 0))).real
    noise = phase_noise(missing[None], made.shape, seed)[0]
    # Twice as long has each frequency twice.
    gain = np.sqrt(np.minimum(wanted / found, 1))[np.ix_(*[np.arange(2 * n) // 2 for n in size])]
    matched: NDArray[np.float64] = np.fft.ifftn(np.fft.fftn(made - made.mean()) * gain).real + noise
    return matched


def in_blocks(latents: Tensor, seed: int) -> Tensor:
    """Return blocks of a latent map (c, ...) as one twice as long in each dimension.

    Of an image they are a quilt of 6x6 cells; of a sound they are fifteenths of it, at random.
    """
    size = latents.shape[1:]
    if len(size) == 2:
        made = quilted(latents.double().numpy(), (2 * size[0], 2 * size[1]), min(6, *size), seed)
        return torch.tensor(made).to(latents)
    block = max(size[0] // 15, 2)
    starts = torch.randint(
        size[0] - block + 1, (2 * size[0],), generator=torch.Generator().manual_seed(seed)
    )
    blocks = [latents[:, start : start + block] for start in starts.tolist()]
    return torch.cat(blocks, 1)[:, : 2 * size[0]]
