"""What would make a run wrong is told before it starts, and what a run meets is taken in."""

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from explainaway.inference import HMC, MALA, AlternatingBackProp, Langevin, bind, sample_posterior
from explainaway.models import Gaussian, GeneratorModel, Normal, mlp
from tests.conftest import linear_gaussian

Y = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))


class _Recurrent(nn.Module):
    """A GRU that reads the batch as one sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(2, 8)
        self.last = nn.Linear(8, 3)

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = self.last(self.gru(z)[0])
        return out


class _Mixed(nn.Module):
    """Rows that take something from others."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.last = nn.Linear(2, 3)

    def forward(self, z: Tensor) -> Tensor:
        n = len(z)
        others = {
            "before": lambda: torch.cat([z[:1] * 0, z[:-1]]),
            "after": lambda: torch.cat([z[1:], z[:1] * 0]),
            "last": lambda: z[-1:].expand(n, -1),
            "pairs": lambda: z[torch.arange(n).bitwise_xor(1).clamp(max=n - 1)],
            "opposite": lambda: z.roll(n // 2, 0),
            "mean": lambda: z.mean(0, keepdim=True).expand(n, -1),
            "first to last": lambda: z.flip(0),
            "place": lambda: torch.arange(float(n))[:, None].expand(n, 2),
            "number": lambda: torch.full((n, 2), float(n)),
        }
        out: Tensor = self.last(z + others[self.kind]())
        return out


MIXED = ["before", "after", "last", "pairs", "opposite", "mean", "first to last", "place", "number"]


@pytest.mark.parametrize("n", [2, 6, 32])
@pytest.mark.parametrize("kind", [*MIXED, "recurrent"])
def test_examples_that_depend_on_each_other_are_refused(kind: str, n: int) -> None:
    """Case 26: of a GRU over the batch only later rows depend on earlier ones."""
    network = _Recurrent() if kind == "recurrent" else _Mixed(kind)
    model = GeneratorModel(Normal(2), network, Gaussian(0.3))
    y = torch.zeros(n, 3)
    with pytest.raises(ValueError, match="the model couples examples"):
        AlternatingBackProp(model).fit(y, epochs=1, progress=False)
    with pytest.raises(ValueError, match="the model couples examples"):
        sample_posterior(model, y, progress=False)


def test_a_layer_over_the_batch_is_named() -> None:
    model = GeneratorModel(Normal(2), _Recurrent(), Gaussian(0.3))
    with pytest.raises(ValueError, match=r"\['network.gru'\] have batch_first=False"):
        sample_posterior(model, Y)


def _normalised() -> GeneratorModel:
    network = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    return GeneratorModel(Normal(2), network, Gaussian(0.3))


def _sizes(model: GeneratorModel, n: int, batch_size: int, **more: Any) -> list[int]:
    sizes: list[int] = []
    abp = AlternatingBackProp(model, Langevin(0.1), batch_size=batch_size, **more)
    network: Any = model.network
    watch = network[1].register_forward_pre_hook(
        lambda m, x: sizes.append(len(x[0])) if m.training and torch.is_grad_enabled() else None
    )
    abp.capture = False
    abp.fit(torch.randn(n, 3), epochs=1, progress=False)
    watch.remove()
    return sizes


def test_a_last_batch_of_one_joins_the_one_before_it() -> None:
    """Case 37 (scverse/scvi-tools#2314): batch normalisation cannot learn from one value."""
    assert _sizes(_normalised(), 7, 3) == [3, 4]
    assert _sizes(_normalised(), 8, 3) == [3, 3, 2]
    # Two chains are two rows; nothing is normalised in evaluation mode.
    assert _sizes(_normalised(), 7, 3, num_chains=2) == [6, 6, 2]
    frozen = _normalised().eval()
    AlternatingBackProp(frozen, batch_size=3).fit(torch.randn(7, 3), epochs=1, progress=False)


def test_looking_whether_one_is_enough_leaves_running_statistics_alone() -> None:
    model = _normalised()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    AlternatingBackProp(model, batch_size=3).start(torch.randn(7, 3))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize(("n", "size"), [(5, 1), (1, 10)])
def test_batches_of_one_alone_are_told_before_the_start(n: int, size: int) -> None:
    with pytest.raises(ValueError, match=r"batch_size must be at least 2, got .* normalisation"):
        AlternatingBackProp(_normalised(), batch_size=size).fit(torch.zeros(n, 3), epochs=1)


def _line() -> GeneratorModel:
    return GeneratorModel(Normal(2), mlp(2, (3,)), Gaussian(0.3))


@pytest.mark.parametrize("held_out", [False, True])
def test_a_scheduler_that_wants_a_metric_gets_it(held_out: bool) -> None:
    """Case 38 (ContinualAI/avalanche#692): the held-out energy, else the epoch's loss."""
    kept: list[Any] = []

    def plateau(optimizer: torch.optim.Optimizer) -> Any:
        kept.append(torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0))
        return kept[-1]

    abp = AlternatingBackProp(_line(), scheduler=plateau)
    more: Any = {"validation": Y + 1} if held_out else {}
    fit = abp.fit(Y, epochs=3, progress=False, **more)
    key = "validation_energy" if held_out else "loss"
    assert kept[0].best == min(fit.history[key])


@pytest.mark.parametrize("switch", [torch.no_grad, torch.inference_mode])
def test_somebodys_switched_off_gradients_do_not_matter(switch: Any) -> None:
    """Case 39 (ubc-vision/sonic#2)."""
    line = linear_gaussian(torch.tensor([[2.0], [3.0]])).model
    few: Any = {"warmup_steps": 50, "num_samples": 100, "progress": False}

    def run(line: Any) -> list[Tensor]:
        torch.manual_seed(0)
        data = Y.clone()
        torch.manual_seed(0)
        model = _line_like()
        abp = AlternatingBackProp(model)
        fit = abp.fit(data, epochs=2, progress=False)
        abp.start(data)
        abp.step(data, torch.arange(6))
        posterior = sample_posterior(line, torch.tensor([[5.0, 1.0]]) + 0, **few)
        return [fit.latents, posterior.position]

    expected = run(line)
    with switch():
        found = run(line)
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


def test_a_potential_has_its_gradient_under_inference_mode() -> None:
    model = _line()
    expected = bind(model, Y)(torch.ones(6, 2))
    with torch.inference_mode():
        found = bind(model, Y + 0)(torch.ones(6, 2))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def _line_like() -> GeneratorModel:
    with torch.inference_mode(False):
        return _line()


def test_one_example_that_overflows_is_named_by_its_own_number() -> None:
    """Case 48: chains are batched chain-major, and chunks begin anywhere."""
    y = Y.clone()
    y[4, 1] = 1e20
    short: dict[str, Any] = {"warmup_steps": 5, "num_samples": 5, "progress": False}
    for chunk_size in (None, 4):
        with pytest.raises(ValueError, match=r"example 4 cannot start: .*largest number .* 1e\+20"):
            sample_posterior(_line(), y, kernel=HMC(), num_chains=2, chunk_size=chunk_size, **short)
    with pytest.raises(ValueError, match="example 4 is not finite"):
        AlternatingBackProp(_line(), MALA()).fit(y, epochs=1, progress=False)


def _plate_of_one(y: Tensor) -> None:
    with pyro.plate("data", 1):
        z = pyro.sample("z", dist.Normal(torch.zeros(len(y)), 1.0))
        pyro.sample("y", dist.Normal(z, 1.0), obs=y)


def _plate_of_seven(y: Tensor) -> None:
    with pyro.plate("data", 7):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(z, 1.0), obs=y)


@pytest.mark.parametrize("model", [_plate_of_one, _plate_of_seven])
def test_a_plate_of_another_size_is_named(model: Any) -> None:
    """Case 53."""
    size = 1 if model is _plate_of_one else 7
    with pytest.raises(ValueError, match=f"'data' has size {size}, but the data hold 4.*data"):
        bind(model, torch.zeros(4))


def _improper(y: Tensor) -> None:
    with pyro.plate("data", len(y)):
        z = pyro.sample("z", dist.ImproperUniform(dist.constraints.real, (), ()))
        pyro.sample("y", dist.Normal(z, 1.0), obs=y)


def test_an_improper_prior_is_named() -> None:
    with pytest.raises(ValueError, match=r"latent site 'z' has the prior ImproperUniform.*proper"):
        bind(_improper, torch.zeros(4))


def test_a_parameter_that_a_callback_sets_free_moves() -> None:
    """Case 30 (fastai/fastai#2133)."""
    model = _line()
    first: Any = model.network[0]  # type: ignore[index]
    first.weight.requires_grad_(False)
    seen = []

    def unfreeze(abp: Any, record: Any) -> None:
        seen.append(first.weight.detach().clone())
        first.weight.requires_grad_(True)

    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    abp = AlternatingBackProp(model, optimizer=optimizer, average_from=2)
    before = first.weight.detach().clone()
    fit = abp.fit(Y, epochs=3, callbacks=[unfreeze], progress=False)
    assert torch.equal(seen[0], before)
    assert not torch.equal(seen[1], seen[0])
    assert fit.averaged is not None
    assert "network.0.weight" in fit.averaged


def test_a_parameter_set_free_that_nobody_holds_is_named() -> None:
    model = _line()
    first: Any = model.network[0]  # type: ignore[index]
    first.weight.requires_grad_(False)
    abp = AlternatingBackProp(model)
    with pytest.raises(ValueError, match=r"does not hold the parameters \['network.0.weight'\]"):
        abp.fit(Y, epochs=3, callbacks=[lambda *_: first.weight.requires_grad_()], progress=False)
