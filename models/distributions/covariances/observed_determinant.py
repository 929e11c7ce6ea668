"""``log det C_oo`` for a stationary C, exactly, by factorising the smaller of two blocks."""

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

Slices = tuple[Any, ...]

MOST_KNOWN = 20_000
"""Log-determinants, of one mask and one spectrum each, that are remembered."""


@torch.library.custom_op("explainaway::observed_log_determinant", mutates_args=())
def observed_log_determinant(spectrum: Tensor, observed: Tensor, dims: int) -> Tensor:
    """Return ``log det C_oo`` of each signal.

    ``log det C_oo = log det C + log det (C⁻¹)_hh``, h the hidden cells: the block that has fewer
    cells is factorised, once for all signals with the same mask. It takes k³/3 multiplications for
    k cells, and does not depend on the residual. What has been found is remembered for a while:
    learning asks for each value several times before the spectrum changes.

    Parameters
    ----------
    spectrum : Tensor, (*torus) or (channels, *torus)
        Eigenvalues of C, positive.
    observed : bool Tensor, (..., *torus) or (..., channels, *torus)
        True where observed.
    dims : int
        Dimensions of the torus.

    Returns
    -------
    Tensor
        (...) or (..., channels).
    """
    result = spectrum.new_empty(observed.shape[:-dims])
    for places, own, masks, of_mask in _groups(spectrum, observed, dims):
        values = _KNOWN.values(own, masks)
        result[places] = torch.stack(values)[of_mask]
    return result


@observed_log_determinant.register_fake
def _(spectrum: Tensor, observed: Tensor, dims: int) -> Tensor:
    return spectrum.new_empty(observed.shape[:-dims])


@torch.library.custom_op("explainaway::observed_log_determinant_backward", mutates_args=())
def _gradient(gradient: Tensor, spectrum: Tensor, observed: Tensor, dims: int) -> Tensor:
    """Return the gradient in the spectrum, given that of each signal's log-determinant."""
    result = torch.zeros_like(spectrum)
    for places, own, masks, of_mask in _groups(spectrum, observed, dims):
        weights = own.new_zeros(len(masks)).index_add(
            0, of_mask.flatten(), gradient[places].flatten()
        )
        rows = [w * _derivative(own, mask) for w, mask in zip(weights, masks, strict=True)]
        result[places[1:]] = torch.stack(rows).sum(0)
    return result


@_gradient.register_fake
def _(gradient: Tensor, spectrum: Tensor, observed: Tensor, dims: int) -> Tensor:
    return torch.empty_like(spectrum)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    spectrum, observed, ctx.dims = inputs
    ctx.save_for_backward(spectrum, observed)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    return _gradient(gradient, *ctx.saved_tensors, ctx.dims), None, None


observed_log_determinant.register_autograd(_backward, setup_context=_keep)


class _Known:
    """Log-determinants by what they are of, the oldest forgotten first."""

    def __init__(self) -> None:
        self._by_key: dict[tuple[bytes, str, bytes], Tensor] = {}

    def values(self, spectrum: Tensor, masks: Tensor) -> list[Tensor]:
        """Return the log-determinant for each of several masks (m, *torus)."""
        place = f"{spectrum.dtype} {spectrum.device} {tuple(spectrum.shape)}"
        of_spectrum = _digest(spectrum)
        found = []
        for mask, row in zip(masks, masks.cpu(), strict=True):
            key = (of_spectrum, place, _digest(row))
            value = self._by_key.get(key)
            if value is None:
                value = self._by_key[key] = _log_determinant(spectrum, mask)
                if len(self._by_key) > MOST_KNOWN:
                    del self._by_key[next(iter(self._by_key))]
            found.append(value)
        return found


_KNOWN = _Known()


def _digest(tensor: Tensor) -> bytes:
    return hashlib.blake2b(tensor.cpu().contiguous().numpy().tobytes(), digest_size=16).digest()


def _groups(
    spectrum: Tensor, observed: Tensor, dims: int
) -> Iterator[tuple[Slices, Tensor, Tensor, Tensor]]:
    """Yield, for each spectrum, where its signals are, itself, their masks, and which has which."""
    channels = range(len(spectrum)) if spectrum.dim() > dims else [None]
    for channel in channels:
        places: Slices = (...,) if channel is None else (..., channel)
        own = spectrum if channel is None else spectrum[channel]
        at = places if channel is None else (*places, *[slice(None)] * dims)
        seen = observed[at]
        masks, of_mask = torch.unique(seen.reshape(-1, own.numel()), dim=0, return_inverse=True)
        yield places, own, masks.reshape(-1, *own.shape), of_mask.reshape(seen.shape[:-dims])


def _log_determinant(spectrum: Tensor, observed: Tensor) -> Tensor:
    whole = spectrum.log().sum()
    block = _Block.smaller(spectrum, observed)
    value: Tensor = 2 * torch.linalg.cholesky(block.matrix()).diagonal().log().sum()
    return value if block.is_observed else whole + value


def _derivative(spectrum: Tensor, observed: Tensor) -> Tensor:
    """Return the derivative of the log-determinant in each eigenvalue."""
    block = _Block.smaller(spectrum, observed)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(block.matrix()))
    of_block = torch.fft.fftn(block.sum_by_lag(inverse)).real / spectrum.numel()
    derivative: Tensor = of_block if block.is_observed else 1 / spectrum - of_block / spectrum**2
    return derivative


class _Block:
    """The rows and columns of a circulant matrix that belong to some cells.

    An entry is looked up by the difference of its cells' places in a table of all differences, from
    1 - size to size - 1 in each dimension: one subtraction for each entry.
    """

    def __init__(self, eigenvalues: Tensor, cells: Tensor, is_observed: bool) -> None:
        self.is_observed = is_observed
        self._eigenvalues = eigenvalues
        size = eigenvalues.shape
        self._lag = torch.zeros((), dtype=torch.int64, device=cells.device)
        place = torch.zeros((), dtype=torch.int64, device=cells.device)
        middle = 0
        for axis, along in enumerate(torch.nonzero(cells).unbind(1)):
            differences = torch.arange(1 - size[axis], size[axis], device=cells.device)
            self._lag = self._lag[..., None] * size[axis] + differences % size[axis]
            place = place * len(differences) + along
            middle = middle * len(differences) + size[axis] - 1
        self._entries = (place[:, None] - place + middle).flatten()

    @classmethod
    def smaller(cls, spectrum: Tensor, observed: Tensor) -> "_Block":
        """Return that of C for the observed or that of its inverse for the hidden cells."""
        if 2 * int(observed.sum()) <= observed.numel():
            return cls(spectrum, observed, True)
        return cls(1 / spectrum, ~observed, False)

    def matrix(self) -> Tensor:
        """Return the block, (k, k)."""
        by_lag = torch.fft.ifftn(self._eigenvalues).real.flatten()
        by_difference = by_lag[self._lag.flatten()]
        k = round(self._entries.numel() ** 0.5)
        matrix: Tensor = by_difference.index_select(0, self._entries).reshape(k, k)
        return matrix

    def sum_by_lag(self, matrix: Tensor) -> Tensor:
        """Return the sum of a (k, k) matrix over the cells that are a lag apart, (*torus)."""
        lag, entries = self._lag.flatten(), self._entries
        by_difference = matrix.new_zeros(len(lag)).index_add(0, entries, matrix.flatten())
        by_lag = matrix.new_zeros(self._eigenvalues.numel()).index_add(0, lag, by_difference)
        return by_lag.reshape(self._eigenvalues.shape)
