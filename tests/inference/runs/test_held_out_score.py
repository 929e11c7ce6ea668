"""Scores of held-out cells: means, errors, paired differences, tables of candidates."""

import pytest
import torch

from explainaway.inference import AlternatingBackProp, HeldOutScore, compare_fits
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, mlp


def _score(nats: torch.Tensor, per_example: int = 1, split: str = "") -> HeldOutScore:
    example = torch.arange(len(nats)) // per_example
    return HeldOutScore(nats, torch.ones_like(nats), example, split)


def test_the_error_is_that_between_examples() -> None:
    """Over 400 data sets the error of the mean is their standard deviation, within 6 of its own.

    Four cells of an example share a normal number: taken as independent, the error would be
    too small by sqrt(1 + 3 / 2) = 1.6.
    """
    means, errors = [], []
    for _ in range(400):
        nats = torch.randn(50, 1) + torch.randn(50, 4)
        mean, error = _score(nats.flatten().double(), 4).per_cell()
        means.append(mean)
        errors.append(error)
    spread = float(torch.tensor(means).std())
    assert spread == pytest.approx(float(torch.tensor(errors).mean()), rel=6 * (2 * 400) ** -0.5)


def test_units_weigh_by_their_cells() -> None:
    score = HeldOutScore(
        torch.tensor([2.0, 9.0]), torch.tensor([2.0, 3.0]), torch.arange(2), "split"
    )
    assert score.per_cell().mean == pytest.approx(11 / 5)
    assert _score(torch.ones(1)).per_cell().error == float("inf")


def test_candidates_are_compared_in_pairs() -> None:
    """The difference is certain where the cells are much more different than the candidates."""
    cells = 10 * torch.randn(400).double()
    table = compare_fits({"worse": cells + 0.5 + 0.1 * torch.randn(400), "better": cells})
    assert list(table.index) == ["better", "worse"]
    assert table.loc["better", "difference"] == 0.0
    assert table.loc["worse", "difference"] == pytest.approx(0.5, abs=6 * 0.1 / 400**0.5)
    assert table.loc["worse", "difference_error"] == pytest.approx(0.005, rel=0.3)
    assert table.loc["worse", "standard_error"] > 0.3


def test_the_true_dimension_and_scale_win() -> None:
    """Linear data of two latents and noise .5; one candidate has a latent too few, one the noise.

    The margins are some ten standard errors of the difference.
    """
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(2, 12, generator=generator)
    y = torch.randn(500, 2, generator=generator) @ weight
    y = y + 0.5 * torch.randn(500, 12, generator=generator)
    y[torch.rand(y.shape, generator=generator) < 0.3] = torch.nan
    fits = {}
    for name, d, scale in (("true", 2, 0.5), ("one latent", 1, 0.5), ("noise of 2", 2, 2.0)):
        torch.manual_seed(0)
        model = GeneratorModel(Normal(d), mlp(d, 12, hidden=()), Masked(Gaussian(scale)))
        adam = torch.optim.Adam(model.parameters(), lr=3e-2)
        abp = AlternatingBackProp(model, optimizer=adam, inference_steps=5, batch_size=100)
        fits[name] = abp.fit(y, epochs=60, progress=False)
    table = compare_fits(fits)
    assert table.index[0] == "true"
    assert bool((table["difference"] > 3 * table["difference_error"]).iloc[1:].all())


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="candidates must hold at least one fit, got none"):
        compare_fits({})
    model = GeneratorModel(Normal(2), mlp(2, (4,)), Gaussian(0.3))
    fit = AlternatingBackProp(model).fit(torch.randn(9, 4), epochs=1, progress=False)
    with pytest.raises(ValueError, match="'a' must have held cells out, got a fit that has not"):
        compare_fits({"a": fit})
    with pytest.raises(ValueError, match="must be of the same held-out cells, got 3 and 3"):
        compare_fits({"a": _score(torch.ones(3), split="x"), "b": _score(torch.ones(3), split="y")})
    with pytest.raises(ValueError, match=r"'a' must be a fit, its held_out or a finite array"):
        compare_fits({"a": [1.0, float("nan")]})
