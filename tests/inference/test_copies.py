"""Copies of results and of what makes them: case 32 (py-why/EconML#403)."""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from explainaway.inference import MALA, AlternatingBackProp, Posterior, bind, sample_posterior
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, mlp

Y = torch.randn(10, 6, generator=torch.Generator().manual_seed(1))


def _model() -> GeneratorModel:
    torch.manual_seed(0)
    return GeneratorModel(Normal(2), mlp(2, (6,), hidden=(8,)), Masked(Gaussian(0.3)))


def _pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def _saved(value: Any) -> Any:
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.fixture(params=[_pickled, copy.deepcopy, copy.copy, _saved])
def copied(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    function: Callable[[Any], Any] = request.param
    return function


def _sampled() -> Posterior:
    settings: dict[str, Any] = {"num_chains": 2, "warmup_steps": 150, "num_samples": 200}
    return sample_posterior(_model(), Y, kernel=MALA(), progress=False, **settings)


def test_a_posterior_goes_on_as_its_copy_does(copied: Callable[[Any], Any]) -> None:
    posterior = _sampled()
    posterior.summary()
    other = copied(posterior)
    assert torch.equal(other.position, posterior.position)
    assert str(copied(posterior.summary())) == str(other.summary())
    further = posterior.extend(100, progress=False)
    assert torch.equal(other.extend(100, progress=False).position, further.position)
    drawn, expected = (one.to_arviz(predictive_draws=3) for one in (other, posterior))
    assert (drawn["log_likelihood"]["y"] == expected["log_likelihood"]["y"]).all()


@pytest.mark.parametrize("capture", [True, False, None])
def test_a_potentials_copy_is_of_a_model_of_its_own(
    copied: Callable[[Any], Any], capture: bool | None
) -> None:
    model, z = _model(), torch.randn(10, 2)
    potential = bind(model, Y, capture=capture)
    for _ in range(40):
        expected = potential(z)
    other = copied(potential)
    for got in (other(z), other(z)):
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-4)
    assert all(torch.equal(a, b) for a, b in zip(potential(z), expected, strict=True))
    if other.model is not model:
        with torch.no_grad():
            model.network[0].weight.mul_(3)
        torch.testing.assert_close(other(z), expected, rtol=1e-6, atol=1e-4)
        assert not torch.allclose(potential(z)[0], expected[0])


def _weights(abp: AlternatingBackProp) -> Tensor:
    return torch.cat([p.detach().flatten() for p in abp.model.parameters()])  # type: ignore[attr-defined]


@pytest.mark.parametrize("copied", [_pickled, copy.deepcopy, _saved])
def test_learning_goes_on_in_a_copy_as_in_the_original(copied: Callable[[Any], Any]) -> None:
    model = _model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    abp = AlternatingBackProp(model, optimizer=optimizer, batch_size=4)
    fit = abp.fit(Y, epochs=40, progress=False)
    other = copied(abp)
    assert torch.equal(copied(fit).latents, fit.latents)
    assert copied(fit).history == fit.history
    for one in (abp, other):
        for index in torch.arange(10).split(4):
            one.step(Y[index], index)
    assert torch.equal(_weights(other), _weights(abp))
    assert torch.equal(other.chains.position, abp.chains.position)  # type: ignore[union-attr]
