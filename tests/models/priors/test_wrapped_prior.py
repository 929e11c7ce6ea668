import pyro.distributions as dist
import pytest
import torch

from explainaway.inference import bind
from explainaway.models import Gaussian, GeneratorModel, mlp


@pytest.mark.parametrize(
    "prior",
    [
        dist.Normal(0.0, 1.0).expand([5]),
        dist.StudentT(3.0).expand([5]).to_event(1),
        dist.TransformedDistribution(
            dist.Normal(0.0, 1.0).expand([5]), [dist.transforms.ExpTransform()]
        ),
    ],
    ids=["expanded", "event", "transformed"],
)
def test_a_plain_distribution_as_prior_is_captured(prior: dist.TorchDistribution) -> None:
    """``expand`` had kept Pyro's checks of values in it; pytest makes the warning an error."""
    model = GeneratorModel(prior, mlp(5, 6), Gaussian(0.5))
    energy, _ = bind(model, torch.zeros(3, 6))(torch.zeros(3, 5))
    assert energy.isfinite().all()


def test_the_users_distribution_is_left_as_it_was() -> None:
    prior = dist.Normal(0.0, 1.0).expand([5])
    GeneratorModel(prior, mlp(5, 6), Gaussian(0.5))
    with pytest.raises(ValueError, match="within the support"):
        prior.log_prob(torch.full((5,), torch.nan))
