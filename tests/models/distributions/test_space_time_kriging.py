"""Kriging of videos is conditioning of one big normal; its covariance is the fields'."""

import pytest
import torch
from torch import Tensor

from explainaway.space_time_kriging import (
    StationaryCovariance,
    draw_fields,
    fit_covariance,
    krige,
)

REACH = (3, 4, 4)


def _smooth_fields(count: int, shape: tuple[int, int, int], seed: int = 0) -> Tensor:
    """Return means of white noise over 2 frames and 2 x 2 pixels, times 2: variance .5."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, *(size + 1 for size in shape), generator=generator).double()
    return 2 * torch.nn.functional.avg_pool3d(noise, 2, 1)


def _matrix(covariance: StationaryCovariance, shape: tuple[int, int, int]) -> Tensor:
    """Return the covariance of all cells, by the lag of each pair."""
    by_lag = torch.fft.irfftn(covariance.spectrum, covariance.grid, (0, 1, 2))
    places = torch.cartesian_prod(*map(torch.arange, shape))
    lags = (places[:, None] - places[None]) % torch.tensor(covariance.grid)
    matrix: Tensor = by_lag[tuple(lags.unbind(-1))]
    return matrix


def test_the_covariance_is_that_of_the_fields() -> None:
    """40 fields of 3,400 cells: the standard error of a covariance is about .002."""
    covariance = fit_covariance(_smooth_fields(40, (14, 16, 16)), 14, REACH)
    found = torch.fft.irfftn(covariance.spectrum, covariance.grid, (0, 1, 2))
    taper = torch.tensor([1.0, 2 / 3])[:, None, None] * torch.tensor([1.0, 0.75])[:, None]
    taper = taper * torch.tensor([1.0, 0.75])
    exact = 0.5 * 0.5 ** torch.tensor([[[0, 1], [1, 2]], [[1, 2], [2, 3]]])
    torch.testing.assert_close(
        found[:2, :2, :2].float(), 0.98 * exact * taper, rtol=0.03, atol=0.006
    )
    assert covariance.nugget == pytest.approx(0.01, rel=0.03)


def test_prediction_is_conditioning_one_big_normal() -> None:
    shape = (4, 5, 6)
    fields = _smooth_fields(2, shape)
    hidden = torch.rand(fields.shape, generator=torch.Generator().manual_seed(1)) < 0.4
    covariance = fit_covariance(torch.where(hidden, torch.nan, fields), 4, REACH)
    made = krige(torch.where(hidden, torch.nan, fields), covariance, 500, 1e-12)
    matrix = _matrix(covariance, shape)
    for field, away, one in zip(fields, hidden, made, strict=True):
        seen = ~away.flatten()
        known = matrix[seen][:, seen] + covariance.nugget * torch.eye(int(seen.sum()))
        expected = matrix[:, seen] @ torch.linalg.solve(known, field.flatten()[seen])
        torch.testing.assert_close(one.flatten(), expected, rtol=1e-6, atol=1e-8)


def test_lags_that_no_pair_has_lie_between_others() -> None:
    fields = _smooth_fields(20, (16, 12, 12)).cumsum(1)
    whole = fit_covariance(fields, 16, (5, 4, 4))
    fields[:, 1::2] = torch.nan
    halved = fit_covariance(fields, 16, (5, 4, 4))
    first, second = (
        torch.fft.irfftn(each.spectrum, each.grid, (0, 1, 2))[:4, 0, 0] for each in (whole, halved)
    )
    assert float(second[1]) > 0.5 * float(second[0])
    torch.testing.assert_close(second, first, rtol=0.25, atol=0)


def test_draws_have_the_covariance() -> None:
    covariance = fit_covariance(_smooth_fields(10, (8, 10, 10)).float(), 8, REACH)
    drawn = draw_fields(covariance, (200, 8, 10, 10), seed=0)
    by_lag = torch.fft.irfftn(covariance.spectrum, covariance.grid, (0, 1, 2))
    # 160,000 cells, each correlated with some ten others: errors below 1 % of the variance.
    assert float(drawn.var()) == pytest.approx(float(by_lag[0, 0, 0]) + covariance.nugget, rel=0.04)
    along = (drawn[:, 1:] * drawn[:, :-1]).mean()
    assert float(along) == pytest.approx(float(by_lag[1, 0, 0]), abs=0.04 * float(by_lag[0, 0, 0]))
    assert drawn.equal(draw_fields(covariance, (200, 8, 10, 10), seed=0))


def test_what_cannot_be_kriged_is_named() -> None:
    fields = torch.zeros(1, 4, 5, 5)
    with pytest.raises(ValueError, match="nugget must lie between 0 and 1, got 0"):
        fit_covariance(fields, 4, nugget=0.0)
    with pytest.raises(ValueError, match="cells that were seen, got none"):
        fit_covariance(fields * torch.nan, 4)
    covariance = fit_covariance(_smooth_fields(1, (4, 5, 5)), 4, REACH)
    with pytest.raises(ValueError, match=r"fields must fit into \(7, 9, 9\)"):
        krige(torch.zeros(1, 8, 5, 5), covariance)
