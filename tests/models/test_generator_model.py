import pyro
import pytest
import torch
from pyro import poutine

from explainaway.inference import bind
from explainaway.models import Bernoulli, Gaussian, GeneratorModel, Masked, Normal, deconvnet, mlp


def _model() -> GeneratorModel:
    return GeneratorModel(Normal(2), mlp(2, (3, 4)), Masked(Gaussian(0.3, torch.tanh)))


def test_it_is_a_pyro_model_with_an_example_plate() -> None:
    trace = poutine.trace(_model()).get_trace(torch.zeros(5, 3, 4))
    assert trace.nodes["z"]["value"].shape == (5, 2)
    assert trace.nodes["y"]["is_observed"]
    assert [frame.name for frame in trace.nodes["z"]["cond_indep_stack"]] == ["examples"]


def test_without_data_it_samples_them() -> None:
    assert _model()(num_examples=7).shape == (7, 3, 4)


def test_the_trace_and_log_joint_agree() -> None:
    model, y, z = _model(), torch.rand(5, 3, 4), torch.randn(5, 2)
    conditioned = poutine.condition(model, data={"z": z})
    total = poutine.trace(conditioned).get_trace(y).log_prob_sum()
    torch.testing.assert_close(total, model.log_joint(y, z).sum())


def test_decode_and_reconstruct_take_several_chains() -> None:
    model = _model()
    latents = torch.randn(4, 5, 2)
    decoded = model.decode(latents)
    assert decoded.shape == (4, 5, 3, 4)
    torch.testing.assert_close(decoded[2], model.decode(latents[2]))
    torch.testing.assert_close(model.reconstruct(latents), decoded)


def test_reconstruct_keeps_what_was_observed() -> None:
    model, z = _model(), torch.randn(5, 2)
    y = torch.where(torch.rand(5, 3, 4) < 0.5, torch.rand(5, 3, 4), torch.nan)
    filled = model.reconstruct(z, observed=y)
    seen = ~y.isnan()
    assert torch.equal(filled[seen], y[seen])
    assert torch.equal(filled[~seen], model.reconstruct(z)[~seen])


def test_generate_is_reproduced_by_its_seed_and_leaves_the_random_state() -> None:
    model = _model()
    before = torch.random.get_rng_state()
    first = model.generate(6, seed=1, noise=True)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first, model.generate(6, seed=1, noise=True))
    assert not torch.equal(first, model.generate(6, seed=2, noise=True))


def test_bernoulli_probabilities_reach_from_0_to_1() -> None:
    model = GeneratorModel(Normal(1), mlp(1, (2,), hidden=()), Bernoulli())
    with torch.no_grad():
        model.network[0].weight.fill_(20.0)
    decoded = model.decode(torch.tensor([[-1.0], [1.0]])).detach()
    assert float(decoded.min()) < 0.01
    assert float(decoded.max()) > 0.99


def test_two_models_in_one_process_do_not_touch_each_other() -> None:
    """PyroParam would: the second model's trace replaced the first one's parameter."""
    one = GeneratorModel(Normal(2), mlp(2, (3,)), Gaussian(0.5, learn_scale=True))
    two = GeneratorModel(Normal(2), mlp(2, (3,)), Gaussian(2.0, learn_scale=True))
    y, z = torch.zeros(4, 3), torch.randn(4, 2)
    before = bind(one, y)(z)
    parameters = list(one.parameters())
    bind(two, y).loss(z).backward()
    assert not pyro.get_param_store().keys()
    assert all(a is b for a, b in zip(parameters, one.parameters(), strict=True))
    assert all(p.grad is None for p in one.parameters())
    for a, b in zip(before, bind(one, y)(z), strict=True):
        assert torch.equal(a, b)


def test_decoding_does_not_disturb_batch_normalisation() -> None:
    network = deconvnet(3, (1, 8, 8), width=4, batch_norm=True)
    model = GeneratorModel(Normal(3), network, Gaussian(0.3, torch.tanh))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    z = torch.randn(6, 3)
    whole = model.decode(z)
    torch.testing.assert_close(whole[:2], model.decode(z[:2]))
    assert model.training
    assert model.network.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_decoding_leaves_a_frozen_layer_frozen() -> None:
    network = deconvnet(3, (1, 8, 8), width=4, batch_norm=True)
    model = GeneratorModel(Normal(3), network, Gaussian(0.3, torch.tanh))
    norm = next(m for m in model.network if isinstance(m, torch.nn.BatchNorm2d))
    norm.eval()
    model.decode(torch.randn(6, 3))
    assert not norm.training
    assert model.network.training


def test_broadcasting_does_not_add_terms() -> None:
    """Case 18 (tensorflow/probability#611)."""
    output = torch.tensor([[0.0], [1.0], [2.0]])

    class Fixed(torch.nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return output[: z.shape[0]]

    model = GeneratorModel(Normal(1), Fixed(), Gaussian(1.0))
    with pytest.raises(ValueError, match=r"shape \(1,\).*event shape \(1,\)"):
        bind(model, torch.zeros(3))
    with pytest.raises(ValueError, match=r"shape \(3,\).*event shape \(1,\)"):
        model.log_joint(torch.zeros(3), torch.zeros(3, 1))
    density = bind(model, torch.zeros(3, 1)).log_likelihood(torch.zeros(3, 1))
    torch.testing.assert_close(density, torch.tensor([-0.918939, -1.418939, -2.918939]))
    assert float(density.sum()) == pytest.approx(-5.256816, abs=1e-5)


def test_data_are_checked_in_parts_and_errors_name_the_example_among_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("explainaway.models.data_checks.CHECKED_AT_ONCE", 4)
    model = GeneratorModel(Normal(2), mlp(2, (3,)), Gaussian(0.3))
    y = torch.rand(10, 3)
    model.validate_data(y)
    y[9, 1] = torch.inf
    with pytest.raises(ValueError, match=r"y\[9, 1\] must be finite, got inf"):
        model.validate_data(y)
    y[9, 1] = torch.nan
    with pytest.raises(ValueError, match=r"y\[9, 1\] is NaN"):
        model.validate_data(y)
    masked = GeneratorModel(Normal(2), mlp(2, (3,)), Masked(Gaussian(0.3)))
    with pytest.raises(ValueError, match=r"mask must have the shape of y, \(10, 3\), got \(9, 3\)"):
        masked.validate_data(y, mask=torch.ones(9, 3, dtype=torch.bool))
    y[:, 2] = torch.nan
    y[0, 2] = 0.5
    masked.validate_data(y)


def test_numbers_are_detached_unless_the_latents_require_a_gradient() -> None:
    model, y = _model(), torch.full((5, 3, 4), torch.nan)
    z = torch.randn(5, 2)
    assert not model.decode(z).requires_grad
    assert not model.reconstruct(z).requires_grad
    assert not model.reconstruct(z, observed=y).requires_grad
    assert not model.generate(2, seed=0).requires_grad
    leaf = z.clone().requires_grad_()
    for result in (model.decode(leaf), model.reconstruct(leaf), model.reconstruct(leaf, y)):
        gradients = torch.autograd.grad(result.sum(), [leaf, *model.network.parameters()])
        assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    with torch.no_grad():
        assert not model.decode(leaf).requires_grad


def test_data_and_latents_take_the_models_dtype_and_device() -> None:
    """Case 40: on another device torch says "Expected all tensors to be on the same device"."""
    model, z = _model(), torch.randn(5, 2, dtype=torch.float64)
    y = torch.where(torch.rand(5, 3, 4) < 0.5, torch.rand(5, 3, 4), torch.nan).double()
    for result in (
        model.decode(z),
        model.decode(z.numpy()),
        model.reconstruct(z, observed=y),
        model.reconstruct(z.numpy(), observed=y.numpy()),
        model.impute(y, z.numpy()),
        model.impute(y.numpy(), z, mask=~y.isnan().numpy()),
    ):
        assert result.dtype == torch.float32
    elsewhere = _model().to("meta")
    with pyro.validation_enabled(False):  # it looks at numbers, of which there are none
        assert elsewhere.decode(z).device.type == "meta"
        assert elsewhere.reconstruct(z, observed=y).shape == y.shape
        assert elsewhere.reconstruct(z, observed=y, mask=~y.isnan()).device.type == "meta"
