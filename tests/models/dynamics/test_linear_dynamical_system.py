"""The linear system as a baseline: its filter, smoother and EM, by the oracle."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from explainaway.linear_dynamical_system import (
    LinearDynamicalSystem,
    fit_linear_dynamical_system,
    interpolate_in_time,
)
from explainaway.models.dynamics import dynamic_texture

from .kalman import LinearSystem, dense, smooth

TRANSITION = np.array([[0.9, 0.4], [-0.3, 0.7]])
INNOVATION = np.array([[0.5, 0.1], [0.1, 0.3]])
LOADINGS = np.array([[1.0, 0.0], [0.5, -1.0], [0.2, 0.8]])
MEAN = np.array([0.5, -1.0, 0.0])
ORACLE = LinearSystem(*map(torch.tensor, (TRANSITION, INNOVATION, LOADINGS, MEAN)), 0.25)
SYSTEM = LinearDynamicalSystem(
    LOADINGS, MEAN, 0.25, TRANSITION, INNOVATION, ORACLE.stationary().numpy()
)


def _table(length: int, seed: int = 0) -> NDArray[np.float64]:
    """Return a draw of the system with every fifth row and 30 % of the other cells missing."""
    rng = np.random.default_rng(seed)
    state, rows = rng.multivariate_normal(np.zeros(2), SYSTEM.start), []
    for _ in range(length):
        rows.append(MEAN + LOADINGS @ state + 0.5 * rng.normal(size=3))
        state = TRANSITION @ state + rng.multivariate_normal(np.zeros(2), INNOVATION)
    table = np.stack(rows)
    table[rng.random(table.shape) < 0.3] = np.nan
    table[2::5] = np.nan
    return table


def test_the_smoother_conditions_on_all_that_was_seen() -> None:
    table = _table(9)
    expected = smooth(ORACLE, torch.from_numpy(table)[None])
    states = SYSTEM.smooth(table)
    np.testing.assert_allclose(states.mean, expected.mean[0], atol=1e-10)
    np.testing.assert_allclose(states.covariance, expected.covariance[0], atol=1e-10)
    np.testing.assert_allclose(states.lagged, expected.lagged[0], atol=1e-10)
    np.testing.assert_allclose(SYSTEM.impute(table), states.mean @ LOADINGS.T + MEAN)


def test_the_filter_and_its_forecasts_condition_on_the_past_alone() -> None:
    table = _table(9)
    states = SYSTEM.filter(table)
    for now in (1, 4, 9):
        # Rows to come that are all missing: the big normal then gives the forecast.
        ahead = np.concatenate([table[:now], np.full((3, 3), np.nan)])
        mean = dense(ORACLE, torch.from_numpy(ahead))[0].reshape(-1, 2).numpy()
        np.testing.assert_allclose(states.mean[now - 1], mean[now - 1], atol=1e-10)
        forecast = SYSTEM.forecast(states.mean[now - 1], 3)
        np.testing.assert_allclose(forecast, mean[now:] @ LOADINGS.T + MEAN, atol=1e-10)


def test_rows_that_are_complete_are_told_the_same_way() -> None:
    table = np.nan_to_num(_table(6))
    expected = smooth(ORACLE, torch.from_numpy(table)[None])
    np.testing.assert_allclose(SYSTEM.smooth(table).mean, expected.mean[0], atol=1e-10)


def test_em_makes_what_was_seen_more_probable() -> None:
    """Under the stationary start that EM's own start tends to the likelihood may fall by a little.

    The start is one state of 60: its density changes by less than 0.1 nats an iteration.
    """
    table = _table(60, seed=1)

    def likelihood(iterations: int) -> float:
        made = fit_linear_dynamical_system(table, 2, iterations)
        oracle = LinearSystem(
            *(torch.from_numpy(np.array(part)) for part in (made.transition, made.innovation)),
            torch.from_numpy(made.loadings),
            torch.from_numpy(made.mean),
            made.noise_variance,
        )
        return float(smooth(oracle, torch.from_numpy(table)[None]).log_likelihood)

    found = [likelihood(count) for count in (1, 2, 5, 20)]
    assert np.diff(found).min() > -0.1
    assert found[-1] > found[0] + 1


def test_without_em_it_is_doretto_s_closed_form() -> None:
    frames = torch.randn(30, 12, generator=torch.Generator().manual_seed(0)).double()
    made = fit_linear_dynamical_system(frames.numpy(), 4, 0)
    texture = dynamic_texture(frames, 4)
    expected = torch.linalg.eigvals(texture.dynamics.transition).abs().sort().values
    np.testing.assert_allclose(np.sort(np.abs(np.linalg.eigvals(made.transition))), expected)
    # The noise is small against 12 columns; the filter's states are nearly the projections.
    sharp = made._replace(noise_variance=1e-9)
    np.testing.assert_allclose(
        sharp.impute(frames.numpy()), texture.decode(texture.states), atol=1e-6
    )


def test_prior_states_draw_the_transition_towards_zero() -> None:
    table = interpolate_in_time(_table(60))
    sizes = [
        np.linalg.norm(fit_linear_dynamical_system(table, 2, 0, prior).transition)
        for prior in (0.0, 60.0, 1e9)
    ]
    # As many states again of which nothing follows halve it, up to the first row.
    assert sizes[1] == pytest.approx(sizes[0] / 2, rel=0.1)
    assert sizes[2] < 1e-6


def test_cells_lie_between_their_neighbours_in_time() -> None:
    table = np.array([[np.nan, 1.0], [2.0, np.nan], [np.nan, np.nan], [4.0, 4.0]])
    expected = [[2.0, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0]]
    np.testing.assert_allclose(interpolate_in_time(table), expected)


def test_what_cannot_be_fitted_is_named() -> None:
    with pytest.raises(ValueError, match=r"dim must lie between 1 and .* less one, 3, got 4"):
        fit_linear_dynamical_system(np.zeros((4, 3)), 4)
    with pytest.raises(ValueError, match="column 1 was not"):
        interpolate_in_time(np.array([[0.0, np.nan], [1.0, np.nan]]))
    with pytest.raises(ValueError, match="prior_states must not be negative, got -1"):
        fit_linear_dynamical_system(np.zeros((4, 3)), 1, prior_states=-1.0)
