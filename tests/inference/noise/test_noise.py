import pytest
import scipy.stats
import torch

from explainaway.inference import KeyedSource
from explainaway.inference.noise.ahead import NoiseAhead
from explainaway.inference.noise.keyed import common_uniform
from explainaway.inference.speed import Choices
from explainaway.inference.speed.graph import capture


def _normals(examples: torch.Tensor, step: int = 0, seed: int = 0, size: int = 5) -> torch.Tensor:
    source = KeyedSource(seed, examples, torch.zeros_like(examples))
    return source.at(step).normal(size, torch.float32)


def test_noise_belongs_to_the_example_not_to_its_place() -> None:
    examples = torch.arange(40)
    whole = _normals(examples)
    order = torch.randperm(40)
    torch.testing.assert_close(_normals(examples[order]), whole[order])
    torch.testing.assert_close(_normals(examples[7:9]), whole[7:9])


def test_every_part_of_the_key_matters() -> None:
    examples = torch.arange(3)
    base = KeyedSource(0, examples, examples * 0).at(0).normal(5, torch.float64)
    others = [
        KeyedSource(1, examples, examples * 0).at(0).normal(5, torch.float64),
        KeyedSource(0, examples + 3, examples * 0).at(0).normal(5, torch.float64),
        KeyedSource(0, examples, examples * 0 + 1).at(0).normal(5, torch.float64),
        KeyedSource(0, examples, examples * 0).at(1).normal(5, torch.float64),
    ]
    for other in others:
        assert not torch.isclose(base, other).any()


def test_a_generator_goes_on() -> None:
    generator = KeyedSource(0, torch.arange(3), torch.zeros(3, dtype=torch.long)).at(0)
    assert not torch.isclose(
        generator.normal(4, torch.float32), generator.normal(4, torch.float32)
    ).any()


def test_normals_are_standard_normal_across_all_keys() -> None:
    values = torch.cat(
        [_normals(torch.arange(1000), step, size=10).flatten() for step in range(20)]
    )
    # Kolmogorov-Smirnov on 200,000 numbers: a false failure has probability 1e-6.
    assert scipy.stats.kstest(values.double().numpy(), "norm").pvalue > 1e-6


def test_streams_of_neighbouring_keys_are_uncorrelated() -> None:
    a = _normals(torch.arange(200_000), 0, size=1)[:, 0]
    b = _normals(torch.arange(200_000), 1, size=1)[:, 0]
    c = _normals(torch.arange(1, 200_001), 0, size=1)[:, 0]
    for other in (b, c):
        # Six standard errors of 1 / sqrt(n): false failure 2e-9.
        assert abs(float((a * other).mean())) < 6 / 200_000**0.5


def test_uniforms_are_uniform() -> None:
    examples = torch.arange(100_000)
    values = KeyedSource(3, examples, examples * 0).at(2).uniform(1, torch.float64)[:, 0]
    assert scipy.stats.kstest(values.numpy(), "uniform").pvalue > 1e-6
    assert float(values.min()) >= 0
    assert float(values.max()) < 1


def test_any_integer_is_a_seed() -> None:
    for seed in (-1, 2**63, 2**70):
        assert _normals(torch.arange(2), seed=seed).isfinite().all()


@pytest.mark.parametrize("per_row", [False, True])
def test_noise_drawn_ahead_is_the_noise_of_each_step(per_row: bool) -> None:
    """Also where a step asks for something else than the first, or for more."""
    source = KeyedSource.of_chains(3, torch.arange(5), 2)
    ahead = NoiseAhead(source.key)
    asked = [["n", "u"]] * 4 + [["u", "n", "n"]] + [["n", "u", "u"]] + [["n", "u"]] * 40 + [["n"]]
    for number, kinds in enumerate(asked):
        step = torch.full((10,), 7 + number) if per_row else torch.tensor(7 + number)
        got = ahead.at(step, left=len(asked) - number - 1)
        expected = source.at(step)
        for kind in kinds:
            if kind == "n":
                a, b = got.normal(3, torch.float32), expected.normal(3, torch.float32)
            else:
                a, b = got.uniform(1, torch.float32), expected.uniform(1, torch.float32)
            assert torch.equal(a, b)


def test_no_counter_is_multiplied() -> None:
    """A compiler would make a signed index of it, which overflows: a write out of bounds once."""

    def drawn(
        key: torch.Tensor, step: torch.Tensor, other: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        generator = NoiseAhead(key).at(step, left=9)
        return generator.normal(64, torch.float32), generator.uniform(1, torch.float32)

    key, step = KeyedSource.of_chains(0, torch.arange(4), 1).key, torch.zeros(4, dtype=torch.int64)
    captured = capture(drawn, [key, step], [torch.zeros(1)], Choices())
    nodes = [*captured.preparation.graph.nodes, *captured.module.graph.nodes]
    assert not [node for node in nodes if "arange" in str(node.target)]
    normal, uniform = captured.evaluate(
        key, step, *captured.prepare(torch.zeros(1), *captured.held)
    )
    expected = KeyedSource.of_chains(0, torch.arange(4), 1).at(0)
    assert torch.equal(normal, expected.normal(64, torch.float32))
    assert torch.equal(uniform, expected.uniform(1, torch.float32))


def test_common_numbers_are_the_van_der_corput_sequence() -> None:
    source = KeyedSource.of_chains(0, torch.arange(2), 1)
    like = torch.zeros(2)
    values = [float(common_uniform(source.at(step), like)[1]) for step in range(7)]
    assert values == [1 / 2, 1 / 4, 3 / 4, 1 / 8, 5 / 8, 3 / 8, 7 / 8]
    per_row = common_uniform(source.at(torch.tensor([0, 6])), like)
    assert per_row.tolist() == [1 / 2, 7 / 8]
