"""Law 9, what was given is what was used, and the state of the process: over every public call."""

import functools
import inspect
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pyro
import pytest
import torch
from torch import Tensor

from explainaway.inference import (
    MALA,
    AlternatingBackProp,
    Posterior,
    bind,
    sample_posterior,
)
from explainaway.models import GeneratorModel, Masked, Normal, Poisson, mlp

N, D = 6, 3


def _model() -> GeneratorModel:
    torch.manual_seed(0)
    return GeneratorModel(Normal(2), mlp(2, (D,), hidden=(4,)), Masked(Poisson()))


def _right() -> dict[str, Any]:
    """Return counts of which some are hidden, with the exposure that they are of."""
    generator = torch.Generator().manual_seed(1)
    y = torch.poisson(torch.full((N, D), 3.0), generator=generator)
    mask = torch.rand(N, D, generator=generator) > 0.3
    return {
        "y": y,
        "mask": mask,
        "context": {"exposure": 1 + torch.rand(N, 1, generator=generator)},
    }


Z = torch.randn(N, 2, generator=torch.Generator().manual_seed(2))

SHORT: dict[str, Any] = {
    "num_chains": 2,
    "warmup_steps": 4,
    "num_samples": 3,
    "kernel": MALA(0.1),
    "progress": False,
}


def _fit(y: Any, **more: Any) -> Any:
    return AlternatingBackProp(_model()).fit(y, epochs=1, progress=False, **more).latents


def _start(y: Any, **more: Any) -> Any:
    loop = AlternatingBackProp(_model())
    loop.start(y, **more)
    assert loop.chains is not None
    return loop.chains.position


def _step(y: Any, **more: Any) -> Any:
    loop = AlternatingBackProp(_model())
    loop.start(**_right() | {"y": torch.zeros(N, D)})
    return loop.step({"y": y, **more}, torch.arange(N)).energy


def _sample(y: Any, **more: Any) -> Posterior:
    return sample_posterior(_model(), y, **SHORT, **more)


def _reconstruct(y: Any, **more: Any) -> Tensor:
    return _model().reconstruct(Z, observed=y, **more)


CALLS: dict[str, Callable[..., Any]] = {
    "AlternatingBackProp.fit": _fit,
    "AlternatingBackProp.start": _start,
    "AlternatingBackProp.step": _step,
    "sample_posterior": lambda y, **more: _sample(y, **more).position,
    "bind": lambda y, **more: bind(_model(), y, **more)(Z),
    "Posterior.extend": lambda y, **more: _sample(y, **more).extend(2, progress=False).position,
    "Posterior.predict": lambda y, **more: _sample(y, **more).predict(seed=0),
    "Posterior.impute": lambda y, **more: _sample(y, **more).impute(seed=0),
    "GeneratorModel.forward": lambda y, **more: _traced(y, **more),
    "GeneratorModel.validate_data": lambda y, **more: _model().validate_data(y, **more),
    "GeneratorModel.log_joint": lambda y, **more: _model().log_joint(y, Z, **more),
    "GeneratorModel.reconstruct": _reconstruct,
    "GeneratorModel.impute": lambda y, **more: _model().impute(y, Z, **more),
}
"""Public calls that are given data."""

CALLS_OF_CONTEXTS: dict[str, Callable[..., Any]] = {
    "GeneratorModel.decode": lambda context: _model().decode(Z, context=context),
    "GeneratorModel.generate": lambda context: _model().generate(N, seed=0, context=context),
}
"""Public calls that are given a context alone."""

INSIDE = {"GeneratorModel.closed_form_step"}
"""What the loop calls with data that it has checked."""


def _traced(y: Any, **more: Any) -> Tensor:
    with pyro.poutine.trace() as trace, pyro.poutine.condition(data={"z": Z}):
        _model()(y, **more)
    total: Tensor = trace.trace.log_prob_sum()
    return total


def test_every_public_call_that_is_given_data_is_in_these_tests() -> None:
    found = set()
    for owner in (GeneratorModel, AlternatingBackProp, Posterior):
        for name, member in vars(owner).items():
            if callable(member) and not name.startswith("_"):
                given = {"y", "data", "mask", "context", "observed"}
                if given & set(inspect.signature(member).parameters):
                    found.add(f"{owner.__name__}.{name}")
    found |= {"bind", "sample_posterior"}
    known = {*CALLS, *CALLS_OF_CONTEXTS, *INSIDE}
    assert found <= known
    assert known - found == {
        "AlternatingBackProp.step",
        "Posterior.extend",
        "Posterior.predict",
        "Posterior.impute",
    }


@pytest.fixture(autouse=True)
def _few_draws_are_no_matter() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)
        yield


def _numbers(made: Any) -> list[Tensor]:
    if isinstance(made, Tensor):
        return [made]
    if isinstance(made, dict):
        return [t for value in made.values() for t in _numbers(value)]
    if isinstance(made, tuple | list):
        return [t for value in made for t in _numbers(value)]
    return []


def _spread(value: Tensor) -> Tensor:
    """Return the same numbers in another layout of memory."""
    return torch.stack([value, value], -1)[..., 0]


@functools.cache
def _expected(call: str) -> list[Tensor]:
    return _numbers(CALLS[call](**_right()))


KINDS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "another layout": lambda given: {
        "y": _spread(given["y"]),
        "mask": _spread(given["mask"]),
        "context": {"exposure": _spread(given["context"]["exposure"])},
    },
    "integers": lambda given: {**given, "y": given["y"].long()},
    "small integers": lambda given: {**given, "y": given["y"].to(torch.uint8)},
    "double precision": lambda given: {
        **given,
        "y": given["y"].double(),
        "context": {"exposure": given["context"]["exposure"].double()},
    },
    "gradients": lambda given: {**given, "y": given["y"].clone().requires_grad_()},
    "NaN for hidden": lambda given: {
        "y": torch.where(given["mask"], given["y"], torch.nan),
        "context": given["context"],
    },
}
"""The same data as other kinds of tensors."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", CALLS)
def test_kinds_of_the_same_data_give_the_same(call: str, kind: str) -> None:
    expected = _expected(call)
    made = _numbers(CALLS[call](**KINDS[kind](_right())))
    assert len(made) == len(expected)
    for ours, theirs in zip(made, expected, strict=True):
        assert torch.allclose(ours.to(theirs.dtype), theirs, equal_nan=True)


@pytest.mark.parametrize("name", ["y", "mask", "context"])
@pytest.mark.parametrize("call", CALLS)
def test_what_is_given_has_an_effect(call: str, name: str) -> None:
    if call == "GeneratorModel.validate_data":
        pytest.skip("returns nothing")
    other = _right()
    if name == "context":
        other["context"] = {"exposure": 5 * other["context"]["exposure"]}
    else:
        other[name] = ~other["mask"] if name == "mask" else other["y"] + 2
    made, expected = _numbers(CALLS[call](**other)), _expected(call)
    first = call == "AlternatingBackProp.start"  # chains start at draws from the prior
    assert all(map(torch.equal, made, expected)) == first


def _with(name: str, change: Callable[[Any], Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda given: {**given, name: change(given[name])}


WRONG: dict[str, tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "a mask of numbers": ("mask", _with("mask", lambda mask: mask.float())),
    "a mask of another shape": ("mask", _with("mask", lambda mask: mask[:, :1])),
    "a mask of other examples": ("mask", _with("mask", lambda mask: mask[:4])),
    "imaginary parts": ("y|complex", _with("y", lambda y: y + 1j)),
    "data of another shape": ("y|shape", _with("y", lambda y: y[:, :2])),
    "data outside the support": ("y|support", _with("y", lambda y: y - 100)),
    "infinite data": ("y|finite|support", _with("y", lambda y: y / 0)),
    "a key that nobody reads": (
        "wind",
        _with("context", lambda context: {**context, "wind": torch.ones(N)}),
    ),
    "a context of other examples": (
        "context|exposure",
        _with("context", lambda context: {"exposure": context["exposure"][:4]}),
    ),
    "a context without the key": (
        "exposure",
        _with("context", lambda context: {"exposures": context["exposure"]}),
    ),
    "a context that is a tensor": ("context", _with("context", lambda c: c["exposure"])),
    "a complex context": (
        "context|exposure|complex",
        _with("context", lambda context: {"exposure": context["exposure"] + 1j}),
    ),
}
"""Data that are wrong, and what the message must name."""

LATE = {
    "data outside the support",
    "infinite data",
    "a key that nobody reads",
    "a context without the key",
}
"""What costs too much to look for each time that the model is run: ``validate_data`` does it."""


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("call", CALLS)
def test_what_is_wrong_is_named(call: str, what: str) -> None:
    name, change = WRONG[what]
    if call == "GeneratorModel.forward" and what in LATE:
        pytest.skip("the model as it runs in every step")
    with pytest.raises((ValueError, TypeError), match=rf"(?i){name}"):
        CALLS[call](**change(_right()))
