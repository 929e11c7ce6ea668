"""The linear pieces of a ReLU network: factor analysis whose loadings are chosen by the latent.

A network of affine layers and ReLUs is linear wherever its pattern δ of active units stays the
same: ``f(z) = W_δ z + b_δ`` (Han et al. 2017, section 2: hierarchical factor analysis).
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .modes import evaluating

PIECEWISE_LINEAR = (nn.ReLU, nn.LeakyReLU)


class LinearPiece(NamedTuple):
    """The linear map that a network is around some latents, one for each example.

    Attributes
    ----------
    basis : Tensor, (n, *output, *latent)
        ``W_δ``: how each output changes with each latent component.
    bias : Tensor, (n, *output)
        ``b_δ``: what the piece gives at the origin, whether or not the origin lies in it.
    pattern : bool Tensor, (n, units)
        ``δ``: which units are active, layer by layer.
    """

    basis: Tensor
    bias: Tensor
    pattern: Tensor

    def at(self, latents: Tensor) -> Tensor:
        """Return ``W_δ z + b_δ``, (n, *output); that is f(z) where z has the same pattern."""
        examples = len(latents)
        flat = self.basis.reshape(examples, -1, latents[0].numel())
        product = flat @ latents.reshape(examples, -1, 1)
        return product.reshape(self.bias.shape) + self.bias


@torch.no_grad()
def activation_pattern(network: nn.Module, latents: Tensor) -> Tensor:
    """Return which units of a ReLU network are active.

    Parameters
    ----------
    network : nn.Module
        From latents (n, ...) to outputs (n, ...), with ``nn.ReLU`` or ``nn.LeakyReLU`` modules.
    latents : Tensor
        (n, ...).

    Returns
    -------
    bool Tensor
        (n, units), layer by layer in the order in which they are run.

    Raises
    ------
    ValueError
        If the network has no such module.
    """
    return torch.cat([active.flatten(1) for active in _patterns(network, latents)], 1)


@torch.no_grad()
def linear_piece(
    network: nn.Module, latents: Tensor, *, chunk_size: int | None = None
) -> LinearPiece:
    """Return the linear pieces that latents lie in.

    The basis is the Jacobian, by one forward-mode derivative for each latent component; the bias
    is what the network gives at the origin with every unit held as active as it is at the latent.

    Parameters
    ----------
    network : nn.Module
        As in :func:`activation_pattern`; it is run in evaluation mode.
    latents : Tensor
        (n, ...), latents of any shape.
    chunk_size : int, optional
        Most latent components that are differentiated at once, to bound memory.

    Returns
    -------
    LinearPiece

    Raises
    ------
    ValueError
        If the network has no ReLU, or is not linear within its pieces (a tanh, a GELU): the
        message says by how much ``f(z) = W_δ z + b_δ`` fails, and for which example.

    Examples
    --------
    >>> import torch
    >>> from explainaway.models import mlp
    >>> from explainaway.models.networks import linear_piece
    >>> network, z = mlp(2, 3), torch.randn(5, 2)
    >>> piece = linear_piece(network, z)
    >>> torch.allclose(piece.at(z), network(z), atol=1e-5)
    True
    """
    active = _patterns(network, latents)
    origin = torch.zeros_like(latents)
    with evaluating(network):
        output: Tensor = network(latents)
        with _held(network, active):
            bias: Tensor = network(origin)
    piece = LinearPiece(
        _jacobian(network, latents, chunk_size),
        bias,
        torch.cat([layer.flatten(1) for layer in active], 1),
    )
    _check_identity(output, piece.at(latents))
    return piece


def _jacobian(network: nn.Module, latents: Tensor, chunk_size: int | None) -> Tensor:
    """Return the Jacobian of each example, (n, *output, *latent)."""
    shape = latents.shape[1:]

    # Examples do not interact, so one direction serves all of them at once.
    def derivative(direction: Tensor) -> Tensor:
        tangent: Tensor = torch.func.jvp(network, (latents,), (direction.expand_as(latents),))[1]
        return tangent

    directions = torch.eye(shape.numel(), dtype=latents.dtype, device=latents.device)
    with evaluating(network), warnings.catch_warnings():
        # torch's first forward derivative runs its own deprecated torch.jit.script.
        warnings.filterwarnings("ignore", "`torch.jit.script` is", DeprecationWarning)
        columns: Tensor = torch.func.vmap(derivative, chunk_size=chunk_size)(
            directions.reshape(-1, *shape)
        )
    return columns.movedim(0, -1).reshape(*columns.shape[1:], *shape)


def _check_identity(output: Tensor, linear: Tensor) -> None:
    difference = (output - linear).abs().flatten(1).amax(1)
    size = output.abs().flatten(1).amax(1).clamp(min=1.0)
    relative = difference / size
    worst = int(relative.argmax())
    if not bool(relative[worst] < torch.finfo(output.dtype).eps ** 0.5):
        raise ValueError(
            "network must be linear wherever its pattern of active ReLUs stays the same, but at "
            f"latents[{worst}] f(z) differs from its linear piece by {float(difference[worst]):.3g}"
            ": only affine layers, ReLU and LeakyReLU are"
        )


def _patterns(network: nn.Module, latents: Tensor) -> list[Tensor]:
    """Return which units are active, a tensor (n, ...) for each layer in the order of running."""
    patterns: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        patterns.append(inputs[0] > 0)

    with torch.no_grad(), evaluating(network), _hooked(network, keep):
        network(latents)
    if not patterns:
        raise ValueError(
            "network must have nn.ReLU or nn.LeakyReLU modules, which say what its linear pieces "
            f"are, got {network}"
        )
    return patterns


@contextmanager
def _held(network: nn.Module, patterns: list[Tensor]) -> Iterator[None]:
    """Run a network with every ReLU replaced by what it is under a pattern: a factor."""
    remaining = iter(patterns)

    def hold(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        slope = float(getattr(module, "negative_slope", 0.0))
        return torch.where(next(remaining), inputs[0], slope * inputs[0])

    with _hooked(network, hold):
        yield


@contextmanager
def _hooked(network: nn.Module, hook: Callable[..., Any]) -> Iterator[None]:
    """Call a hook after each ReLU of a network, which leaves its input as it is meanwhile."""
    rectifiers = [part for part in network.modules() if isinstance(part, PIECEWISE_LINEAR)]
    in_place = [part for part in rectifiers if part.inplace]
    handles = [part.register_forward_hook(hook) for part in rectifiers]
    for part in in_place:
        part.inplace = False
    try:
        yield
    finally:
        for part in in_place:
            part.inplace = True
        for handle in handles:
            handle.remove()
