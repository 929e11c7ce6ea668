"""The work that a captured graph and the loop around it do, counted: no clock is read."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from explainaway.inference import MALA, AlternatingBackProp, bind
from explainaway.inference.speed import Choices
from explainaway.inference.speed.graph import Graph, capture
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, Observation, mlp


def _generator(observation: Observation) -> GeneratorModel:
    return GeneratorModel(Normal(3), mlp(3, (6,)), observation)


def test_what_several_evaluations_need_is_prepared_once() -> None:
    model = _generator(Masked(Gaussian(0.3, torch.tanh)))
    y = torch.where(torch.rand(5, 6) < 0.5, torch.rand(5, 6), torch.nan)
    potential, position = bind(model, y, capture=True), torch.randn(5, 3)
    given = potential.data.tensors()

    def energies(times: int) -> Graph:
        def evaluation(z: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
            plain = potential.plain().on(potential.data.with_tensors(list(tensors)))
            return tuple(plain(z + step)[0] for step in range(times))

        return capture(evaluation, [position], given, Choices())

    once, thrice = energies(1), energies(3)
    assert thrice.num_prepared_operations == once.num_prepared_operations
    expected = torch.stack([potential(position + step)[0] for step in range(3)])
    with torch.no_grad():
        got = thrice.evaluate(position, *thrice.prepare(*given, *thrice.held))
    torch.testing.assert_close(torch.stack(got), expected)


def test_random_numbers_are_not_shared() -> None:
    def evaluation(z: Tensor) -> tuple[Tensor, ...]:
        return torch.rand_like(z), torch.rand_like(z), z.exp(), z.exp()

    captured = capture(evaluation, [torch.zeros(5)], [], Choices())
    one, other, first, second = captured.evaluate(torch.ones(5))
    assert captured.num_operations == 3
    assert not torch.equal(one, other)
    assert torch.equal(first, second)


def test_a_factor_of_ones_is_no_tensor() -> None:
    """What autograd begins with: a product with it would be as large as the data."""

    def evaluation(z: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        ones = torch.ones_like(z[:, 0]).neg()[:, None].expand_as(z)
        return (ones * weight) * (2.0 * z), ones * z

    captured = capture(evaluation, [torch.rand(4, 3)], [torch.tensor(0.7)], Choices())
    z = torch.rand(4, 3)
    (factor,) = captured.prepare(torch.tensor(0.7))
    assert set(factor.stride()) == {0}
    with torch.no_grad():
        product, negative = captured.evaluate(z, factor)
    assert torch.equal(product, z * (-2.0 * torch.tensor(0.7)))
    assert torch.equal(negative, -z)


class _Operations(TorchDispatchMode):
    """Counts the operations that run."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_a_step_of_the_loop_takes_few_operations_beside_its_evaluation() -> None:
    """The guard of the loop's own work, most of a small network's time: noise, accept, adapt."""
    y, index = torch.rand(8, 6), torch.arange(8)
    counts = []
    for inference_steps in (10, 20):
        abp = AlternatingBackProp(
            _generator(Gaussian(0.3)), MALA(), inference_steps=inference_steps, batch_size=8
        )
        abp.start(y)
        for _ in range(3):
            abp.step(y, index)
        with _Operations() as operations:
            abp.step(y, index)
        counts.append(operations.count)
    potential = bind(_generator(Gaussian(0.3)), y, capture=True)
    potential(torch.zeros(8, 3))
    (graph,) = potential.evaluator.graphs
    # Proposal 8, energy error 6, acceptance 6, choice 4, adaptation 5, and a view of each number.
    assert (counts[1] - counts[0]) / 10 - graph.num_operations <= 32
