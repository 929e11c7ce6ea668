"""Tables whose columns are of different kinds."""

import math
from collections.abc import Callable

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from explainaway.inference import AlternatingBackProp, bind
from explainaway.models import (
    Bernoulli,
    Categorical,
    Censored,
    Columns,
    Gaussian,
    GeneratorModel,
    Masked,
    NegativeBinomial,
    Normal,
    Observation,
    Ordinal,
    Poisson,
    Truncated,
    mlp,
)
from explainaway.models.observations import DiscretizedLogistic, Laplace, StudentT

KINDS = {
    ("height", "weight"): Gaussian(0.5),
    "colour": Categorical(3),
    "visits": Poisson(),
    "pain": Ordinal(4),
    "smoker": Bernoulli(),
}
WIDTHS = [2, 1, 1, 1, 1]
OUTPUTS = [(2,), (1, 3), (1,), (1,), (1,)]


def _table(n: int = 5) -> tuple[Columns, Tensor, Tensor]:
    """Return a table's observation with an output of it and data."""
    table = Columns(KINDS)
    output = torch.randn(n, *table.output_shape((6,)))
    return table, output, table.distribution(output).sample()


def _apart(output: Tensor, y: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return each observation's own output and data."""
    outputs = output.split([math.prod(shape) for shape in OUTPUTS], 1)
    shaped = [part.reshape(-1, *shape) for part, shape in zip(outputs, OUTPUTS, strict=True)]
    return list(zip(shaped, y.split(WIDTHS, 1), strict=True))


@pytest.mark.parametrize("masked", [False, True])
def test_a_rows_density_is_the_product_of_its_columns(masked: bool) -> None:
    table, output, y = _table()
    mask = torch.rand(y.shape) < 0.5 if masked else None
    masks = [None] * 5 if mask is None else mask.split(WIDTHS, 1)
    expected = [
        kind.distribution(o, mask=m).log_prob(part)
        for kind, (o, part), m in zip(KINDS.values(), _apart(output, y), masks, strict=True)
    ]
    got = table.distribution(output, mask=mask).log_prob(y)
    torch.testing.assert_close(got, torch.stack(expected).sum(0))


def test_estimates_and_signals_are_those_of_the_columns() -> None:
    table, output, y = _table()
    apart = list(zip(KINDS.values(), _apart(output, y), strict=True))
    estimates = torch.cat([kind.reconstruct(o) for kind, (o, _) in apart], 1)
    assert torch.equal(table.reconstruct(output), estimates)
    signals = torch.cat([kind.signal(o).flatten(1) for kind, (o, _) in apart], 1)
    assert torch.equal(table.signal(output), signals)
    mask = torch.rand(y.shape) < 0.5
    filled = table.complete(output, y, mask)
    assert torch.equal(filled, torch.where(mask, y, estimates))
    assert torch.equal(table.complete(output, y), y)


def test_a_column_takes_only_its_own_outputs() -> None:
    table, output, y = _table(1)
    output.requires_grad_()
    for column, outputs in enumerate([[0], [1], [2, 3, 4], [5], [6], [7]]):
        mask = torch.zeros(1, 6, dtype=torch.bool)
        mask[0, column] = True
        density = table.distribution(output, mask=mask).log_prob(y)
        (gradient,) = torch.autograd.grad(density.sum(), output)
        assert gradient[0].nonzero().flatten().tolist() == outputs


def test_exposure_reaches_the_count_columns_alone() -> None:
    table = Columns({"age": Gaussian(), "visits": Poisson(), "falls": NegativeBinomial(0.5)})
    output, y = torch.zeros(4, 3), torch.ones(4, 3)
    hours = torch.arange(1.0, 5.0)
    per_row = table.reconstruct(output, {"exposure": hours})
    torch.testing.assert_close(per_row, torch.stack([torch.zeros(4), hours, hours], 1))
    cells = torch.stack([torch.full((4,), math.nan), hours, 2 * hours], 1)
    per_cell = table.reconstruct(output, {"exposure": cells})
    torch.testing.assert_close(per_cell, torch.stack([torch.zeros(4), hours, 2 * hours], 1))
    table.validate(y, None, {"exposure": cells})
    model = GeneratorModel(Normal(2), mlp(2, (3,)), Masked(table))
    bind(model, y, context={"exposure": hours})


def test_a_positive_column_is_any_pyro_distribution_and_may_have_holes() -> None:
    """Its hidden cells are filled by 0, where a log-normal has no density."""
    table = Columns({"age": Gaussian(0.5), "income": lambda output: dist.LogNormal(output, 0.5)})
    model = GeneratorModel(Normal(2), mlp(2, (2,)), Masked(table))
    y = model.generate(10, seed=0, noise=True)
    y[3, 1] = y[7, 0] = math.nan
    z = torch.randn(10, 2)
    energy, gradient = bind(model, y)(z)
    assert bool(energy.isfinite().all())
    assert bool(gradient.isfinite().all())
    alone = dist.Normal(model.network(z)[3, 0].detach(), 0.5).log_prob(y[3, 0])
    prior = Normal(2).distribution().log_prob(z[3])
    torch.testing.assert_close(-energy[3], alone + prior)
    with pytest.raises(ValueError, match=r"y\[0, 1\] = -1 in column 'income'"):
        model.validate_data(torch.full((10, 2), -1.0))


def test_a_learned_part_of_each_column_is_learned() -> None:
    table = Columns(
        {
            "age": Gaussian(3.0, learn_scale="closed form"),
            "falls": NegativeBinomial(1.0, learn_dispersion=True),
            "pain": Ordinal(4),
        }
    )
    model = GeneratorModel(Normal(2), mlp(2, (3,), (8,)), Masked(table))
    y = model.generate(40, seed=0, noise=True)
    y[:, 0] /= 10
    y[torch.rand(y.shape) < 0.2] = math.nan
    before = {name: value.clone() for name, value in table.state_dict().items()}
    AlternatingBackProp(model, inference_steps=2).fit(y, epochs=3, progress=False)
    changed = {name for name, v in table.state_dict().items() if not torch.equal(v, before[name])}
    assert changed == {
        "kinds.0.log_scale",
        "kinds.0.num_batches",
        "kinds.1.log_dispersion",
        "kinds.2.log_gaps",
    }
    # The closed form has seen the observed ages only.
    assert float(table.kinds[0].scale) < 1.5


def test_a_column_helps_to_fill_another() -> None:
    """Two columns driven by one latent: what is filled in the second agrees with the first.

    Without the first column's help the answer is the same for all, which is right half of the
    time; 60 rows, 45 right by chance: 7e-5.
    """
    table = Columns({"score": Gaussian(0.3), "passed": Bernoulli()})
    network = mlp(1, (2,), hidden=())
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0], [6.0]]))
        network[0].bias.zero_()
    model = GeneratorModel(Normal(1), network, Masked(table))
    y = model.generate(120, seed=3, noise=True)
    holes = y.clone()
    holes[:60, 1] = math.nan
    potential = bind(model, holes)
    z = torch.zeros(120, 1)
    for _ in range(200):
        z = z - 0.05 * potential(z)[1]
    filled = model.reconstruct(z, observed=holes).detach()
    assert torch.equal(filled[:, 0], y[:, 0])
    assert int(((filled[:60, 1] > 0.5).float() == y[:60, 1]).sum()) >= 45


def test_the_support_names_the_columns() -> None:
    table, output, _ = _table(1)
    support = table.distribution(output).support
    y = torch.tensor([[1.0, -2.0, 2.0, 3.0, 3.0, 1.0], [0.0, 0.0, 3.0, -1.0, 4.0, 0.5]])
    inside = support.base_constraint.check(y)
    assert inside.tolist() == [[True] * 6, [True, True, False, False, False, False]]
    assert support.check(y).tolist() == [True, False]
    assert "'pain': IntegerInterval(lower_bound=0, upper_bound=3)" in str(support.base_constraint)


def test_it_moves_with_its_model() -> None:
    table, output, y = _table()
    got = Masked(table).double().distribution(output.double()).log_prob(y.double())
    assert got.dtype == torch.double
    filled, observed = Masked(table).prepare(torch.full((2, 6), math.nan, dtype=torch.double), None)
    assert filled.dtype == torch.double
    assert observed is not None
    assert not bool(observed.any())
    table.float()


@pytest.mark.parametrize(
    "kind",
    [
        lambda: Gaussian(0.3, learn_scale=True),
        lambda: Laplace(0.3, learn_scale=True),
        lambda: StudentT(4.0, scale=0.3, learn_scale=True),
        lambda: DiscretizedLogistic(4, scale=0.3, learn_scale=True),
        lambda: Censored(Gaussian(0.3, learn_scale=True), lower=0.0),
        lambda: Truncated(Gaussian(0.3, learn_scale=True), low=-1.0),
        lambda: NegativeBinomial(0.5, learn_dispersion=True),
        lambda: Ordinal(4),
    ],
)
def test_what_is_learned_is_learned_for_each_column(kind: Callable[[], Observation]) -> None:
    group, single = Columns({("a", "b", "c"): kind()}), Columns({n: kind() for n in "abc"})
    output, y = torch.randn(20, 3), torch.randint(0, 4, (20, 3)).float()
    densities = [each.distribution(output).log_prob(y) for each in (group, single)]
    torch.testing.assert_close(*densities)
    for density in densities:
        density.sum().backward()
    of_group = [p.grad for p in group.parameters()]
    of_single = [torch.stack([p.grad for p in single.parameters() if p.grad is not None])]
    assert len(of_group) == 1
    torch.testing.assert_close(of_group, of_single)


def test_columns_learn_scales_of_their_own_in_closed_form() -> None:
    noise = Gaussian(0.3, learn_scale="closed form")
    table = Masked(Columns({("a", "b"): noise, "c": Poisson()}))
    residual = torch.randn(500, 2) * torch.tensor([0.1, 10.0])
    output = torch.randn(500, 3)
    y = torch.cat([output[:, :2] + residual, torch.ones(500, 1)], 1)
    y[:100, 0] = torch.nan
    table.closed_form_step(output, *table.prepare(y, None))
    expected = torch.stack([residual[100:, 0].square().mean(), residual[:, 1].square().mean()])
    torch.testing.assert_close(noise.scale, expected.sqrt())


def test_one_observation_is_learned_for_columns_that_share_it() -> None:
    noise = Gaussian(0.3, learn_scale=True)
    table = Columns({"a": noise, "b": noise})
    assert [p.shape for p in table.parameters()] == [()]
    with pytest.raises(ValueError, match=r"columns \['a', 'b'\] and \['c'\] share one Gaussian"):
        Columns({("a", "b"): noise, "c": noise})
    # Nothing is learned of this one.
    still = Gaussian(0.3)
    Columns({("a", "b"): still, "c": still})
    assert still.scale.shape == ()
