"""What checks on a device share: a check, exact posteriors, comparisons up to rounding."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from explainaway.inference import Posterior
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, mlp

M = TypeVar("M", bound=nn.Module)


class Where(NamedTuple):
    """Where checks run and how long.

    Attributes
    ----------
    device : torch.device
        Where models are.
    smoke : bool
        Whether seconds must do; statistical checks have wider errors then.
    folder : Path
        An empty one for a check's files.
    """

    device: torch.device
    smoke: bool
    folder: Path

    def here(self, module: M) -> M:
        """Return a copy of a module on the device."""
        return copy.deepcopy(module).to(self.device)


class Check(NamedTuple):
    """One check.

    Attributes
    ----------
    name : str
        What is looked at.
    claim : str
        What must hold: "rounding" (the CPU's numbers up to rounding), "bits" (the same bits on one
        device), "exact" (a closed form, within Monte Carlo error).
    run : callable
        Does it, returns what was found and raises where that is wrong.
    """

    name: str
    claim: str
    run: Callable[[Where], str]


class WrongError(Exception):
    """Something on the device is not as it must be."""


def require(holds: bool, said: str) -> None:
    """Raise where something does not hold."""
    if not holds:
        raise WrongError(said)


def is_there(where: Where, *tensors: Tensor) -> None:
    """Require that tensors are on the device."""
    for tensor in tensors:
        require(
            tensor.device.type == where.device.type,
            f"a result is on {tensor.device}, the model on {where.device}",
        )


def apart(what: str, found: Any, expected: Any, tolerance: float = 1e-4) -> float:
    """Return by how much tensors differ, relative to the expected ones' size; require little."""
    largest = 0.0
    for one, other in zip(_tensors(found), _tensors(expected), strict=True):
        require(one.shape == other.shape, f"{what}: shape {one.shape} instead of {other.shape}")
        require(bool((one.isnan() == other.isnan()).all()), f"{what}: NaN in other places")
        size = 1.0 + float(other.nan_to_num().abs().max()) if other.numel() else 1.0
        if one.numel():
            largest = max(largest, float((one - other).nan_to_num().abs().max()) / size)
    require(largest <= tolerance, f"{what} differ by {largest:.2g} of their size")
    return largest


def same_bits(what: str, found: Any, expected: Any) -> None:
    """Require the same bits, NaN included."""
    for one, other in zip(_tensors(found), _tensors(expected), strict=True):
        same = one.shape == other.shape and bool(
            ((one == other) | (one != one) & (other != other)).all()
        )
        require(same, f"{what} are not the same bits")


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value.detach().cpu().double()]
    if isinstance(value, dict):
        return [tensor for item in value.values() for tensor in _tensors(item)]
    if isinstance(value, (list, tuple)):
        return [tensor for item in value for tensor in _tensors(item)]
    return [torch.as_tensor(value, dtype=torch.float64, device="cpu")]


class Linear(NamedTuple):
    """``y = W z + b + ε`` with holes, on the CPU, and its exact posterior.

    Attributes
    ----------
    model : GeneratorModel
        Of known parameters.
    y : Tensor, (n, 5)
        Drawn from it, a quarter of the cells hidden.
    mean, covariance : Tensor
        Of each example's latent given its observed cells, (n, 2) and (n, 2, 2), float64.
    """

    model: GeneratorModel
    y: Tensor
    mean: Tensor
    covariance: Tensor

    @property
    def weight(self) -> Tensor:
        """The loadings (5, 2), float64."""
        return first_layer(self.model).weight.detach().double()

    @property
    def bias(self) -> Tensor:
        """(5,), float64."""
        return first_layer(self.model).bias.detach().double()


SCALE = 0.5


def first_layer(model: GeneratorModel) -> nn.Linear:
    """Return the first layer of a model's network."""
    layer = next(iter(model.network.children()))
    assert isinstance(layer, nn.Linear)
    return layer


def linear(num_examples: int = 6) -> Linear:
    """Return a linear generator, data of it and their exact posterior."""
    noise = torch.Generator().manual_seed(1)
    network = mlp(2, 5, hidden=())
    model = GeneratorModel(Normal(2), network, Masked(Gaussian(SCALE)))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=noise))
        z = torch.randn(num_examples, 2, generator=noise)
        y = network(z) + SCALE * torch.randn(num_examples, 5, generator=noise)
    y[torch.rand(y.shape, generator=noise) < 0.25] = torch.nan
    layer = first_layer(model)
    weight, bias = layer.weight.detach().double(), layer.bias.detach().double()
    seen = (~y.isnan()).double()
    loadings = seen[:, :, None] * weight
    covariance = torch.linalg.inv(
        torch.eye(2, dtype=torch.double) + loadings.mT @ loadings / SCALE**2
    )
    residual = seen * (y.nan_to_num().double() - bias)
    mean = (covariance @ loadings.mT @ residual[:, :, None])[:, :, 0] / SCALE**2
    return Linear(model, y, mean, covariance)


def small(num_examples: int = 12, learn: bool = False) -> tuple[GeneratorModel, Tensor]:
    """Return a network with a hidden layer and data with holes, on the CPU."""
    noise = torch.Generator().manual_seed(2)
    network = mlp(2, 4, hidden=(8,))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.7 * torch.randn(parameter.shape, generator=noise))
    y = torch.randn(num_examples, 4, generator=noise)
    y[torch.rand(y.shape, generator=noise) < 0.2] = torch.nan
    return GeneratorModel(Normal(2, learn=learn), network, Masked(Gaussian(SCALE))), y


LARGEST_Z = 6.0
"""Standard errors that a check allows: of 50 such numbers one is beyond with probability 1e-7."""


def furthest(
    posterior: Posterior, draws: Tensor, mean: Tensor, variance: Tensor, ess: Tensor | None = None
) -> float:
    """Return the largest distance of draws' means and variances from exact ones, in their errors.

    Parameters
    ----------
    posterior : Posterior
        Whose effective sample size counts where no other is given.
    draws : Tensor, (draws, n, d)
        On any device.
    mean, variance : Tensor, (n, d)
        Exact.
    ess : Tensor, optional
        Effective number of draws, (n, d).
    """
    if ess is None:
        ess = torch.as_tensor(posterior.summary().ess).double()
    draws = draws.detach().cpu().double()
    z_of_mean = (draws.mean(0) - mean) / (variance / ess).sqrt()
    # The variance's own effective size may be a third of the mean's.
    z_of_variance = (draws.var(0) / variance - 1) / (6 / ess).sqrt()
    z = float(torch.cat([z_of_mean.flatten(), z_of_variance.flatten()]).abs().max())
    require(z < LARGEST_Z, f"moments are {z:.1f} standard errors from the exact ones")
    return z
