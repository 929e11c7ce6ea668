"""Stationary Gaussian noise with a learned spectrum."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ..arguments import first_place
from ..distributions.covariances import Circulant, Covariance, Dense, ObservedCirculant
from ..distributions.covariances.fourier import cross_spectrum, mirrored
from ..pieces import Entry
from .base import Context
from .correlated import CorrelatedGaussian
from .noise_settings import Learning, check_learning, check_nugget, checked_scale, checked_sizes
from .white_start import WhiteStart

DENSE_CELLS = 128
"""Cells of a signal up to which masked noise is handled by a matrix for each example."""


class ColoredGaussian(CorrelatedGaussian):
    """Stationary Gaussian noise, ``y ~ N(signal, C)`` with C diagonal in the Fourier basis.

    The noise lives on a torus: of the data's own size, so that opposite edges are neighbours, or
    larger by ``padding``, of which the data are a window. Everything is exact:

    - all cells observed and no padding: O(N log N) for N cells;
    - else, up to 128 cells: a Cholesky factor for each example, made anew only when the mask or
      the spectrum changes;
    - larger: conjugate gradients, a few tens of Fourier transforms for each energy with its
      gradient, to ten times the precision of the dtype. ``log det`` of the observed cells'
      covariance, a constant of the latents, is found by factorising the block of the observed or of
      the hidden cells, whichever is smaller, once for each different mask and spectrum: .1 to .2 s
      for each example of 64 x 64 cells half of which are hidden.

    Hidden cells are predicted from the signal and from their neighbours' residuals.

    Noise that is coloured from the start explains what the network should learn. So it starts white
    and stays so for ``white_batches`` batches; then the spectrum follows the residual.

    Parameters
    ----------
    shape : int or sequence of int
        Of one signal (length,) or image (h, w). Data are of this shape or have channels before it,
        (channels, length) or (channels, h, w), whose noise is independent.
    scale : float or Tensor, default 1
        Standard deviation of the noise at each frequency, in the units of y. A number is white
        noise; a tensor that broadcasts to (channels, *torus), in the order of ``torch.fft.fftn``,
        is any other. With (channels, 1, 1), or (channels, 1) for signals, each channel has a
        spectrum of its own; else they share one.
    inverse_link : callable, optional
        From the network's linear output to the signal, elementwise, as in :class:`Gaussian`.
    learn_spectrum : bool or "closed form", default "closed form"
        Learn the spectrum in closed form: the running mean, over batches, of the periodogram of
        the residuals, their hidden cells drawn given the observed ones (stochastic approximation of
        EM). True: by its gradient, from the first batch; False: keep it.
    padding : int or sequence of int, default 0
        Cells by which the torus is larger than the data; about the length over which the noise is
        correlated keeps opposite edges independent.
    nugget : float, default 0.01
        Smallest variance at any frequency, over the smallest one at the start: what keeps C
        positive definite, and the number of iterations small.
    white_batches : int, default 200
        Batches after which the closed form begins.

    Raises
    ------
    ValueError
        If a size is not positive, ``scale`` is not positive, finite and the same at k and -k, or
        ``nugget`` is not between 0 and 1.

    References
    ----------
    Whittle, "Estimation and information in stationary time series" (1953); Delyon, Lavielle &
    Moulines, "Convergence of a stochastic approximation version of the EM algorithm" (1999);
    Stroud, Stein & Lysen, "Bayesian and maximum likelihood estimation for Gaussian processes on an
    incomplete lattice" (2017), for the torus.

    Examples
    --------
    >>> import torch
    >>> from explainaway.models import ColoredGaussian
    >>> observation = ColoredGaussian((64, 64), scale=0.3, padding=16)
    >>> observation.spectrum.shape
    torch.Size([80, 80])
    >>> observation.distribution(torch.zeros(2, 3, 64, 64)).event_shape
    torch.Size([3, 64, 64])
    """

    entry = Entry(
        "y ~ N(inverse_link(output), C), C = F* diag(spectrum) F",
        "Whittle (1953)",
        "ColoredGaussian((4, 5), 0.3)",
        shape=(2, 4, 5),
    )

    log_excess: Tensor
    floor: Tensor

    def __init__(
        self,
        shape: int | Sequence[int],
        scale: float | Tensor = 1.0,
        inverse_link: Callable[[Tensor], Tensor] | None = None,
        learn_spectrum: Learning = "closed form",
        *,
        padding: int | Sequence[int] = 0,
        nugget: float = 0.01,
        white_batches: int = 200,
    ) -> None:
        super().__init__(inverse_link)
        self.shape = checked_sizes("shape", shape)
        dims = len(self.shape)
        if dims > 2:
            raise ValueError(
                "shape must be that of a signal (length,) or an image (h, w), without channels, "
                f"got {self.shape}"
            )
        more = checked_sizes("padding", padding, smallest=0)
        more = more * dims if len(more) == 1 else more
        if len(more) != dims:
            raise ValueError(
                f"padding must be a number or one for each dimension of shape {self.shape}, got "
                f"{padding!r}"
            )
        self.torus = tuple(a + b for a, b in zip(self.shape, more, strict=True))
        check_learning("learn_spectrum", learn_spectrum)
        check_nugget(nugget)
        variance = self._at_each_frequency(scale) ** 2
        self.register_buffer("floor", nugget * variance.min())
        log_excess = (variance - self.floor).log()
        if learn_spectrum is True:
            self.log_excess = nn.Parameter(log_excess)
        else:
            self.register_buffer("log_excess", log_excess)
        self.start = WhiteStart(white_batches) if learn_spectrum == "closed form" else None

    @property
    def spectrum(self) -> Tensor:
        """Variance of the noise at each frequency, (*torus) or (channels, *torus)."""
        excess = self.log_excess.exp()
        return self.floor + 0.5 * (excess + mirrored(excess, len(self.torus)))

    @property
    def autocovariance(self) -> Tensor:
        """Covariance of cells a lag apart, (*torus) or (channels, *torus): lag 0 comes first."""
        axes = tuple(range(-len(self.torus), 0))
        by_lag: Tensor = torch.fft.ifftn(self.spectrum, dim=axes).real
        return by_lag

    @property
    def has_closed_form(self) -> bool:
        """Whether the spectrum is learned in closed form."""
        return self.start is not None

    def covariance(self, mask: Tensor | None = None) -> Covariance:
        """Return the covariance of each channel, with what is observed of it."""
        dims = len(self.shape)
        if mask is None and self.shape == self.torus:
            return Circulant(self.spectrum, dims)
        cells = ObservedCirculant(self.spectrum, self.shape, mask)
        if torch.Size(self.shape).numel() > DENSE_CELLS:
            return cells
        return Dense(cells.matrix(), mask, dims)

    def check_shape(self, name: str, shape: torch.Size) -> None:
        """Raise ValueError if an array (n, ...) has not the shape and the channels of the noise."""
        dims = len(self.shape)
        channels = tuple(self.log_excess.shape[:-dims])
        fits = len(shape) > dims and shape[-dims:] == self.shape
        if not fits or (channels and shape[1:-dims] != channels):
            expected = ", ".join(map(str, ("n", *(channels or ("...",)), *self.shape)))
            raise ValueError(
                f"{name} must have shape ({expected}), as the noise has, got {tuple(shape)}"
            )

    @torch.no_grad()
    def learn_from_residuals(
        self, residual: Tensor, mask: Tensor | None = None, context: Context | None = None
    ) -> None:
        """Move the spectrum towards the mean periodogram of observed residuals (n, ...)."""
        rate = 0.0 if self.start is None else self.start.next_rate()
        if self.start is None or rate == 0.0:
            return
        spectrum, dims = self.spectrum, len(self.shape)
        # Seeded by the batch's number: a run that is resumed draws the same.
        generator = torch.Generator(residual.device).manual_seed(int(self.start.num_batches))
        noise = ObservedCirculant(spectrum, self.shape, mask).draw_given(residual, generator)
        periodogram = cross_spectrum(noise, noise, dims)
        shared = (0,) if spectrum.dim() > dims else tuple(range(residual.dim() - dims))
        moved = torch.lerp(spectrum, periodogram.mean(shared), rate)
        excess = (moved - self.floor).clamp(min=torch.finfo(moved.dtype).eps * self.floor)
        self.log_excess.copy_(excess.log())

    def _at_each_frequency(self, scale: float | Tensor) -> Tensor:
        """Return standard deviations as (*torus) or (channels, *torus)."""
        value = checked_scale(scale)
        dims = len(self.torus)
        sizes = (1,) * max(0, dims - value.dim()) + tuple(value.shape)
        if len(sizes) > dims + 1 or any(
            size not in (1, whole) for size, whole in zip(sizes[-dims:], self.torus, strict=True)
        ):
            raise ValueError(
                f"scale must broadcast to the torus {self.torus}, or to channels of it, got shape "
                f"{tuple(value.shape)}"
            )
        value = value.expand(*sizes[:-dims], *self.torus).clone()
        apart = (value - mirrored(value, dims)).abs() > 1e-5 * value
        if bool(apart.any()):
            raise ValueError(
                "scale must be the same at the frequencies k and -k, as that of real noise is; it "
                f"is not at {list(first_place(apart))}"
            )
        return value
