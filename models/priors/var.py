"""Latent sequences that move by a stable linear transition."""

from typing import Literal, Self

import torch
from torch import Tensor, nn

from ..distributions.stationary import check_stable, stationary_covariance
from ..distributions.vector_autoregression import VectorAutoregression
from ..pieces import Entry
from .base import Context
from .running_transitions import RunningTransitions, scale_of
from .sequence import SequencePrior


class VAR(SequencePrior):
    """First-order vector autoregression, ``z_t = A z_{t-1} + Q^{1/2} ε``, with a stationary start.

    One sequence is one example; the network sees it through :class:`OverTime`. However (A, Q) are
    learned, A stays stable and Q regular: what is learned is one matrix without constraint for
    each (:class:`VectorAutoregression`).

    Parameters
    ----------
    dim : int
        Components of a latent, d.
    length : int
        Latents of a sequence, T.
    transition : float or Tensor, default 0.9
        A, a number times the identity or a matrix (d, d); stable. Where learning starts.
    innovation : float or Tensor, optional
        Q, a number times the identity or a matrix (d, d); symmetric and positive definite. By
        default ``I - A Aᵀ``, with which each latent by itself is standard normal.
    learn : bool, "transition" or "closed form", default False
        Learn A and Q with the network, or A alone with each latent's covariance as it is given
        (Q follows): a network that is free to scale and turn its latents needs no more. In closed
        form both follow the chains: no gradient of the network's is asked, and no rate
        (:class:`RunningTransitions`). Losses are then those of white sequences, as under
        ``Normal(dim, learn=True)``.
    prior_states : float, optional
        In closed form, how many states are reckoned with beside those of the data that tell A and
        Q as they start; by default d. From ``transition=0`` they draw A towards zero, as ridge
        regression does: forecasts from few frames want more of them.

    Raises
    ------
    ValueError
        If a size is not a positive integer, a matrix has another shape, ``transition`` is not
        stable, ``prior_states`` is not positive or given without closed form, or ``innovation`` is
        not symmetric and positive definite.

    References
    ----------
    Han et al. (2017), Experiment 4. The start's density: Hamilton, "Time Series Analysis" (1994),
    section 11.1.

    Examples
    --------
    >>> from explainaway.models import GeneratorModel, Gaussian, Masked, OverTime, VAR, mlp
    >>> model = GeneratorModel(
    ...     VAR(2, length=10, learn=True), OverTime(mlp(2, (5,))), Masked(Gaussian(0.3))
    ... )
    >>> model.generate(3, seed=0).shape
    torch.Size([3, 10, 5])
    """

    entry = Entry(
        "z_t = A z_{t-1} + Q^(1/2) ε, z_1 ~ N(0, S), S = A S Aᵀ + Q",
        "Han et al. (2017), Experiment 4",
        "VAR(2, 3, learn=True)",
    )

    factor: Tensor
    mixing: Tensor

    def __init__(
        self,
        dim: int,
        length: int,
        transition: float | Tensor = 0.9,
        innovation: float | Tensor | None = None,
        learn: bool | Literal["transition", "closed form"] = False,
        prior_states: float | None = None,
    ) -> None:
        super().__init__(dim, length)
        in_closed_form = learn == "closed form"
        if prior_states is not None and not (in_closed_form and prior_states > 0):
            raise ValueError(
                'prior_states must be positive, and is for learn="closed form", got '
                f"{prior_states!r} with learn={learn!r}"
            )
        if learn not in (True, False, "transition", "closed form"):
            raise ValueError(
                f'learn must be True, False, "transition" or "closed form", got {learn!r}'
            )
        matrix = _square("transition", transition, dim)
        check_stable(matrix)
        scale, mixing = _unconstrained(matrix, _stationary(matrix, innovation))
        # The diagonal of the factor is kept as its logarithm.
        factor = scale.tril(-1) + scale.diagonal().log().diag()
        dtype = torch.get_default_dtype()
        for name, value, learned in (
            ("mixing", mixing.to(dtype), learn in (True, "transition")),
            ("factor", factor.to(dtype), learn is True),
        ):
            if learned:
                setattr(self, name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)
        weight = float(dim) if prior_states is None else float(prior_states)
        first = self.distribution()
        self._moments = RunningTransitions(first, weight) if in_closed_form else None

    def of_length(self, length: int) -> Self:
        """Return the same dynamics, with the same parameters, for sequences of another length.

        Where they are learned in closed form they can be learned on from these sequences, from what
        they are now: moments of sequences of another length would not fit.

        Raises
        ------
        ValueError
            If ``length`` is not a positive integer.
        """
        other = super().of_length(length)
        if self._moments is not None:
            # A shallow copy of a module shares the table of its parts.
            other._modules = dict(other._modules)
            weight = self._moments.prior_states
            other._moments = RunningTransitions(other.distribution(), weight)
        return other

    def distribution(self) -> VectorAutoregression:
        """Return the distribution of one sequence, event shape (T, d)."""
        return VectorAutoregression(scale_of(self.factor), self.mixing, self.length)

    @torch.no_grad()
    def starts(self, noise: Tensor) -> Tensor:
        """Return draws of a prior learned in closed form, made of white noise; else the noise."""
        if self._moments is None:
            return noise
        made = self.distribution()
        return made.made_of(noise.reshape(-1, *made.event_shape)).reshape(noise.shape)

    def log_volume(self) -> Tensor | None:
        """Return ``log |det|`` of the map from white sequences, None where it is not learned so."""
        return None if self._moments is None else self.distribution().log_volume()

    def expect_examples(self, num_examples: int) -> None:
        """Be told how many sequences there are."""
        if self._moments is not None:
            self._moments.weights.most.fill_(num_examples)

    @property
    def has_closed_form(self) -> bool:
        """Whether A and Q follow the chains."""
        return self._moments is not None

    @torch.no_grad()
    def closed_form_step(self, latents: Tensor, context: Context | None = None) -> None:
        """Move A and Q towards what explains a batch of sequences (n, T, d) best."""
        if self._moments is None:
            return
        self._moments.add(latents)
        if self._moments.is_due:
            factor, mixing = self._moments.better(self.factor, self.mixing)
            self.factor.copy_(factor)
            self.mixing.copy_(mixing)

    @property
    def transition(self) -> Tensor:
        """A, (d, d)."""
        return self.distribution().transition

    @property
    def innovation(self) -> Tensor:
        """Q, (d, d)."""
        return self.distribution().innovation

    @property
    def covariance(self) -> Tensor:
        """S, the stationary covariance of a latent, (d, d)."""
        return self.distribution().covariance

    def continued(self, latents: Tensor, num_steps: int) -> Tensor:
        """Draw what follows given the last latents of sequences (..., T, d)."""
        return self.distribution().continued(latents[..., -1, :], num_steps)


def _stationary(transition: Tensor, innovation: float | Tensor | None) -> Tensor:
    """Return the stationary covariance, after checking the innovation's."""
    dim = len(transition)
    if innovation is None:
        largest = float(torch.linalg.matrix_norm(transition, 2))
        if not largest < 1:
            raise ValueError(
                "innovation must be given for a transition that stretches some direction (largest "
                f"singular value {largest:.6g}): the latents cannot be standard normal then"
            )
        return torch.eye(dim, dtype=torch.double)
    matrix = _square("innovation", innovation, dim)
    if not torch.allclose(matrix, matrix.mT, rtol=1e-4, atol=1e-7):
        raise ValueError(
            "innovation must be symmetric, a covariance, but differs from its transpose by up to "
            f"{float((matrix - matrix.mT).abs().max()):.3g}"
        )
    smallest = float(torch.linalg.eigvalsh(matrix)[0])
    if not smallest > 0:
        raise ValueError(
            f"innovation must be positive definite, got a smallest eigenvalue of {smallest:.6g}"
        )
    return stationary_covariance(transition, matrix)


def _unconstrained(transition: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Return L and M of :class:`VectorAutoregression` for (A, S)."""
    scale = torch.linalg.cholesky(covariance)
    contraction = torch.linalg.solve_triangular(scale, transition @ scale, upper=False)
    identity = torch.eye(len(scale), dtype=scale.dtype)
    # K = M C⁻ᵀ means I - KᵀK = C⁻¹ C⁻ᵀ.
    inverse_factor = torch.linalg.cholesky(identity - contraction.mT @ contraction)
    mixing = torch.linalg.solve_triangular(inverse_factor.mT, contraction, upper=True, left=False)
    return scale, mixing


def _square(name: str, value: float | Tensor, dim: int) -> Tensor:
    """Return a matrix (d, d) in double precision, a number as that times the identity."""
    matrix = torch.as_tensor(value).detach().cpu().double()
    if matrix.dim() == 0:
        matrix = matrix * torch.eye(dim, dtype=matrix.dtype)
    if matrix.shape != (dim, dim):
        raise ValueError(
            f"{name} must be a number or have shape ({dim}, {dim}), got shape {tuple(matrix.shape)}"
        )
    if not bool(matrix.isfinite().all()):
        raise ValueError(f"{name} must be finite, got {value!r}")
    return matrix
