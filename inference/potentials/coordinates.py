"""What a model says of its latents' coordinates: where chains start, on what scale they are."""

from typing import Any, Protocol

from torch import Tensor


class Coordinates(Protocol):
    """A model's ``latent_coordinates``, where it has them.

    For models whose prior follows the chains: ``z = m + L u`` with white u.
    """

    def starts(self, noise: Tensor) -> Tensor:
        """Return where chains start, from standard normal noise; both (rows, d) and flat."""

    def log_volume(self) -> Tensor | None:
        """Return ``log |det L|``, by which energies of z exceed those of u; None for none."""

    def expect_examples(self, num_examples: int) -> None:
        """Be told how many examples are learned from."""


def coordinates_of(model: Any) -> Coordinates | None:
    """Return the latents' coordinates if the model has some."""
    found: Coordinates | None = getattr(model, "latent_coordinates", None)
    return found


def log_volume_of(model: Any) -> Tensor | float:
    """Return by how many nats energies of z exceed those of the white latents."""
    coordinates = coordinates_of(model)
    volume = None if coordinates is None else coordinates.log_volume()
    return 0.0 if volume is None else volume.detach()
