"""A network of single frames, applied to sequences."""

from torch import Tensor, nn


class OverTime(nn.Module):
    """Apply a network to each latent of a sequence: time is folded into the batch.

    Parameters
    ----------
    network : nn.Module
        From latents (n, ...) to outputs (n, ...).

    Examples
    --------
    >>> import torch
    >>> from explainaway.models import OverTime, mlp
    >>> OverTime(mlp(2, (5,)))(torch.randn(3, 10, 2)).shape
    torch.Size([3, 10, 5])
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        if not isinstance(network, nn.Module):
            raise TypeError(f"network must be an nn.Module, got {network!r}")
        self.network = network

    def forward(self, latents: Tensor) -> Tensor:
        """Return the outputs (n, T, ...) of latents (n, T, ...)."""
        if latents.dim() < 3:
            raise ValueError(
                "latents must be sequences, (n, T, ...), as VAR and Recurrent give them, got shape "
                f"{tuple(latents.shape)}"
            )
        output: Tensor = self.network(latents.flatten(0, 1))
        return output.reshape(*latents.shape[:2], *output.shape[1:])
