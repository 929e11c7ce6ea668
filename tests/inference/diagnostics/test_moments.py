import pytest
import torch

from explainaway.inference.diagnostics.moments import Moments, merge


def test_running_moments_do_not_cancel() -> None:
    """Case 20 (arviz-devs/arviz#1832): a one-pass variance in float32 gives 0 here."""
    torch.manual_seed(0)
    values = 1000 + 0.01 * torch.randn(200_000)
    moments: Moments | None = None
    for part in values.split(8):
        moments = merge(moments, part)
    assert moments is not None
    # float32 resolves 1000 to 6e-5: the rounded values' own variance is what there is to find.
    assert float(moments.variance) == pytest.approx(float(values.double().var()), rel=0.01)
    assert float(moments.mean) == pytest.approx(1000, abs=1e-3)


def test_merging_parts_gives_the_moments_of_the_whole() -> None:
    values = torch.randn(50, 3, dtype=torch.double)
    moments = merge(merge(merge(None, values[:1]), values[1:20]), values[20:])
    torch.testing.assert_close(moments.mean, values.mean(0))
    torch.testing.assert_close(moments.variance, values.var(0))
    assert moments.num_values == 50
