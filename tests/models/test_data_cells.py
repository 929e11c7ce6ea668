"""The cells of a model's data one by one: densities, hiding, estimates, held noise."""

from typing import Any

import pytest
import torch
from torch import Tensor

from explainaway.catalogue import Piece, catalogue
from explainaway.models import (
    Categorical,
    ColoredGaussian,
    Columns,
    Gaussian,
    GeneratorModel,
    Masked,
    Normal,
    mlp,
)

FAMILIES = [
    piece for piece in catalogue() if piece.kind == "observations" and piece.name != "Masked"
]
each_family = pytest.mark.parametrize("piece", FAMILIES, ids=lambda piece: piece.name)


def _masked(piece: Piece) -> tuple[GeneratorModel, Tensor, dict[str, Tensor]]:
    """Return a model of a family, data with a third of their cells missing, and some latents."""
    observation = Masked(piece.make())
    shape = tuple(piece.entry.shape)
    network = mlp(2, observation.output_shape(shape), hidden=())
    model = GeneratorModel(Normal(2), network, observation)
    latents = {"z": torch.randn(5, 2)}
    y = model.observation.distribution(network(latents["z"]).detach()).sample()
    return model, torch.where(torch.rand(y.shape) < 1 / 3, torch.nan, y), latents


@each_family
def test_densities_of_cells_are_what_they_add_to_those_of_the_others(piece: Piece) -> None:
    """log p(y_L, y_H | z) = log p(y_L | z) + log p(y_H | z, y_L), for every family."""
    model, y, latents = _masked(piece)
    observed = model.data_cells.observed(y)
    assert observed is not None
    assert torch.equal(observed, ~y.isnan())
    cells = observed & (torch.rand(y.shape) < 0.5)
    hidden = model.data_cells.without(cells, y)
    with torch.no_grad():
        without = model.log_joint(**hidden, latents=latents["z"])
        difference = model.log_joint(y, latents["z"]) - without
    density = model.data_cells.log_density(cells, latents, y)
    assert density.shape in {y.shape, (5,)}
    if density.shape == y.shape:
        assert bool((density[~cells] == 0).all())
    torch.testing.assert_close(
        density.flatten(1).sum(1) if density.dim() > 1 else density,
        difference,
        rtol=1e-4,
        atol=1e-4,
    )


def test_most_families_are_taken_cell_by_cell() -> None:
    """Only correlated noise is not, so that the law above is not met by one way alone."""
    by_cell = set()
    for piece in FAMILIES:
        model, y, latents = _masked(piece)
        if model.data_cells.log_density(~y.isnan(), latents, y).shape == y.shape:
            by_cell.add(piece.name)
    assert {"Gaussian", "Bernoulli", "Columns", "Categorical", "Censored", "Poisson"} <= by_cell
    assert by_cell.isdisjoint({"ColoredGaussian", "LowRankGaussian", "MultivariateGaussian"})


@pytest.mark.parametrize("kind", ["NaN", "mask", "counts"])
def test_hidden_cells_are_not_observed(kind: str) -> None:
    model = GeneratorModel(Normal(2), mlp(2, (4,)), Masked(Gaussian(0.3)))
    y = torch.randn(6, 4)
    hidden = torch.rand(6, 4) < 0.3
    given: dict[str, Any] = {"y": y}
    if kind == "mask":
        given["mask"] = torch.rand(6, 4) < 0.8
    elif kind == "counts":
        given["y"] = torch.randint(0, 9, (6, 4))
    before = model.data_cells.observed(**given)
    assert before is not None
    after = model.data_cells.without(hidden, **given)
    assert torch.equal(model.data_cells.observed(**after), before & ~hidden)
    # Whatever is hidden, arguments have the same names and types: one graph does for all.
    nothing = model.data_cells.without(torch.zeros_like(hidden), **given)
    assert {k: v.dtype for k, v in nothing.items()} == {k: v.dtype for k, v in after.items()}
    assert torch.equal(model.data_cells.observed(**nothing), before)
    assert (
        GeneratorModel(Normal(2), mlp(2, (4,)), Gaussian(0.3)).data_cells.observed(**given) is None
    )


def test_estimates_are_decode_and_reconstruct() -> None:
    noise = Masked(ColoredGaussian((4,), 0.5))
    model = GeneratorModel(Normal(2), mlp(2, (4,)), noise)
    y = torch.where(torch.rand(6, 4) < 0.5, torch.nan, torch.randn(6, 4))
    z = torch.randn(6, 2)
    signal, filled = model.data_cells.estimates({"z": z}, y)
    torch.testing.assert_close(signal, model.decode(z))
    torch.testing.assert_close(filled, model.reconstruct(z, observed=y))


@pytest.mark.parametrize("table", [False, True])
def test_there_is_no_mean_of_categories(table: bool) -> None:
    kind = Columns({"colour": Categorical(3), "size": Gaussian()}) if table else Categorical(3)
    network = mlp(2, kind.output_shape((2,)))
    model = GeneratorModel(Normal(2), network, Masked(kind))
    signal, filled = model.data_cells.estimates({"z": torch.randn(4, 2)}, torch.ones(4, 2))
    assert filled is None
    assert signal.shape == ((4, 4) if table else (4, 2, 3))


@pytest.mark.parametrize("learn", [True, "closed form", False])
def test_held_noise_is_not_learned_until_it_is_let_go(learn: Any) -> None:
    noise = Gaussian(1.0, learn_scale=learn)
    model = GeneratorModel(Normal(2), mlp(2, (4,)), Masked(noise))
    y, z = torch.randn(6, 4), {"z": torch.randn(6, 2)}
    required = [p.requires_grad for p in model.parameters()]
    before = noise.scale.detach().clone()
    let_go = model.data_cells.hold_noise()
    assert not any(p.requires_grad for p in model.observation.parameters())
    assert all(p.requires_grad for p in model.network.parameters())
    model.closed_form_step(z, y)
    assert torch.equal(noise.scale, before)
    let_go()
    assert [p.requires_grad for p in model.parameters()] == required
    model.closed_form_step(z, y)
    assert torch.equal(noise.scale, before) is (learn != "closed form")
