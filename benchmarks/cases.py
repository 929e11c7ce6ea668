"""The models that are timed."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, deconvnet, mlp


@dataclass(frozen=True)
class Case:
    """A generator with data.

    Attributes
    ----------
    name : str
        For the table.
    network : nn.Module
        In evaluation mode.
    y : Tensor, (n, ...)
        NaN where not observed.
    latent_dim : int
        d.
    scale : float
        σ.
    link : callable or None
        Inverse link.
    """

    name: str
    network: nn.Module
    y: Tensor
    latent_dim: int
    scale: float
    link: Callable[[Tensor], Tensor] | None

    @property
    def observed(self) -> Tensor | None:
        """The mask, None where everything is observed."""
        missing = self.y.isnan()
        return ~missing if bool(missing.any()) else None

    def model(self) -> GeneratorModel:
        """Return the library's model, with the same network."""
        base = Gaussian(scale=self.scale, inverse_link=self.link)
        observation = base if self.observed is None else Masked(base)
        return GeneratorModel(Normal(self.latent_dim), self.network, observation)

    def position(self) -> Tensor:
        """Return a place for every latent."""
        return torch.randn(len(self.y), self.latent_dim, generator=torch.Generator().manual_seed(1))


def mlp_case(n: int = 100, latent_dim: int = 20, hidden: int = 200, columns: int = 784) -> Case:
    """Return the MLP of 20-200-784 by default, on binary-looking data."""
    torch.manual_seed(0)
    network = mlp(latent_dim, shape=(columns,), hidden=(hidden,)).eval()
    name = f"mlp {latent_dim}-{hidden}-{columns}, n={n}"
    return Case(name, network, torch.rand(n, columns), latent_dim, 0.3, None)


def demo_case(n: int = 480) -> Case:
    """Return the network of the demo, 70 % of its data missing."""
    torch.manual_seed(0)
    network = mlp(16, shape=(8, 8), hidden=(256, 256), activation=nn.GELU).eval()
    y = 2 * torch.rand(n, 8, 8) - 1
    y[torch.rand(y.shape) < 0.7] = torch.nan
    return Case(f"demo mlp, masked, n={n}", network, y, 16, 0.35, torch.tanh)


def deconvnet_case(n: int, side: int, width: int) -> Case:
    """Return the paper's network for images of objects."""
    torch.manual_seed(0)
    network = deconvnet(64, (3, side, side), width=width, batch_norm=True).eval()
    name = f"deconvnet {side}x{side} width {width}, n={n}"
    return Case(name, network, 2 * torch.rand(n, 3, side, side) - 1, 64, 0.3, torch.tanh)
