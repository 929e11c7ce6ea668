"""Captured graphs: the same numbers as the model through Pyro, and never those of another one."""

import types
import warnings
from collections.abc import Callable

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.profiler import ProfilerActivity, profile

from explainaway.inference import HMC, MALA, AlternatingBackProp, CaptureWarning
from explainaway.inference import bind as plain_bind
from explainaway.inference.potentials.evaluation import Task
from explainaway.inference.potentials.potential import Potential
from explainaway.inference.potentials.trace import seeded
from explainaway.inference.speed.evaluator import (
    MOST_CHANGES,
    RECAPTURED_FROM,
    CapturingEvaluator,
)
from explainaway.inference.speed.products import onednn_linear
from explainaway.models import (
    Bernoulli,
    Gaussian,
    GeneratorModel,
    Masked,
    Normal,
    Observation,
    deconvnet,
    mlp,
)


def bind(model: Callable[..., object], *data: Tensor, **settings: object) -> Potential:
    """Return a potential that is captured at its first evaluation."""
    return plain_bind(model, *data, capture=True, **settings)  # type: ignore[arg-type]


def capture(potential: Potential, position: Tensor) -> None:
    potential(position)
    assert potential.evaluator.graphs, "the model was not captured"


def assert_as_traced(potential: Potential, position: Tensor) -> None:
    energy, gradient = potential(position)
    expected_energy, expected_gradient = potential.plain()(position)
    assert torch.equal(energy, expected_energy)
    assert torch.equal(gradient, expected_gradient)


def own_model(x: Tensor) -> None:
    scale = pyro.param("scale", torch.tensor(0.5), constraint=constraints.positive)
    with pyro.plate("rows", len(x)):
        rate = pyro.sample("rate", dist.Gamma(2.0, torch.ones(())))
        mix = pyro.sample("mix", dist.Dirichlet(torch.ones(3)))
        pyro.sample("x", dist.StudentT(3.0, rate[:, None] * mix, scale).to_event(1), obs=x)


def markov_model(x: Tensor) -> None:
    """Latents of a stationary autoregression: most of its arithmetic does not depend on them."""
    a = torch.tensor([[0.9, 0.1], [0.0, 0.7]])
    q = torch.eye(2) - a @ a.T
    with pyro.plate("sequences", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([x.shape[1], 2]).to_event(2))
        pyro.factor(
            "dynamics",
            dist.MultivariateNormal(z[:, :-1] @ a.T, q).log_prob(z[:, 1:]).sum(-1),
        )
        pyro.sample("x", dist.Normal(z.sum(-1), 0.3).to_event(1), obs=x)


def _masked(y: Tensor) -> Tensor:
    return torch.where(torch.rand_like(y) < 0.5, y, torch.nan)


def _generator(observation: Observation) -> GeneratorModel:
    return GeneratorModel(Normal(3), mlp(3, (6,)), observation)


MODELS: dict[str, Callable[[], tuple[Potential, Tensor]]] = {
    "gaussian": lambda: (bind(_generator(Gaussian(0.3)), torch.rand(5, 6)), torch.randn(5, 3)),
    "masked gaussian": lambda: (
        bind(_generator(Masked(Gaussian(0.3, torch.tanh))), _masked(torch.rand(5, 6))),
        torch.randn(5, 3),
    ),
    "learned scale": lambda: (
        bind(_generator(Gaussian(torch.rand(6) + 0.1, learn_scale=True)), torch.rand(5, 6)),
        torch.randn(5, 3),
    ),
    "masked bernoulli": lambda: (
        bind(_generator(Masked(Bernoulli())), _masked(torch.rand(5, 6).round())),
        torch.randn(5, 3),
    ),
    "explicit mask": lambda: (
        bind(_generator(Masked(Gaussian(0.3))), torch.rand(5, 6), mask=torch.rand(5, 6) < 0.5),
        torch.randn(5, 3),
    ),
    "deconvnet": lambda: (
        bind(
            GeneratorModel(
                Normal(4), deconvnet(4, (3, 16, 16), width=8), Gaussian(0.3, torch.tanh)
            ).eval(),
            torch.rand(5, 3, 16, 16),
        ),
        torch.randn(5, 4),
    ),
    "own model": lambda: (bind(own_model, torch.rand(5, 3)), torch.randn(5, 3)),
    "markov model": lambda: (bind(markov_model, torch.rand(5, 7)), torch.randn(5, 14)),
    "one example": lambda: (bind(_generator(Gaussian(0.3)), torch.rand(1, 6)), torch.randn(1, 3)),
    "tempered": lambda: (
        bind(_generator(Gaussian(0.3)), torch.rand(5, 6)).tempered(torch.rand(5)),
        torch.randn(5, 3),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_captured_energies_are_those_of_the_model(name: str) -> None:
    potential, position = MODELS[name]()
    capture(potential, position)
    assert_as_traced(potential, torch.randn_like(position))


@pytest.mark.parametrize("name", MODELS)
def test_captured_parts_are_those_of_the_model(name: str) -> None:
    potential, position = MODELS[name]()
    potential.parts(position)
    parts = potential.parts(position)
    assert potential.evaluator.graphs
    for got, expected in zip(parts, potential.plain().parts(position), strict=True):
        assert torch.equal(got, expected)


def test_data_are_inputs_of_the_graph() -> None:
    """A batch captured from a closure gave energies 19.7 nats wrong, silently."""
    model = _generator(Masked(Gaussian(0.3)))
    first = bind(model, _masked(torch.rand(5, 6)))
    z = torch.randn(5, 3)
    capture(first, z)
    others = _masked(torch.rand(5, 6) + 3)
    second = first.on(bind(model, others).data)
    energy, _ = second(z)
    assert second.evaluator.graphs
    torch.testing.assert_close(energy, -model.log_joint(others, z).detach())
    assert not torch.allclose(energy, first(z)[0])


def test_data_changed_in_place_are_seen() -> None:
    y = torch.rand(5, 6)
    potential = bind(_generator(Gaussian(0.3)), y)
    z = torch.randn(5, 3)
    capture(potential, z)
    y.add_(1.0)
    assert_as_traced(potential, z)


def test_weights_changed_in_place_are_seen() -> None:
    model = _generator(Gaussian(0.3, learn_scale=True))
    potential = bind(model, torch.rand(5, 6))
    z = torch.randn(5, 3)
    capture(potential, z)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    potential.loss(z).backward()
    before = potential(z)[0]
    optimizer.step()
    assert not torch.allclose(potential(z)[0], before)
    assert_as_traced(potential, z)


class Configured(nn.Module):
    """A model that reads all kinds of things that may change."""

    def __init__(self) -> None:
        super().__init__()
        self.network = mlp(3, (6,))
        self.register_buffer("offset", torch.zeros(6))
        self.slope = 1.0
        self.config = {"scale": 0.3}

    def forward(self, y: Tensor) -> None:
        with pyro.plate("examples", len(y)):
            z = pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))
            mean = self.slope * self.network(z) + self.offset
            pyro.sample("y", dist.Normal(mean, self.config["scale"]).to_event(1), obs=y)


CHANGES: dict[str, Callable[[Configured], object]] = {
    "attribute": lambda model: setattr(model, "slope", 0.5),
    "submodule": lambda model: setattr(model, "network", mlp(3, (6,))),
    "layer": lambda model: model.network.__setitem__(1, nn.Tanh()),
    "parameter": lambda model: setattr(
        model.network[0], "bias", nn.Parameter(torch.ones_like(model.network[0].bias))
    ),
    "buffer": lambda model: setattr(model, "offset", torch.ones(6)),
    "dictionary": lambda model: model.config.update(scale=0.7),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_model_is_captured_anew(name: str) -> None:
    model = Configured()
    potential = bind(model, torch.rand(5, 6))
    z = torch.randn(5, 3)
    capture(potential, z)
    before = potential(z)[0]
    CHANGES[name](model)
    assert not torch.allclose(potential(z)[0], before)
    assert_as_traced(potential, z)
    for _ in range(3 * RECAPTURED_FROM):
        potential(z)
    assert_as_traced(potential, z)


def test_the_mode_of_a_module_is_part_of_it() -> None:
    network = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6))
    model = GeneratorModel(Normal(3), network, Gaussian(0.3)).eval()
    potential = bind(model, torch.rand(5, 6))
    z = torch.randn(5, 3)
    capture(potential, z)
    evaluated = potential(z)[0]
    model.train()
    for _ in range(RECAPTURED_FROM):
        assert not torch.allclose(potential(z)[0], evaluated)
    model.eval()
    assert_as_traced(potential, z)


def test_capturing_leaves_running_statistics_alone() -> None:
    """Two networks see the same batches, one captured: batch normalisation learns the same."""
    networks = [nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6)) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    y, z = torch.rand(5, 6), torch.randn(5, 3)
    potentials = [bind(GeneratorModel(Normal(3), n, Gaussian(0.3)), y) for n in networks]
    for _ in range(7):
        parameters = [list(network.parameters()) for network in networks]
        loss, gradients = potentials[0].loss_and_gradients(z, parameters[0])
        expected = potentials[1].loss(z)
        expected_gradients = torch.autograd.grad(expected, parameters[1])
        torch.testing.assert_close(loss, expected.detach())
        torch.testing.assert_close(gradients, list(expected_gradients))
    assert potentials[0].evaluator.graphs
    for name, value in networks[0].state_dict().items():
        torch.testing.assert_close(value, networks[1].state_dict()[name])
    assert int(networks[0][1].num_batches_tracked) == 7


def test_dropout_is_drawn_anew_at_every_evaluation() -> None:
    network = nn.Sequential(nn.Linear(3, 64), nn.Dropout(0.5), nn.Linear(64, 6))
    model = GeneratorModel(Normal(3), network, Gaussian(0.3))
    potential = bind(model, torch.rand(5, 6))
    z = torch.randn(5, 3)
    capture(potential, z)
    assert not torch.equal(potential(z)[0], potential(z)[0])
    with seeded(1):
        got = potential(z)
    with seeded(1):
        expected = potential.plain()(z)
    assert torch.equal(got[0], expected[0])


def reads_item(y: Tensor) -> None:
    with pyro.plate("examples", len(y)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(z, 0.5 + float(y.mean().abs())), obs=y)


def reads_numpy(y: Tensor) -> None:
    level = torch.from_numpy(y.numpy() * 1.0)
    with pyro.plate("examples", len(y)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(z + level, 0.5), obs=y)


def branches(y: Tensor) -> None:
    with pyro.plate("examples", len(y)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        if z.sum() > 0:
            z = 2 * z
        pyro.sample("y", dist.Normal(z, 0.5), obs=y)


@pytest.mark.parametrize("model", [reads_item, reads_numpy, branches])
def test_a_model_that_reads_values_is_traced_and_says_so_once(
    model: Callable[[Tensor], None],
) -> None:
    potential = bind(model, torch.rand(1))
    z = torch.randn(1, 1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(10):
            assert_as_traced(potential, z)
    (warning,) = caught
    assert warning.category is CaptureWarning
    assert "reads the values of a tensor into Python" in str(warning.message)
    assert_as_traced(potential.on(bind(model, torch.rand(1) + 5).data), z)


def test_a_model_that_changes_at_every_run_is_traced_and_says_so_once() -> None:
    counter = types.SimpleNamespace(count=0)

    def counts(y: Tensor) -> None:
        counter.count += 1
        with pyro.plate("examples", len(y)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0 + 1000.0 * counter.count))
            pyro.sample("y", dist.Normal(z, 0.5), obs=y)

    potential = bind(counts, torch.rand(5))
    with pytest.warns(CaptureWarning, match="other numbers than the model elsewhere") as caught:
        energies = [float(potential(torch.ones(5, 1))[0].sum()) for _ in range(20)]
    assert len(caught) == 1
    assert len(set(energies)) == 20


def test_a_model_that_is_changed_all_the_time_is_traced_and_says_so_once() -> None:
    model = Configured()
    potential = bind(model, torch.rand(5, 6))
    z = torch.randn(5, 3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(MOST_CHANGES + 10):
            model.slope *= 0.99
            for _ in range(3):
                assert_as_traced(potential, z)
    (warning,) = caught
    assert warning.category is CaptureWarning
    assert "set anew all the time" in str(warning.message)


def test_a_derivative_of_a_captured_gradient_is_refused() -> None:
    """Case 19: a second derivative through a captured gradient was silently wrong."""
    potential = bind(_generator(Gaussian(0.3)), torch.rand(5, 6))
    z = torch.randn(5, 3)
    capture(potential, z)
    energy, gradient = potential(z.requires_grad_())
    with pytest.raises(RuntimeError, match="does not require grad"):
        torch.autograd.grad(energy.sum() + gradient.sum(), z)


def test_outputs_may_be_changed_in_place() -> None:
    potential = bind(_generator(Gaussian(0.3)), torch.rand(5, 6))
    z = torch.randn(5, 3)
    capture(potential, z)
    energy, gradient = potential(z)
    expected = energy.clone(), gradient.clone()
    energy.zero_()
    gradient.zero_()
    assert torch.equal(potential(z)[0], expected[0])
    assert torch.equal(potential(z)[1], expected[1])


def test_learning_is_the_same_bits_with_and_without_capture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("explainaway.inference.speed.graph.onednn_is_faster", lambda threads: False)
    y = _masked(torch.rand(40, 6))
    learned = []
    for capture in (True, False):
        torch.manual_seed(1)
        model = _generator(Masked(Gaussian(0.3)))
        abp = AlternatingBackProp(model, HMC(), inference_steps=3, batch_size=16, capture=capture)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            fit = abp.fit(y, epochs=3, progress=False)
        learned.append((fit.latents, [p.detach() for p in model.parameters()]))
    torch.testing.assert_close(learned[0], learned[1], rtol=0.0, atol=0.0)


def test_products_by_onednn_are_those_of_the_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large products go to whichever library is faster; here to oneDNN in any case."""
    if onednn_linear() is None:
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr("explainaway.inference.speed.graph.onednn_is_faster", lambda threads: True)
    model = GeneratorModel(Normal(128), mlp(128, (128,), hidden=(128,)), Gaussian(0.3))
    potential = bind(model, torch.rand(128, 128))
    z = torch.randn(128, 128)
    capture(potential, z)
    (graph,) = potential.evaluator.graphs
    products = [n for n in graph.module.graph.nodes if "linear_pointwise" in str(n.target)]
    assert len(products) == 4
    energy, gradient = potential(z)
    expected = potential.plain()(z)
    # Sums of 128 products of float32 in another order, around energies of some thousands.
    torch.testing.assert_close(energy, expected[0], rtol=1e-5, atol=1e-2)
    torch.testing.assert_close(gradient, expected[1], rtol=1e-4, atol=1e-3)
    parameters = list(model.parameters())
    _, gradients = potential.loss_and_gradients(z, parameters)
    expected_gradients = torch.autograd.grad(potential.loss(z), parameters)
    torch.testing.assert_close(gradients, list(expected_gradients), rtol=1e-4, atol=1e-4)


def test_an_evaluation_of_a_generator_takes_few_operations() -> None:
    """The guard of the captured graph's size: what a careful person would write by hand."""
    potential, position = MODELS["masked gaussian"]()
    capture(potential, position)
    (graph,) = potential.evaluator.graphs
    # Prior 5 and 2 backward, three layers 3 and 3 (a linear layer, a ReLU: 5 and 5), tanh 1 and 1,
    # likelihood 5 and 1, their sum and its sign 2.
    assert graph.num_operations <= 27


def test_an_evaluation_allocates_no_more_than_its_operations_give() -> None:
    """The guard of memory: one block for each operation, and little of it alive at a time."""
    potential, position = MODELS["masked gaussian"]()
    capture(potential, position)
    (graph,) = potential.evaluator.graphs
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        potential(position)
    recorded = profiler.profiler.kineto_results.events()  # type: ignore[union-attr]
    changes = [event.nbytes() for event in recorded if event.name() == "[memory]"]
    assert sum(change > 0 for change in changes) <= graph.num_operations + 2
    alive = torch.tensor(changes).cumsum(0)
    assert int(alive.max()) <= 6 * max(changes)


def test_what_does_not_depend_on_the_latents_is_evaluated_once() -> None:
    potential, position = MODELS["markov model"]()
    capture(potential, position)
    (graph,) = potential.evaluator.graphs
    assert graph.num_prepared_operations > graph.num_operations / 2


@pytest.mark.parametrize("inference_steps", [1, 10])
def test_an_iteration_evaluates_each_step_once(
    inference_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard of the loop: l proposals, one start after θ has moved, one gradient of θ."""
    counts = {"energy": 0, "loss": 0}
    evaluated = CapturingEvaluator.__call__

    def counting(
        self: CapturingEvaluator, task: Task, potential: Potential, *varying: Tensor
    ) -> tuple[Tensor, ...]:
        if task.num_steps == 0:
            counts["loss" if isinstance(task.name, tuple) else str(task.name)] += 1
        return evaluated(self, task, potential, *varying)

    abp = AlternatingBackProp(
        _generator(Gaussian(0.3)), MALA(0.1), inference_steps=inference_steps, batch_size=8
    )
    y = torch.rand(8, 6)
    abp.start(y)
    monkeypatch.setattr(CapturingEvaluator, "__call__", counting)
    for _ in range(3):
        abp.step(y, torch.arange(8))
    assert counts == {"energy": 3 * (inference_steps + 1), "loss": 3}
