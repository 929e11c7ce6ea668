import numpy as np
import pytest

from explainaway.models.factor_analysis import reverse_sweep, sweep

RNG = np.random.default_rng(0)
ROOT = RNG.normal(size=(20, 6))
MATRIX = ROOT.T @ ROOT


def test_sweeping_on_all_columns_gives_minus_the_inverse() -> None:
    np.testing.assert_allclose(sweep(MATRIX, range(6)), -np.linalg.inv(MATRIX), rtol=1e-10)


def test_sweeping_one_column_is_the_textbook_formula() -> None:
    k, swept = 2, sweep(MATRIX, 2)
    for i in range(6):
        for j in range(6):
            expected = MATRIX[i, j] - MATRIX[i, k] * MATRIX[k, j] / MATRIX[k, k]
            if i == k and j == k:
                expected = -1 / MATRIX[k, k]
            elif k in (i, j):
                expected = MATRIX[i, j] / MATRIX[k, k]
            assert swept[i, j] == pytest.approx(expected, rel=1e-12)


def test_columns_may_be_swept_in_any_order_or_all_at_once() -> None:
    at_once = sweep(MATRIX, [0, 3, 4])
    for order in ([0, 3, 4], [4, 0, 3], [3, 4, 0]):
        one_by_one = MATRIX
        for column in order:
            one_by_one = sweep(one_by_one, column)
        np.testing.assert_allclose(one_by_one, at_once, rtol=1e-10)
        np.testing.assert_allclose(sweep(MATRIX, order), at_once, rtol=1e-10)


def test_a_sweep_is_reversed_by_the_reverse_sweep_in_any_order() -> None:
    swept = sweep(MATRIX, [5, 1, 2])
    np.testing.assert_allclose(reverse_sweep(swept, [1, 2, 5]), MATRIX, rtol=1e-9)
    np.testing.assert_allclose(reverse_sweep(swept, 1), sweep(MATRIX, [2, 5]), rtol=1e-9)


def test_it_regresses_conditions_and_stays_symmetric() -> None:
    x, y = ROOT[:, :4], ROOT[:, 4:]
    swept = sweep(MATRIX, range(4))
    coefficients, *_ = np.linalg.lstsq(x, y)
    residual = y - x @ coefficients
    np.testing.assert_allclose(swept[:4, 4:], coefficients, rtol=1e-9)
    np.testing.assert_allclose(swept[4:, 4:], residual.T @ residual, rtol=1e-9)
    np.testing.assert_allclose(swept, swept.T, rtol=1e-9)


def test_a_stack_is_swept_matrix_by_matrix() -> None:
    stack = np.stack([MATRIX, 2 * MATRIX + np.eye(6)])
    np.testing.assert_allclose(
        sweep(stack, [1, 4]), np.stack([sweep(m, [1, 4]) for m in stack]), rtol=1e-12
    )


def test_nothing_swept_is_a_copy() -> None:
    swept = sweep(MATRIX, [])
    assert np.array_equal(swept, MATRIX)
    assert swept is not MATRIX


def test_the_covariance_swept_on_one_block_is_minus_the_precision_swept_on_the_other() -> None:
    """Why a regression on many columns costs an inverse of the few others only."""
    precision = np.linalg.inv(MATRIX)
    np.testing.assert_allclose(sweep(MATRIX, range(2, 6)), -sweep(precision, [0, 1]), rtol=1e-9)
