"""Linear operators: linearity, shapes, and the adjoint of each."""

import pytest
import torch
from torch import Tensor

from explainaway.models.operators import (
    Blur,
    Composition,
    Downsample,
    Greyscale,
    Identity,
    LinearOperator,
    PerExample,
    RandomProjection,
    SubsampledFourier,
)

NUM = 3
UNEVEN = torch.tensor([[0.1, 0.7, -0.3], [0.0, 0.5, 0.2], [0.4, -0.1, 0.9], [0, 1, 2], [3, 1, 0]])
OPERATORS: dict[str, LinearOperator] = {
    "identity": Identity((2, 5)),
    "projection": RandomProjection((1, 4, 6), 10, seed=3),
    "fourier": SubsampledFourier((2, 5, 6), kept=0.4),
    "fourier by mask": SubsampledFourier((4, 4), kept=torch.eye(4) > 0),
    "gaussian blur": Blur((2, 7, 6), 0.8),
    "wide blur": Blur((5, 4), 3.0),
    "circular blur": Blur((2, 7, 6), 0.8, boundary="circular"),
    "uneven blur": Blur((7, 6), UNEVEN),
    "uneven circular blur": Blur((7, 6), UNEVEN, boundary="circular"),
    "row blur": Blur((7, 6), torch.tensor([[1.0, 2.0, 3.0]]), boundary="circular"),
    "downsample": Downsample((2, 6, 4), 2),
    "greyscale": Greyscale((3, 4, 5)),
    "per example": PerExample((2, 3), (4,)),
    "super-resolution": Downsample((1, 6, 8), 2) @ Blur((1, 6, 8), 1.0),
    "three": RandomProjection((1, 2, 3), 4) @ Downsample((1, 4, 6), 2) @ Greyscale((3, 4, 6)),
    "per example after": PerExample((4,), (2, 2)) @ RandomProjection((3, 3), 4),
}


def _context(operator: LinearOperator) -> dict[str, Tensor]:
    """Return the matrices of whichever part wants some."""
    for part in operator.modules():
        if isinstance(part, PerExample):
            m, d = torch.Size(part.output_shape).numel(), torch.Size(part.input_shape).numel()
            return {"operator": torch.randn(NUM, m, d, dtype=torch.double)}
    return {}


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_and_its_adjoint_agree(name: str) -> None:
    operator = OPERATORS[name].double()
    context = _context(operator)
    x = torch.randn(NUM, *operator.input_shape, dtype=torch.double)
    y = torch.randn(NUM, *operator.output_shape, dtype=torch.double)
    left = (operator(x, context) * y).flatten(1).sum(1)
    right = (x * operator.adjoint(y, context)).flatten(1).sum(1)
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", OPERATORS)
def test_the_adjoint_is_what_autograd_gives(name: str) -> None:
    """Independent of the adjoint's code, and cell by cell rather than in one direction."""
    operator = OPERATORS[name].double()
    context = _context(operator)
    x = torch.randn(NUM, *operator.input_shape, dtype=torch.double, requires_grad=True)
    y = torch.randn(NUM, *operator.output_shape, dtype=torch.double)
    (gradient,) = torch.autograd.grad(operator(x, context), x, y)
    torch.testing.assert_close(operator.adjoint(y, context), gradient, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_are_linear_and_keep_examples_apart(name: str) -> None:
    operator = OPERATORS[name].double()
    context = _context(operator)
    a, b = torch.randn(2, NUM, *operator.input_shape, dtype=torch.double)
    whole = operator(2.5 * a - b, context)
    assert whole.shape == (NUM, *operator.output_shape)
    assert operator.adjoint(whole, context).shape == a.shape
    torch.testing.assert_close(whole, 2.5 * operator(a, context) - operator(b, context))
    last = {key: value[1:] for key, value in context.items()}
    torch.testing.assert_close(operator(a[1:], last), operator(a, context)[1:])


def test_a_random_projection_keeps_norms_on_average_and_is_reproduced() -> None:
    operator = RandomProjection((50, 20), 400, seed=1)
    # 400,000 entries of variance 1/400: the relative standard error of their mean square is
    # sqrt(2 / 4e5) = .0022; six of them, false failure 2e-9.
    assert float(operator.matrix.square().mean() * 400) == pytest.approx(1.0, abs=0.0134)
    assert torch.equal(operator.matrix, RandomProjection((1000,), 400, seed=1).matrix)
    assert not torch.equal(operator.matrix, RandomProjection((1000,), 400, seed=2).matrix)
    torch.set_default_dtype(torch.double)
    try:
        double = RandomProjection((1000,), 400, seed=1).matrix
    finally:
        torch.set_default_dtype(torch.float)
    torch.testing.assert_close(double.float(), operator.matrix)


def test_all_frequencies_keep_the_norm_and_none_is_lost() -> None:
    operator = SubsampledFourier((2, 5, 4), kept=1.0).double()
    x = torch.randn(3, 2, 5, 4, dtype=torch.double)
    y = operator(x)
    torch.testing.assert_close(y.square().sum((1, 2, 3)), x.square().sum((1, 2, 3)))
    torch.testing.assert_close(operator.adjoint(y), x)
    # The zero frequency leads: the sum over the root of the number of cells.
    torch.testing.assert_close(y[:, :, 0, 0], x.sum((2, 3)) / 20**0.5)


def test_a_share_of_frequencies_holds_the_zero_frequency() -> None:
    for seed in range(5):
        operator = SubsampledFourier((8, 8), kept=0.25, seed=seed)
        assert operator.output_shape == (16, 2)
        assert int(operator.frequencies[0]) == 0
        assert len(operator.frequencies.unique()) == 16


def test_a_blur_is_the_sum_that_it_says() -> None:
    x = torch.randn(1, 7, 6, dtype=torch.double)
    for boundary in ("zero", "circular"):
        got = Blur((7, 6), UNEVEN, boundary=boundary).double()(x)
        expected = torch.zeros_like(x)
        for i in range(7):
            for j in range(6):
                for k in range(5):
                    for m in range(3):
                        row, column = i + k - 2, j + m - 1
                        if boundary == "circular":
                            row, column = row % 7, column % 6
                        if 0 <= row < 7 and 0 <= column < 6:
                            expected[0, i, j] += UNEVEN[k, m].double() * x[0, row, column]
        torch.testing.assert_close(got, expected)


def test_a_circular_gaussian_blur_keeps_a_constant_image() -> None:
    blurred = Blur((1, 8, 8), 1.2, boundary="circular")(torch.full((1, 1, 8, 8), 0.7))
    torch.testing.assert_close(blurred, torch.full((1, 1, 8, 8), 0.7))


def test_blocks_are_averaged_and_colours_weighted() -> None:
    x = torch.arange(16.0).reshape(1, 4, 4)
    torch.testing.assert_close(Downsample((4, 4), 2)(x), torch.tensor([[[2.5, 4.5], [10.5, 12.5]]]))
    colours = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)
    torch.testing.assert_close(
        Greyscale((3, 1, 1))(colours), torch.full((1, 1, 1, 1), 0.299 + 1.174 + 0.342)
    )


def test_composition_applies_the_right_one_first_and_associates() -> None:
    a, b, c = RandomProjection((5,), 3), RandomProjection((6,), 5), RandomProjection((4,), 6)
    x = torch.randn(2, 4)
    torch.testing.assert_close((a @ b @ c)(x), a(b(c(x))))
    torch.testing.assert_close((a @ (b @ c))(x), (a @ b @ c)(x))
    assert isinstance(a @ b, Composition)


def test_operators_move_and_are_saved_with_the_model() -> None:
    one, other = RandomProjection((6,), 4, seed=0), RandomProjection((6,), 4, seed=1)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.matrix, other.matrix)
    assert one.double()(torch.zeros(1, 6, dtype=torch.double)).dtype == torch.double
