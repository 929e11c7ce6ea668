"""A decoder that knows that faces differ in place as well as in colour."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from explainaway.models import mlp

REACH = 0.1
"""Of the displacements when their network gives 1, in half sides of the image."""


class WarpedLinear(nn.Module):
    """A linear image whose pixels are moved: ``f(z)(u) = (W z + b)(u + v(u; z))``.

    v, the displacement of each pixel, is interpolated from a coarse grid that a small network of
    the same latents gives. It starts near zero: learning begins at a linear model, such as PCA.

    Parameters
    ----------
    appearance : nn.Linear
        W and b at the start, from d latents to flat images.
    shape : sequence of int
        Of an image, (channels, side, side).
    grid : int, default 8
        Cells along a side of the coarse grid.
    hidden : int, default 64
        Width of the network of the displacements.

    References
    ----------
    Cootes, Edwards & Taylor, "Active appearance models" (2001), for a linear appearance in a frame
    that moves; Jaderberg et al., "Spatial transformer networks" (2015), for the sampling.
    """

    frame: Tensor

    def __init__(
        self, appearance: nn.Linear, shape: Sequence[int], grid: int = 8, hidden: int = 64
    ) -> None:
        super().__init__()
        self.shape, self.appearance = tuple(shape), appearance
        self.displacement = mlp(appearance.in_features, (2, grid, grid), (hidden,), nn.GELU)
        start_small(self.displacement)
        identity = torch.eye(2, 3)[None]
        frame = nn.functional.affine_grid(identity, [1, *self.shape], align_corners=False)
        self.register_buffer("frame", frame)

    def forward(self, z: Tensor) -> Tensor:
        """Return images (n, 3, side, side)."""
        image = self.appearance(z).unflatten(1, self.shape)
        coarse = REACH * self.displacement(z)
        moved = nn.functional.interpolate(
            coarse, size=self.shape[1:], mode="bilinear", align_corners=False
        )
        return nn.functional.grid_sample(
            image,
            self.frame + moved.permute(0, 2, 3, 1),
            padding_mode="border",
            align_corners=False,
        )


def start_small(network: nn.Sequential, share: float = 0.01) -> nn.Linear:
    """Scale the last linear layer's weights down and return it, its bias zero."""
    last = [layer for layer in network if isinstance(layer, nn.Linear)][-1]
    with torch.no_grad():
        last.weight.mul_(share)
        last.bias.zero_()
    return last
