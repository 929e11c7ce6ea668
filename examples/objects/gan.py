"""A generative adversarial network with a given generator, given the same time."""

import time

import torch
from torch import Tensor, nn


def discriminator(side: int, width: int) -> nn.Sequential:
    """Return a convolutional classifier, (n, 3, side, side) to logits (n, 1)."""
    layers: list[nn.Module] = []
    channels = 3
    while side >= 8:
        convolution = nn.utils.parametrizations.spectral_norm(nn.Conv2d(channels, width, 5, 2, 2))
        layers += [convolution, nn.LeakyReLU(0.2)]
        channels, side, width = width, side // 2, 2 * width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * side * side, 1))


def learn(
    generator: nn.Module,
    images: Tensor,
    latent_dim: int,
    seconds: float,
    seed: int,
    width: int = 32,
    lr: float = 2e-4,
    batch_size: int = 50,
) -> int:
    """Learn a generator from N(0, I) against a discriminator for so many seconds.

    Returns
    -------
    int
        Passes through the images.

    References
    ----------
    Goodfellow et al., "Generative adversarial nets" (2014), the loss that does not saturate;
    Radford, Metz & Chintala, "Unsupervised representation learning with deep convolutional
    generative adversarial networks" (2016), the optimizer; Miyato et al., "Spectral normalization
    for generative adversarial networks" (2018), in the place of batch normalisation.
    """
    torch.manual_seed(seed)
    critic = discriminator(images.shape[-1], width).to(images.device)
    ours, theirs = (
        torch.optim.Adam(part.parameters(), lr=lr, betas=(0.5, 0.999))
        for part in (generator, critic)
    )
    judged = nn.functional.binary_cross_entropy_with_logits
    began, epochs = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        for index in torch.randperm(len(images)).split(batch_size):
            real = images[index]
            fake = generator(torch.randn(len(real), latent_dim, device=images.device))
            on_real, on_fake = critic(real), critic(fake.detach())
            loss = judged(on_real, torch.ones_like(on_real))
            loss = loss + judged(on_fake, torch.zeros_like(on_fake))
            theirs.zero_grad()
            loss.backward()
            theirs.step()
            on_fake = critic(fake)
            ours.zero_grad()
            judged(on_fake, torch.ones_like(on_fake)).backward()
            ours.step()
        epochs += 1
    return epochs
