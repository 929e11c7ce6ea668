"""What is handed over with the examples reaches every piece: families, wrappers, priors, operators.

Every method of a shipped piece that takes a ``context`` is watched while a model is used with one:
none of them may be called without it. A family and a prior of the tests' own say the same of what
users write.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from explainaway.catalogue import catalogue
from explainaway.models import (
    VAR,
    Censored,
    ColoredGaussian,
    Columns,
    Gaussian,
    GeneratorModel,
    LowRankGaussian,
    Masked,
    Normal,
    Observation,
    Ordinal,
    OverTime,
    Poisson,
    Prior,
    Sensed,
    Supervised,
    Truncated,
    factorised,
    forecast,
    mlp,
    operators,
)
from explainaway.models.observations.around_signal import AroundSignal

NUM = 5
CELLS = (6,)


def _context() -> dict[str, Tensor]:
    return {
        "marker": torch.arange(float(NUM)),
        "exposure": torch.ones(NUM),
        "labels": torch.full((NUM, 1), torch.nan),
        "operator": torch.rand(NUM, 6, 8) / 8,
    }


class Call(NamedTuple):
    """A method that takes a context, and what it got."""

    method: str
    context: Mapping[str, Tensor] | None


def _assert_none_went_without(calls: list[Call]) -> None:
    assert calls
    assert {call.method for call in calls if "marker" not in (call.context or {})} == set()


def _all_subclasses(parent: type) -> set[type]:
    below = {child for direct in parent.__subclasses__() for child in _all_subclasses(direct)}
    return {parent, *below}


def _watched(function: Callable[..., Any], calls: list[Call]) -> Callable[..., Any]:
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs).arguments.get("context")
        # Looking at every key reads them all: the same context goes to all pieces here, and keys
        # that none of them reads would be refused.
        calls.append(Call(function.__qualname__, None if given is None else dict(given)))
        return function(*args, **kwargs)

    return call


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """Every call of a shipped piece's method that takes a context, from now on."""
    seen: list[Call] = []
    for parent in (Observation, Prior, operators.LinearOperator):
        for piece in _all_subclasses(parent):
            if not piece.__module__.startswith("explainaway.models"):
                continue
            for name, function in list(vars(piece).items()):
                if (
                    inspect.isfunction(function)
                    and "context" in inspect.signature(function).parameters
                ):
                    monkeypatch.setattr(piece, name, _watched(function, seen))
    return seen


def _use(
    prior: Any, observation: Any, shape: tuple[int, ...], context: dict[str, Tensor] | None = None
) -> None:
    """Take a model through everything that is told a context."""
    context = context or _context()
    size = prior.distribution().event_shape.numel()
    network = nn.Sequential(nn.Flatten(), mlp(size, observation.output_shape(shape), hidden=(4,)))
    model = GeneratorModel(prior, network, observation)
    y = model.generate(NUM, seed=0, noise=True, context=context)
    model.generate(NUM, seed=0, context=context)
    if isinstance(observation, Masked):
        y[0, 0] = torch.nan
        y[1] = torch.nan
    model.validate_data(y, context=context)
    z = prior.distribution().sample((NUM,))
    model(y, context=context)
    model.log_joint(y, z, context=context)
    model.closed_form_step({"z": z}, y, context=context)
    chains = z.expand(2, *z.shape)
    model.decode(chains, context=context)
    model.reconstruct(chains, context=context)
    model.reconstruct(chains, observed=y, context=context)


PIECES = {
    **{f"{p.kind} {p.name}": p for p in catalogue()},
    **{f"masked {p.name}": p for p in catalogue() if p.kind == "observations"},
}


def _of_piece(name: str) -> tuple[Any, Any, tuple[int, ...]]:
    piece = PIECES[name]
    made = piece.make()
    if piece.kind == "priors":
        return made, Masked(Gaussian(0.3)), CELLS
    if piece.kind == "operators":
        return Normal(2), Masked(Sensed(Gaussian(0.3), made)), made.output_shape
    wrapped = Masked(made) if name.startswith("masked") else made
    return Normal(2), wrapped, piece.entry.shape


@pytest.mark.parametrize("name", PIECES)
def test_no_shipped_piece_drops_a_context(name: str, calls: list[Call]) -> None:
    _use(*_of_piece(name))
    _assert_none_went_without(calls)


def _projection() -> operators.LinearOperator:
    return operators.RandomProjection((8,), 6, seed=0)


COMPOSED: dict[str, Callable[[], Observation]] = {
    "closed form": lambda: Masked(Gaussian(0.3, learn_scale="closed form")),
    "closed form, sensed": lambda: Masked(
        Sensed(Gaussian(0.3, learn_scale="closed form"), _projection())
    ),
    "low rank, sensed": lambda: Masked(
        Sensed(LowRankGaussian(6, 2, 0.3, white_batches=0), _projection())
    ),
    "coloured": lambda: Masked(ColoredGaussian(6, 0.3, white_batches=0)),
    "counts of averages": lambda: Masked(
        Sensed(Poisson(), operators.PerExample((8,), (6,)) @ operators.Identity((8,)))
    ),
    "censored, sensed": lambda: Masked(
        Censored(Sensed(Gaussian(0.3), operators.PerExample((8,), (6,))), upper=5.0)
    ),
    "truncated, sensed": lambda: Masked(
        Truncated(Sensed(Gaussian(0.3), _projection()), low=-9.0, high=9.0)
    ),
    "truncated counts": lambda: Masked(Truncated(Poisson(), low=0.0)),
    "table": lambda: Masked(
        Columns(
            {
                ("a", "b"): Gaussian(0.3, learn_scale="closed form"),
                "c": Poisson(),
                "d": Ordinal(3),
                "e": Censored(Gaussian(0.3), lower=-5.0),
                "f": Truncated(Poisson(), low=0.0),
            }
        )
    ),
}


@pytest.mark.parametrize("name", COMPOSED)
def test_no_composition_drops_a_context(name: str, calls: list[Call]) -> None:
    _use(Normal(2), COMPOSED[name](), CELLS)
    _assert_none_went_without(calls)


class _Probe(AroundSignal):
    """A family that reads its context in each of its methods, and cannot do without."""

    has_closed_form = True

    def __init__(self, learns: bool = True) -> None:
        super().__init__()
        self.has_closed_form = learns
        self.got: list[tuple[str, Any]] = []

    def signal(self, output: Tensor, context: Any = None) -> Tensor:
        self.got.append(("signal", context))
        return output

    def around(
        self, signal: Tensor, *, mask: Tensor | None = None, context: Any = None
    ) -> dist.TorchDistribution:
        self.got.append(("around", context))
        scale = 1 + context["marker"][:, None].expand_as(signal)
        return factorised(dist.Normal(signal, scale), mask)

    def validate(self, y: Tensor, mask: Tensor | None, context: Any) -> None:
        self.got.append(("validate", context))

    def learn_from_residuals(
        self, residual: Tensor, mask: Tensor | None = None, context: Any = None
    ) -> None:
        self.got.append(("learn_from_residuals", context))


PROBES: dict[str, Callable[[_Probe], Observation]] = {
    "plain": lambda probe: probe,
    "Masked": Masked,
    "Sensed": lambda probe: Sensed(probe, operators.Identity(CELLS)),
    "Censored": lambda probe: Censored(probe, upper=50.0),
    "Truncated": lambda probe: Truncated(probe, low=-50.0, high=50.0),
    "Columns": lambda probe: Columns({tuple("abcd"): probe, "e": Gaussian(), "f": Poisson()}),
    "Masked(Sensed)": lambda probe: Masked(Sensed(probe, operators.Identity(CELLS))),
    "Masked(Censored(Sensed))": lambda probe: Masked(
        Censored(Sensed(probe, operators.Identity(CELLS)), upper=50.0)
    ),
    "Masked(Truncated(Sensed))": lambda probe: Masked(
        Truncated(Sensed(probe, operators.Identity(CELLS)), low=-50.0)
    ),
    "Masked(Columns)": lambda probe: Masked(
        Columns({tuple("abcd"): probe, "e": Gaussian(), "f": Poisson()})
    ),
    "Masked(Columns(Censored))": lambda probe: Masked(
        Columns({tuple("abcd"): Censored(probe, upper=50.0), "e": Gaussian(), "f": Poisson()})
    ),
}


@pytest.mark.parametrize("name", PROBES)
def test_a_family_of_ones_own_gets_its_context_and_its_mask(name: str) -> None:
    limited = "Censored" in name or "Truncated" in name
    probe = _Probe(learns=not limited)
    _use(Normal(2), PROBES[name](probe), CELLS, {"marker": _context()["marker"]})
    expected = {"signal", "around", "validate"}
    if not limited:
        expected.add("learn_from_residuals")
    assert {method for method, _ in probe.got} == expected
    assert all(context is not None and "marker" in context for _, context in probe.got)


@pytest.mark.parametrize("name", [name for name in PROBES if "Masked" in name])
def test_context_and_mask_arrive_with_their_values(name: str) -> None:
    """A cell's density has the scale that the context gives its example, hidden cells none."""
    observation, zeros = PROBES[name](_Probe(learns=False)), torch.zeros(NUM, 6)
    mask = zeros.bool()
    mask[:, 1] = True
    filled, known = observation.prepare(zeros, mask)
    made = observation.distribution(zeros, mask=known, context=_context())
    scale = 1 + _context()["marker"]
    expected = dist.Normal(torch.zeros(NUM), scale).log_prob(torch.zeros(NUM))
    if "Truncated" in name:
        expected = expected - dist.Normal(0.0, scale).cdf(torch.tensor(50.0)).log()
    torch.testing.assert_close(made.log_prob(filled), expected)


class _Told(Prior):
    """A prior whose location the context gives."""

    def distribution(self) -> dist.TorchDistribution:
        return dist.Normal(torch.zeros(2), 1.0).to_event(1)

    def given(self, context: Any) -> dist.TorchDistribution:
        return dist.Normal(context["marker"][:, None].expand(-1, 2), 0.1).to_event(1)


def test_a_supervised_prior_hands_its_context_to_its_base() -> None:
    context = {"marker": torch.tensor([0.0, 100.0]), "labels": torch.tensor([[1.0], [torch.nan]])}
    made = Supervised(_Told(), [0]).given(context)
    drawn = made.sample((3,))
    assert drawn.shape == (3, 2, 2)
    assert (drawn[:, 1] - 100).abs().max() < 1
    z = torch.tensor([[0.0, 0.0], [100.0, 100.0]])
    own = dist.Normal(0.0, 0.1).log_prob(torch.tensor(0.0))
    known = dist.Normal(0.0, 0.1).log_prob(torch.tensor(1.0))
    torch.testing.assert_close(made.log_prob(z), torch.stack([2 * own + known, 2 * own]))


class _LearnsInClosedForm(Normal):
    has_closed_form = True
    got: Any = None

    def closed_form_step(self, latents: Tensor, context: Any = None) -> None:
        self.got = context


def test_a_prior_learns_in_closed_form_with_its_context() -> None:
    prior, context = _LearnsInClosedForm(2), _context()
    model = GeneratorModel(prior, mlp(2, CELLS), Gaussian(0.3))
    model.closed_form_step({"z": torch.zeros(NUM, 2)}, torch.zeros(NUM, 6), context=context)
    assert prior.got is context


def test_a_forecast_is_decoded_with_its_context() -> None:
    class Scaled(Observation):
        def distribution(
            self, output: Tensor, *, mask: Tensor | None = None, context: Any = None
        ) -> dist.TorchDistribution:
            return factorised(dist.Normal(output * context["marker"][:, None, None], 1.0), mask)

    model = GeneratorModel(VAR(2, 4), OverTime(mlp(2, 3)), Scaled())
    context = {"marker": torch.tensor([1.0, 0.0])}
    latents = torch.randn(2, 4, 2)
    frames = forecast(model, latents, 3, seed=0, context=context).frames
    assert (frames[0] != 0).all()
    assert (frames[1] == 0).all()
    noisy = forecast(model, latents, 3, seed=0, context=context, noise=True).frames
    assert (noisy[1] != 0).all()
    with pytest.raises(ValueError, match="no piece of the model reads"):
        forecast(model, latents, 3, seed=0, context=context | {"w": torch.ones(2)}, noise=True)


def test_a_mask_without_data_is_not_dropped() -> None:
    model = GeneratorModel(Normal(2), mlp(2, CELLS), Masked(Gaussian(0.3)))
    mask = torch.ones(NUM, 6, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"mask .* observed"):
        model.reconstruct(torch.zeros(NUM, 2), mask=mask)
