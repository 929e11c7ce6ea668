"""Shapes that nobody thought of: every family keeps them, plain and masked."""

from typing import Any

import hypothesis
import pytest
import torch
from hypothesis import strategies as st

from explainaway.catalogue import catalogue
from explainaway.models import GeneratorModel, Masked, Normal, mlp

# Families of a shape of their own are tried at that of their entry.
FIXED = {"ColoredGaussian", "Columns", "LowRankGaussian", "MultivariateGaussian", "Sensed"}
FAMILIES = [
    piece
    for piece in catalogue()
    if piece.kind == "observations" and piece.name not in {"Masked", *FIXED}
]
SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


@pytest.mark.parametrize("piece", FAMILIES, ids=lambda piece: piece.name)
@hypothesis.settings(max_examples=8, deadline=None, derandomize=True, database=None)
@hypothesis.given(shape=SHAPES, n=st.integers(1, 3))
def test_a_family_keeps_any_shape(piece: Any, shape: tuple[int, ...], n: int) -> None:
    base = piece.make()
    model = GeneratorModel(Normal(2), mlp(2, base.output_shape(shape), hidden=()), Masked(base))
    y = model.generate(n, seed=0, noise=True)
    assert y.shape == (n, *shape)
    z = torch.randn(n, 2)
    whole = model.log_joint(y, z)
    assert whole.shape == (n,)
    assert whole.isfinite().all()
    mask = torch.rand(y.shape) < 0.5
    by_mask = model.log_joint(y, z, mask=mask)
    assert torch.equal(by_mask, model.log_joint(torch.where(mask, y, torch.nan), z))
    nothing = model.log_joint(torch.full_like(y, torch.nan), z)
    torch.testing.assert_close(nothing, Normal(2).distribution().log_prob(z))
    assert model.reconstruct(z).shape == y.shape
    assert model.decode(z.expand(2, n, 2)).shape[:2] == (2, n)


@pytest.mark.parametrize("piece", FAMILIES, ids=lambda piece: piece.name)
@hypothesis.settings(max_examples=8, deadline=None, derandomize=True, database=None)
@hypothesis.given(shape=SHAPES)
def test_cells_add_up(piece: Any, shape: tuple[int, ...]) -> None:
    """The log density of an example is the sum of those of its cells alone."""
    base = piece.make()
    output = torch.randn(1, *base.output_shape(shape))
    y = base.distribution(output).sample()
    masked = Masked(base)
    whole = base.distribution(output).log_prob(y)
    parts = torch.zeros(1)
    for cell in range(y.numel()):
        mask = (torch.arange(y.numel()) == cell).reshape(y.shape)
        parts = parts + masked.distribution(output, mask=mask).log_prob(y)
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-4)
