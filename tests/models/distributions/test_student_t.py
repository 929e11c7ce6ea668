import pytest
import torch
from scipy import stats

from explainaway.models.distributions.student_t import StudentTCells
from explainaway.models.observations import StudentT
from explainaway.models.priors import StudentT as StudentTPrior

GRID = (0.3, 1.0, 4.0, 99.0, 9_999.0, 10_001.0, 1e5, 1e6, 1e9, 1e20)


@pytest.mark.parametrize(("df", "expected"), [(1e4, -2.918764), (1e5, -2.918921), (1e6, -2.918937)])
def test_many_degrees_of_freedom_are_exact_in_float32(df: float, expected: float) -> None:
    """Case 44 (scipy/scipy#18386): torch's are off by .005, -.019, -.081 a cell."""
    y = torch.full((1, 1), 2.0)
    observed = StudentT(df).distribution(torch.zeros(1, 1)).log_prob(y)
    assert float(observed) == pytest.approx(expected, abs=2e-6)
    prior = StudentTPrior(1, df=df).distribution().log_prob(y)
    assert float(prior) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("df", GRID)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_densities_are_scipys(df: float, dtype: torch.dtype) -> None:
    value = torch.tensor([-30.0, -2.0, 0.0, 0.7, 5.0], dtype=dtype)
    made = StudentTCells(torch.tensor(df, dtype=dtype), 0.5, torch.tensor(2.0, dtype=dtype))
    exact = stats.norm if df > 1e15 else stats.t(df)
    expected = torch.from_numpy(exact.logpdf((value.double().numpy() - 0.5) / 2.0))
    tolerance = 3e-6 if dtype == torch.float32 else 1e-8
    torch.testing.assert_close(
        made.log_prob(value).double() + torch.tensor(2.0).double().log(),
        expected,
        rtol=tolerance,
        atol=tolerance,
    )
