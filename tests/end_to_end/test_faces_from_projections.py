from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from examples.faces.data import load_images
from examples.projections.basis import CosineBasis
from examples.projections.generator import Generator, Projection, Recipe
from examples.projections.linear import (
    Predict,
    by_factors,
    by_lasso,
    by_pseudo_inverse,
    drawn_from,
    wiener,
)
from examples.projections.problem import SCALE, Problem, held_out_error, problem
from explainaway.projected_factors import Factors

SIZES = 60, 12, 8, 10


@pytest.fixture(scope="module")
def faces() -> Problem:
    return problem(load_images(Path(), 8, made_up=70), SIZES, 40, 4, seed=0)


def random_factors(cells: int, rank: int) -> Factors:
    generator = torch.Generator().manual_seed(0)
    loadings = torch.randn(cells, rank, generator=generator)
    return Factors(
        torch.randn(cells, generator=generator),
        loadings,
        0.1 + torch.rand(cells, generator=generator),
    )


def test_the_basis_is_orthonormal_and_knows_mirror_images() -> None:
    basis = CosineBasis(8)
    images = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    made = basis.coefficients(images)
    torch.testing.assert_close(
        made @ made.mT, images.flatten(1) @ images.flatten(1).mT, rtol=0, atol=1e-3
    )
    torch.testing.assert_close(basis.images(made), images)
    torch.testing.assert_close(basis.coefficients(images.flip(-1)), made * basis.mirror)


def test_projections_are_those_of_the_faces(faces: Problem) -> None:
    seen = []
    for group in faces.train + faces.scored:
        truth = faces.basis.coefficients(faces.faces[group.faces])
        torch.testing.assert_close(group.data.y, truth @ group.data.matrix.mT)
        seen.append(group.faces)
    entries = faces.scored[0].data.matrix
    # 7,680 normal numbers: five standard errors of their deviation.
    assert float(entries.std()) == pytest.approx(SCALE, abs=5 * SCALE / (2 * 7680) ** 0.5)
    assert torch.cat(seen[: len(faces.train)]).sort().values.tolist() == list(range(60))
    assert {name: len(places) for name, places in faces.parts().items()} == {"known": 8, "new": 10}


def test_nobody_sees_what_settings_are_chosen_on(faces: Problem) -> None:
    held_out = torch.cat([group.faces for group in faces.validation])
    assert len(held_out) == 12
    assert not set(held_out.tolist()) & set(faces.parts()["known"].tolist())
    for group in faces.validation:
        assert group.data.matrix.shape[0] == 36
        assert group.held_out.matrix.shape[0] == 4
        assert any(group.data is each.data for each in faces.train)


def test_held_out_projections_tell_the_error_of_pixels() -> None:
    """An error of a tenth of the range in every pixel, by 100 held-out projections."""
    many = problem(load_images(Path(), 8, made_up=70), SIZES, 1000, 4, seed=0)
    made = []
    for group in many.validation:
        wrong = many.faces[group.faces] + 0.2
        made.append(many.basis.coefficients(wrong))
    # All errors are the same, so that 100 rows count: 1 / sqrt(200) is a standard error.
    assert held_out_error(many.validation, made) == pytest.approx(0.1, rel=4 / 200**0.5)


def test_the_variance_of_pixels_is_that_of_the_normal_distribution(faces: Problem) -> None:
    basis, cells = faces.basis, faces.faces[0].numel()
    factors = random_factors(cells, 3)
    data = faces.scored[0].data
    covariance = factors.loadings @ factors.loadings.mT + factors.variance.diag()
    crossed = covariance @ data.matrix.mT
    left = covariance - crossed @ (data.matrix @ crossed).inverse() @ crossed.mT
    pixels = basis.images(torch.eye(cells)).flatten(1).mT
    expected = (pixels @ left @ pixels.mT).diagonal().reshape(1, *basis.shape)
    found = by_factors(factors, basis)(data).variance
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-3)


def test_new_faces_have_the_moments_of_the_factors(faces: Problem) -> None:
    """Of 4,000 draws of 192 coefficients, scaled so that no pixel leaves its range."""
    basis, cells = faces.basis, faces.faces[0].numel()
    some = random_factors(cells, 3)
    factors = Factors(some.mean / 50, some.loadings / 50, some.variance / 2500)
    for with_rest in (False, True):
        images = drawn_from(factors, basis, with_rest)(4000, 1)
        assert images.abs().max() < 1
        made = basis.coefficients(images)
        expected = factors.loadings @ factors.loadings.mT + with_rest * factors.variance.diag()
        # Six standard errors of a mean, and of a product: the largest of 192 and of 18,528.
        spread = expected.diagonal().max()
        assert (made.mean(0) - factors.mean).abs().max() < 6 * (spread / 4000).sqrt()
        assert (made.mT.cov() - expected).abs().max() < 6 * 2**0.5 * spread / 4000**0.5


def test_the_generators_new_faces_have_what_it_leaves(faces: Problem) -> None:
    """A linear network draws as its factors do: the same draws of latents and of the rest."""
    basis, cells = faces.basis, faces.faces[0].numel()
    factors = random_factors(cells, 2)

    class Linear(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return basis.images(factors.mean + z @ factors.loadings.mT)

    generator = Generator(faces, Linear(), factors, Recipe(), 0, "cpu")
    torch.testing.assert_close(
        generator.draw(20, seed=3), drawn_from(factors, basis, with_rest=True)(20, 3)
    )


def test_chains_through_the_projections_find_the_exact_posterior(faces: Problem) -> None:
    """Of a linear network, whose posterior is normal: within Monte Carlo error."""
    basis, cells = faces.basis, faces.faces[0].numel()
    factors = random_factors(cells, 2)

    class Linear(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return basis.images(factors.mean + z @ factors.loadings.mT)

    recipe = Recipe(warmup=100, draws=500)
    generator = Generator(faces, Linear(), factors, recipe, 0, "cpu")
    # A validation face's matrix has fewer rows than the projection's: the rest are zero.
    data = faces.validation[0].data
    exact, found = by_factors(factors, basis)(data), generator.predict(data)
    # 500 draws, of which some 100 count: a standard error of .1 latent deviations, and a
    # pixel's is larger than that by the noise.
    assert float((found.mean - exact.mean).abs().max()) < 0.4 * float(exact.variance.mean().sqrt())
    torch.testing.assert_close(
        found.variance.mean(0, keepdim=True), exact.variance, rtol=0.3, atol=0.02
    )


def test_what_is_chosen_has_its_adjoint() -> None:
    operator = Projection(6, 4)
    generator = torch.Generator().manual_seed(0)
    matrix, signs = torch.randn(3, 6, generator=generator), torch.tensor([1.0, -1, 1, -1, 1, -1])
    operator.choose(torch.ones(4, 6))
    operator.choose(matrix, signs)
    x, y = torch.randn(5, 6, generator=generator), torch.randn(5, 4, generator=generator)
    torch.testing.assert_close(operator(x)[:, :3], (x * signs) @ matrix.mT)
    assert not operator(x)[:, 3:].any()
    torch.testing.assert_close((operator(x) * y).sum(), (x * operator.adjoint(y)).sum())


def test_a_learned_spectrum_beats_what_knows_none(faces: Problem) -> None:
    spectrum = wiener(faces)

    def error(predict: Predict) -> float:
        left = [
            predict(group.data).mean - faces.basis.coefficients(faces.faces[group.faces])
            for group in faces.scored
        ]
        return float(torch.cat(left).square().mean())

    found = error(by_factors(spectrum, faces.basis))
    lasso, errors = by_lasso(faces, spectrum, weighted=True)
    assert found < 0.9 * error(by_pseudo_inverse(spectrum))
    assert error(lasso) < error(by_pseudo_inverse(spectrum))
    assert len(errors) == 3


def test_sizes_are_checked() -> None:
    with pytest.raises(ValueError, match="60 \\+ 10 images are asked for, there are 20"):
        problem(load_images(Path(), 8, made_up=20), SIZES, 40, 4, seed=0)
