"""Names that nobody knows, and kinds of numbers that nothing takes, are not passed over."""

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from explainaway.inference import AlternatingBackProp, Langevin, bind, sample_posterior
from explainaway.models import (
    Columns,
    Gaussian,
    GeneratorModel,
    Masked,
    Normal,
    Observation,
    OverTime,
    factorised,
    linear,
    mlp,
    observations,
    priors,
)

Y = torch.ones(4, 3)


def _counts() -> GeneratorModel:
    return GeneratorModel(Normal(2), mlp(2, (3,)), Masked(observations.Poisson()))


def _sequences() -> GeneratorModel:
    return GeneratorModel(priors.VAR(1, length=3), OverTime(linear(1, (1,))), Gaussian(0.3))


@pytest.mark.parametrize("call", ["fit", "start", "bind", "sample_posterior"])
def test_a_misspelt_context_key_is_named(call: str) -> None:
    """Case 35: ``exposures`` for ``exposure`` was accepted and ignored."""
    context = {"exposures": torch.ones(4)}
    calls: dict[str, Any] = {
        "fit": lambda m: AlternatingBackProp(m).fit(Y, context=context, epochs=1),
        "start": lambda m: AlternatingBackProp(m).start(Y, context=context),
        "bind": lambda m: bind(m, Y, context=context),
        "sample_posterior": lambda m: sample_posterior(m, Y, context=context),
    }
    with pytest.raises(ValueError, match=r"context holds \['exposures'\].*read \['exposure'\]"):
        calls[call](_counts())


def test_a_known_key_beside_an_unknown_one_does_not_hide_it() -> None:
    context = {"exposure": torch.ones(4), "weights": torch.ones(4)}
    with pytest.raises(ValueError, match=r"context holds \['weights'\], which no piece"):
        bind(_counts(), Y, context=context)


def test_what_no_piece_reads_is_named() -> None:
    with pytest.raises(ValueError, match=r"context holds \['w'\].*observation read none"):
        bind(GeneratorModel(Normal(2), mlp(2, (3,)), Gaussian()), Y, context={"w": torch.ones(4)})


@pytest.mark.parametrize("call", ["decode", "reconstruct", "generate", "noise", "log_joint"])
def test_every_method_names_an_unknown_key(call: str) -> None:
    model, z = _counts(), torch.zeros(4, 2)
    calls: dict[str, Any] = {
        "decode": lambda c: model.decode(z, c),
        "reconstruct": lambda c: model.reconstruct(z, context=c),
        "generate": lambda c: model.generate(4, 0, context=c),
        "noise": lambda c: model.generate(4, 0, noise=True, context=c),
        "log_joint": lambda c: model.log_joint(Y, z, context=c),
    }
    calls[call]({"exposure": torch.ones(4)})
    with pytest.raises(ValueError, match=r"context holds \['exposures'\]"):
        calls[call]({"exposures": torch.ones(4)})


def test_a_context_of_other_examples_is_refused() -> None:
    """Six latents and a context of three were taken for two chains of three."""
    model = _counts()
    with pytest.raises(ValueError, match=r"context\['exposure'\] must have the example.*size 6"):
        model.reconstruct(torch.zeros(6, 2), context={"exposure": torch.ones(3)})
    with pytest.raises(ValueError, match="observed must have the example"):
        model.reconstruct(torch.zeros(6, 2), observed=torch.ones(3, 3))
    assert model.reconstruct(torch.zeros(2, 3, 2), context={"exposure": torch.ones(3)}).shape == (
        2,
        3,
        3,
    )


def test_observations_of_ones_own_may_read_in_any_way() -> None:
    class Shifted(Observation):
        def distribution(self, output: Tensor, *, mask: Any = None, context: Any = None) -> Any:
            for value in dict(context or {}).values():
                output = output + value[:, None]
            return factorised(dist.Normal(output, 1.0), mask)

    model = GeneratorModel(Normal(2), mlp(2, (3,)), Shifted())
    assert bind(model, Y, context={"any": torch.ones(4)}).num_examples == 4


def test_columns_hand_their_context_on() -> None:
    kinds = {"a": observations.Poisson(), "b": Gaussian(1.0)}
    model = GeneratorModel(Normal(2), mlp(2, (2,)), Columns(kinds))
    assert bind(model, Y[:, :2], context={"exposure": torch.ones(4)}).num_examples == 4
    with pytest.raises(ValueError, match="exposures"):
        bind(model, Y[:, :2], context={"exposures": torch.ones(4)})


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({"exposure": 2.0}, r"context\['exposure'\] must be a tensor.*got float"),
        ({"exposure": "long"}, r"context\['exposure'\] must be a tensor.*got str"),
        ({"exposure": torch.ones(4, dtype=torch.complex64)}, "complex64"),
        (torch.ones(4), "context must be a dict of tensors by name, got a Tensor"),
    ],
)
def test_a_context_of_another_kind_is_named(context: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        bind(_counts(), Y, context=context)


def _scaled(y: Tensor, weight: Tensor, *, power: float = 1.0, shift: Any = 5.0) -> None:
    with pyro.plate("rows", len(y)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        center = z * weight**power + (0.0 if shift is None else shift)
        pyro.sample("y", dist.Normal(center, 1.0), obs=y)


def test_keyword_arguments_reach_the_model() -> None:
    """Also batched: examples 0 to 5 in minibatches of 4 have weights of their own."""
    y, weight = torch.arange(6.0), torch.arange(1.0, 7.0)
    potential = bind(_scaled, y, weight=weight, power=2.0, shift=None)
    z = torch.full((6, 1), 0.5)
    prior, likelihood = dist.Normal(0.0, 1.0), dist.Normal(z[:, 0] * weight**2, 1.0)
    expected = -prior.log_prob(z[:, 0]) - likelihood.log_prob(y)
    torch.testing.assert_close(potential(z)[0], expected)
    posterior = sample_posterior(
        _scaled, y, weight=weight.numpy(), shift=None, num_samples=500, progress=False
    )
    exact = weight * y / (1 + weight**2)
    # Six means of at least 500 effective draws with an sd below .71: 4 errors are .13.
    assert float((posterior.position.mean((0, 1))[:, 0] - exact).abs().max()) < 0.13


def test_keyword_arguments_of_nobody_are_named() -> None:
    with pytest.raises(TypeError, match=r"'num_sample', which the model does not take, nor samp"):
        sample_posterior(_counts(), Y, num_sample=3)
    with pytest.raises(TypeError, match=r"'epoch'.*the model takes \['context', 'mask'"):
        AlternatingBackProp(_counts()).fit(Y, epoch=3, epochs=1)
    with pytest.raises(TypeError, match=r"bind\(\) got 'mask', which the model does not take: "):
        bind(_scaled, Y[:, 0], Y[:, 0], mask=Y > 0)


def test_complex_data_keep_their_imaginary_part_or_are_refused() -> None:
    with pytest.raises(TypeError, match=r"y must be real, got torch.complex64.*view_as_real"):
        bind(GeneratorModel(Normal(2), mlp(2, (3,)), Gaussian()), Y + 1j)


def test_whole_numbers_above_what_a_precision_holds_are_told() -> None:
    model = GeneratorModel(Normal(2), mlp(2, (1,)), Gaussian())
    y = torch.tensor([[2**24 + 1], [3]])
    with pytest.warns(UserWarning, match=r"y\[0, 0\] = 16777217 is 16777216 in the model's"):
        bind(model, y)
    bind(model, torch.tensor([[2**25], [3]]))
    potential = bind(model.double(), y)
    z = torch.zeros(2, 2, dtype=torch.float64)
    expected = bind(model, y.double())(z)[0]
    assert torch.equal(potential(z)[0], expected)


def test_examples_in_a_list_are_asked_to_be_stacked() -> None:
    with pytest.raises(TypeError, match=r"y must be one tensor or array, got a list: .*stack"):
        bind(GeneratorModel(Normal(2), mlp(2, (3,)), Gaussian()), [Y[0], Y[1]])


def test_what_is_said_of_y_needs_one() -> None:
    model = _counts()
    with pytest.raises(ValueError, match="mask says what is observed of y, but y is None"):
        model(mask=Y > 0)
    with pytest.raises(ValueError, match="num_examples is for a model without y, got 7"):
        model(Y, num_examples=7)


def test_a_step_of_ones_own_takes_a_dict() -> None:
    abp = AlternatingBackProp(_counts(), Langevin(0.1))
    abp.start(Y)
    abp.step({"y": Y, "mask": None}, torch.arange(4))


def test_a_var_says_that_it_reads_no_lengths() -> None:
    with pytest.raises(ValueError, match=r"context holds \['lengths'\], which no piece"):
        bind(_sequences(), Y[:, :, None], context={"lengths": torch.ones(4)})
