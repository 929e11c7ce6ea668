"""Every observation with every prior through the same calls, and the catalogue made of them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from explainaway.catalogue import Piece, catalogue, markdown
from explainaway.inference import HMC, AlternatingBackProp, Potential, bind, sample_posterior
from explainaway.models import GeneratorModel, Masked, mlp

PIECES = catalogue()
OBSERVATIONS = [piece for piece in PIECES if piece.kind == "observations"]
PRIORS = [piece for piece in PIECES if piece.kind == "priors"]
NUM = 6


def _model(prior: Any, observation: Any, shape: tuple[int, ...]) -> GeneratorModel:
    size = prior.distribution().event_shape.numel()
    network = nn.Sequential(nn.Flatten(), mlp(size, observation.output_shape(shape), hidden=(8,)))
    return GeneratorModel(prior, network, observation)


def assert_captured_as_plain(potential: Potential) -> None:
    z = torch.randn(potential.num_examples, potential.latent_dim)
    got = potential(z)
    assert potential.evaluator.graphs  # type: ignore[attr-defined]
    torch.testing.assert_close(got, potential.plain()(z))


def _holes(y: Tensor) -> Tensor:
    holes = torch.rand(y.shape) < 0.3
    holes[0] = False
    return torch.where(holes, torch.nan, y)


@pytest.mark.parametrize("observation", OBSERVATIONS, ids=lambda piece: piece.name)
@pytest.mark.parametrize("prior", PRIORS, ids=lambda piece: piece.name)
def test_every_pair_learns_samples_reconstructs_generates_and_reports(
    prior: Piece, observation: Piece
) -> None:
    base = observation.make()
    for wrapped in (base, Masked(base)) if not isinstance(base, Masked) else (base,):
        torch.manual_seed(0)
        model = _model(prior.make(), wrapped, observation.entry.shape)
        y = model.generate(NUM, seed=1, noise=True)
        if wrapped is not base:
            y = _holes(y)
        assert y.shape == (NUM, *observation.entry.shape)
        if prior.name == "Normal" or observation.name == "Gaussian":
            # Each piece once, with a plain partner: capturing every pair takes minutes.
            assert_captured_as_plain(bind(model, y, capture=True))
        abp = AlternatingBackProp(model, inference_steps=2, batch_size=3)
        fit = abp.fit(y, epochs=2, progress=False)
        event = model.prior.distribution().event_shape
        assert fit.latents.shape == (NUM, *event)
        assert all(parameter.isfinite().all() for parameter in model.parameters())
        posterior = sample_posterior(
            model,
            y,
            kernel=HMC(2),
            num_chains=2,
            warmup_steps=5,
            num_samples=4,
            progress=False,
        )
        assert posterior.get_samples(group_by_chain=True)["z"].shape == (2, 4, NUM, *event)
        filled = model.reconstruct(fit.latents, observed=y)
        assert filled.shape == y.shape
        assert filled.isfinite().all()
        seen = ~y.isnan()
        assert torch.equal(filled[seen], y[seen])
        assert model.generate(3, seed=2).shape == (3, *observation.entry.shape)
        assert model.decode(fit.latents).isfinite().all()
    tree = posterior.to_arviz(predictive_draws=2, prior_draws=2)
    assert tree["posterior"]["z"].shape == (2, 4, NUM, *event)
    assert tree["posterior_predictive"]["y"].shape[3:] == observation.entry.shape


def test_the_catalogue_in_the_documentation_is_that_of_the_code() -> None:
    page = Path(__file__).parents[2] / "docs" / "catalogue.md"
    assert page.read_text() == markdown(), "python -m explainaway.catalogue > docs/catalogue.md"
