"""A masked VAE: the importance-weighted bound of what is observed."""

import torch
from torch import Tensor, nn

from .scores import Reconstruction
from .vae import encoder, start_narrow


class MaskedVAE(nn.Module):
    """MIWAE whose encoder sees the kriged image and the mask.

    Data are images (n, 4, side, side): three channels of filled pixels, and 1 where they were
    observed.

    Parameters
    ----------
    decoder : nn.Module
        From (n, d) to images.
    latent_dim, side, width : int
        Of the encoder.
    noise : float
        Scale of the pixels' normal noise, as the generator's.
    start : nn.Linear
        Where the means begin, from flat images; what the convolutions say is added.
    num_draws : int, default 3
        Importance draws of each image in learning.

    References
    ----------
    Mattei & Frellsen, "MIWAE: deep generative modelling and imputation of incomplete data sets"
    (2019), eq. 4 for the bound and section 3 for the imputation.
    """

    def __init__(
        self,
        decoder: nn.Module,
        latent_dim: int,
        side: int,
        width: int,
        noise: float,
        start: nn.Linear,
        num_draws: int = 3,
    ) -> None:
        super().__init__()
        self.decoder, self.encoder = decoder, encoder(latent_dim, side, width, channels=4)
        self.start, self.noise, self.num_draws = start, noise, num_draws
        start_narrow(self.encoder, latent_dim)

    def posterior(self, data: Tensor) -> torch.distributions.Normal:
        """Return what the encoder believes of the latents, (n, d)."""
        mean, log_deviation = self.encoder(data).chunk(2, 1)
        mean = mean + self.start(data[:, :3].flatten(1))
        return torch.distributions.Normal(mean, log_deviation.clamp(-6, 3).exp())

    def log_weights(self, data: Tensor, num_draws: int) -> tuple[Tensor, Tensor]:
        """Return log importance weights (draws, n) and decoded images (draws, n, 3, side, side)."""
        posterior = self.posterior(data)
        z = posterior.rsample(torch.Size([num_draws]))
        images = self.decoder(z.flatten(0, 1)).unflatten(0, z.shape[:2])
        misfit = ((images - data[:, :3]) * data[:, 3:]).square().flatten(2).sum(2)
        prior = torch.distributions.Normal(0.0, 1.0)
        divergence = (posterior.log_prob(z) - prior.log_prob(z)).sum(2)
        return -0.5 * misfit / self.noise**2 - divergence, images

    def loss(self, data: Tensor) -> Tensor:
        """Return the negative bound up to a constant, the mean over images in nats."""
        log_weights, _ = self.log_weights(data, self.num_draws)
        loss: Tensor = -log_weights.logsumexp(0).mean()
        return loss

    @torch.no_grad()
    def reconstruct(
        self, data: Tensor, num_draws: int = 30, batch_size: int = 20
    ) -> Reconstruction:
        """Return moments of the signal by self-normalised importance sampling."""
        means, deviations = [], []
        for some in data.to(next(self.parameters()).device).split(batch_size):
            log_weights, images = self.log_weights(some, num_draws)
            weights = log_weights.softmax(0)[..., None, None, None]
            mean = (weights * images).sum(0)
            means.append(mean.cpu())
            deviations.append((weights * (images - mean).square()).sum(0).sqrt().cpu())
        return Reconstruction(torch.cat(means), torch.cat(deviations))
