"""A variational auto-encoder of the same decoder, given the same time."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from .decoders import start_small
from .scores import Reconstruction


def encoder(latent_dim: int, side: int, width: int, channels: int = 3) -> nn.Sequential:
    """Return a convolutional encoder, (n, c, side, side) to mean and log deviation (n, 2d)."""
    layers: list[nn.Module] = []
    while side >= 8:
        layers += [nn.Conv2d(channels, width, 5, 2, 2), nn.ReLU()]
        channels, side, width = width, side // 2, 2 * width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * side * side, 2 * latent_dim))


def start_narrow(network: nn.Sequential, latent_dim: int) -> None:
    """Let an encoder say at first that all posteriors are the same and narrow, exp(-2) wide."""
    last = start_small(network)
    with torch.no_grad():
        # Posteriors of many pixels are narrow: draws from wide ones would undo the start.
        last.bias.copy_(torch.tensor([0.0, -2.0]).repeat_interleave(latent_dim))


class VAE(nn.Module):
    """Amortised inference of the latents: what explaining away does without.

    Parameters
    ----------
    decoder : nn.Module
        From (n, d) to images, linear at its end.
    latent_dim, side, width : int
        Of the encoder, which has as many layers and channels as :func:`deconvnet`.
    noise : float
        Scale of the pixels' Laplace noise, as the generator's.
    start : nn.Linear, optional
        Where the means begin, from flat images; what the convolutions say is added.

    References
    ----------
    Kingma & Welling, "Auto-encoding variational Bayes" (2014).
    """

    def __init__(
        self,
        decoder: nn.Module,
        latent_dim: int,
        side: int,
        width: int,
        noise: float,
        start: nn.Linear | None = None,
    ) -> None:
        super().__init__()
        self.decoder, self.encoder, self.noise = decoder, encoder(latent_dim, side, width), noise
        self.start = start
        if start is not None:
            start_narrow(self.encoder, latent_dim)

    def posterior(self, images: Tensor) -> torch.distributions.Normal:
        """Return what the encoder believes of the latents, (n, d)."""
        mean, log_deviation = self.encoder(images).chunk(2, 1)
        if self.start is not None:
            mean = mean + self.start(images.flatten(1))
        return torch.distributions.Normal(mean, log_deviation.clamp(-6, 3).exp())

    def loss(self, images: Tensor) -> Tensor:
        """Return the negative evidence bound up to a constant, the mean over images in nats."""
        posterior = self.posterior(images)
        residual = images - self.decoder(posterior.rsample())
        prior = torch.distributions.Normal(torch.zeros_like(posterior.mean), 1.0)
        divergence = torch.distributions.kl_divergence(posterior, prior).sum()
        misfit = residual.abs().sum() / self.noise
        loss: Tensor = (misfit + divergence) / len(images)
        return loss

    @torch.no_grad()
    def reconstruct(self, images: Tensor, num_draws: int = 50) -> Reconstruction:
        """Return moments of the decoded draws of the latents; the mean is clipped to [-1, 1]."""
        images = images.to(next(self.parameters()).device)
        posterior = self.posterior(images)
        mean, square = torch.zeros_like(images), torch.zeros_like(images)
        for count in range(1, num_draws + 1):
            signal = self.decoder(posterior.sample())
            before = signal - mean
            mean += before / count
            square += before * (signal - mean)
        return Reconstruction(mean.cpu().clamp(-1, 1), (square / num_draws).sqrt().cpu())


def learn(
    vae: nn.Module,
    images: Tensor,
    seconds: float,
    checkpoint: Path,
    seed: int,
    lr: float = 1e-3,
    batch_size: int = 50,
    save_every: float = 60.0,
) -> int:
    """Let a VAE, which has a ``loss``, learn for so many seconds; return the epochs.

    It goes on from the checkpoint if that exists. The rate falls linearly to zero over the
    last 40 % of the time.
    """
    loss = cast(Callable[[Tensor], Tensor], vae.loss)
    optimizer = torch.optim.Adam(vae.parameters(), lr=lr)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    spent, epochs = 0.0, 0
    if checkpoint.exists():
        kept = torch.load(checkpoint, weights_only=True)
        vae.load_state_dict(kept["vae"])
        optimizer.load_state_dict(kept["optimizer"])
        spent, epochs = kept["seconds"], kept["epochs"]
        generator.set_state(kept["order"])
        torch.set_rng_state(kept["noise"])
    saved, device = spent, next(vae.parameters()).device
    while spent < seconds:
        began = time.monotonic()
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (1 - spent / seconds) / 0.4)
        order = torch.randperm(len(images), generator=generator)
        for index in order.split(batch_size):
            optimizer.zero_grad()
            loss(images[index].to(device)).backward()
            optimizer.step()
        spent, epochs = spent + time.monotonic() - began, epochs + 1
        if spent >= seconds or spent - saved > save_every:
            saved = spent
            content: dict[str, Any] = {
                "vae": vae.state_dict(),
                "optimizer": optimizer.state_dict(),
                "seconds": spent,
                "epochs": epochs,
                "order": generator.get_state(),
                "noise": torch.get_rng_state(),
            }
            beside = checkpoint.with_suffix(".part")
            torch.save(content, beside)
            beside.replace(checkpoint)
    return epochs
