"""Checks of every piece of the catalogue, and of a model's own calls, on a device."""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from explainaway.catalogue import Piece, catalogue
from explainaway.inference import MALA, AlternatingBackProp, bind, sample_posterior
from explainaway.models import (
    VAR,
    FactorAnalysis,
    Gaussian,
    GeneratorModel,
    Masked,
    Normal,
    OverTime,
    Sensed,
    deconvnet,
    dynamics,
    forecast,
    mlp,
    operators,
)

from .check import Check, Where, apart, is_there, require, same_bits, small


def _model_calls(where: Where) -> str:
    model, y = small()
    there = where.here(model)
    z = torch.randn(12, 2, generator=torch.Generator().manual_seed(3))
    worst = 0.0
    anywhere: list[Any] = [z, z.to(where.device), z.numpy()]
    for latents in anywhere:
        found = [
            there.decode(latents),
            there.reconstruct(latents),
            there.reconstruct(latents, observed=y),
            there.log_joint(y, latents),
        ]
        is_there(where, *found)
        expected = [
            model.decode(z),
            model.reconstruct(z),
            model.reconstruct(z, observed=y),
            model.log_joint(y, z),
        ]
        worst = max(worst, apart("a model's calls", found, expected))
    drawn = there.impute(y, z, num_draws=3)
    is_there(where, drawn)
    seen = ~y.isnan()
    same_bits("observed cells", drawn.cpu()[:, seen], y[seen].expand(3, -1))
    state = torch.random.get_rng_state()
    new = [there.generate(5, seed=1, noise=noise) for noise in (False, True)]
    is_there(where, *new)
    same_bits("two generations", there.generate(5, seed=1), new[0])
    same_bits("the global random state", torch.random.get_rng_state(), state)
    return f"{worst:.1g}"


def _moved_after_work(where: Where) -> str:
    """Move a model that has been used, and use it again."""
    model, y = small()
    model = copy.deepcopy(model)
    z = torch.randn(12, 2, generator=torch.Generator().manual_seed(3))
    settings: dict[str, Any] = {"num_chains": 1, "warmup_steps": 30, "num_samples": 3}

    def work() -> Any:
        AlternatingBackProp(model).fit(y, epochs=1, progress=False)
        sample_posterior(model, y, kernel=MALA(), progress=False, **settings)
        return bind(model, y)(z.to(next(model.parameters()).device))

    work()
    model.to(where.device)
    is_there(where, *work())
    there = bind(model, y)(z.to(where.device))
    model.to("cpu")
    worst = apart("energies after moving back", bind(model, y)(z), there)
    work()
    return f"{worst:.1g}"


def _network(where: Where) -> str:
    """Run convolutions, whose rewritings are chosen for the CPU alone."""
    torch.manual_seed(0)
    network = deconvnet(latent_dim=4, shape=(1, 16, 16), width=4)
    model = GeneratorModel(Normal(4), network, Gaussian(0.5, inverse_link=torch.tanh))
    y = model.generate(6, seed=0, noise=True)
    there = where.here(model)
    z = torch.randn(6, 4, generator=torch.Generator().manual_seed(3))
    found = bind(there, y, capture=True)(z.to(where.device))
    is_there(where, *found)
    worst = apart("energies", found, bind(model, y)(z), 1e-3)
    AlternatingBackProp(there, batch_size=3).fit(y, epochs=1, progress=False)
    return f"{worst:.1g}"


def _sequences(where: Where) -> str:
    torch.manual_seed(0)
    model = GeneratorModel(VAR(2, 5), OverTime(mlp(2, (3,))), Masked(Gaussian(0.4)))
    y = model.generate(4, seed=0, noise=True)
    there = where.here(model)
    AlternatingBackProp(there, batch_size=2).fit(y, epochs=2, progress=False)
    z = torch.randn(4, 5, 2, generator=torch.Generator().manual_seed(3))
    ahead = forecast(there, z.to(where.device), 3, seed=0, noise=True)
    is_there(where, *ahead)
    require(ahead.frames.shape == (4, 3, 3), "another shape")
    states = torch.randn(40, 2, generator=torch.Generator().manual_seed(5))
    fits = [dynamics.least_squares(states), dynamics.least_squares(states.to(where.device))]
    is_there(where, *fits[1])
    worst = apart("dynamics", list(fits[1]), list(fits[0]))
    torch.manual_seed(0)
    frames = GeneratorModel(Normal(2), mlp(2, (3,)), Gaussian(0.4))
    found = dynamics.synthesise(where.here(frames), fits[1], 6, seed=0)
    expected = dynamics.synthesise(frames, fits[0], 6, seed=0)
    is_there(where, found)
    texture = dynamics.dynamic_texture(found, 2)
    is_there(where, texture.forecast(2))
    return f"{max(worst, apart('new frames', found, expected, 1e-3)):.1g}"


def _factor_analysis(where: Where) -> str:
    y = torch.randn(60, 4, generator=torch.Generator().manual_seed(1))
    y[:, 1] += y[:, 0]
    analysis = FactorAnalysis(1).fit(y.numpy())
    model = analysis.to_generator()
    there = where.here(model)
    z = torch.zeros(60, 1)
    found = bind(there, y)(z.to(where.device, next(there.parameters()).dtype))
    is_there(where, *found)
    expected = bind(model, y)(z.to(next(model.parameters()).dtype))
    return f"{apart('energies', found, expected):.1g}"


def _contexts(where: Where) -> str:
    """Give a model what it needs of each example, from the CPU."""
    torch.manual_seed(0)
    observation = Sensed(Gaussian(0.4), operators.PerExample((4,), (3,)))
    model = GeneratorModel(Normal(2), mlp(2, (4,)), observation)
    context: Any = {"operator": torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(1))}
    y = model.generate(5, seed=0, noise=True, context=context)
    there = where.here(model)
    z = torch.randn(5, 2, generator=torch.Generator().manual_seed(3))
    calls: list[Any] = [
        lambda m: m.decode(z, context=context),
        lambda m: m.reconstruct(z, context=context),
        lambda m: m.impute(y, z, context=context),
        lambda m: m.generate(5, seed=0, context=context).shape,
        lambda m: m.log_joint(y, z, context=context),
        lambda m: bind(m, y, context={"operator": context["operator"].numpy()})(
            z.to(next(m.parameters()).device)
        ),
    ]
    worst = max(apart("a call with a context", call(there), call(model)) for call in calls)
    AlternatingBackProp(there).fit(y, context=context, epochs=1, progress=False)
    posterior = sample_posterior(
        there, y, context=context, warmup_steps=30, num_samples=2, progress=False
    )
    is_there(where, posterior.position, posterior.predict(2))
    return f"{worst:.1g}"


def _made(piece: Piece) -> GeneratorModel:
    """Return a model with a piece in it, on the CPU."""
    torch.manual_seed(0)
    is_prior = piece.kind == "priors"
    prior: Any = piece.make() if is_prior else Normal(2)
    observation: Any = Gaussian(0.5) if is_prior else piece.make()
    if not is_prior and not isinstance(observation, Masked):
        observation = Masked(observation)
    size = prior.distribution().event_shape.numel()
    shape = observation.output_shape(piece.entry.shape)
    network = nn.Sequential(nn.Flatten(), mlp(size, shape, hidden=(8,)))
    return GeneratorModel(prior, network, observation)


def _piece(piece: Piece) -> Any:
    def run(where: Where) -> str:
        model = _made(piece)
        there = where.here(model)
        y = model.generate(6, seed=1, noise=True)
        if piece.kind == "observations":
            holes = torch.rand(y.shape, generator=torch.Generator().manual_seed(2)) < 0.3
            holes[0] = False
            y = y.masked_fill(holes, torch.nan)
        potential, of_cpu = bind(there, y, capture=True), bind(model, y)
        z = 0.5 * torch.randn(6, of_cpu.latent_dim, generator=torch.Generator().manual_seed(3))
        found = potential(z.to(where.device))
        is_there(where, *found)
        worst = apart("energies", found, of_cpu(z), 1e-3)
        latents = of_cpu.unflatten(z)["z"]
        filled = there.reconstruct(latents, observed=y)
        is_there(where, filled, there.impute(y, latents), there.generate(3, seed=0, noise=True))
        worst = max(worst, apart("filled", filled, model.reconstruct(latents, observed=y), 1e-3))
        fit = AlternatingBackProp(there, inference_steps=2, batch_size=3).fit(
            y, epochs=2, progress=False
        )
        is_there(where, fit.latents, *there.state_dict().values())
        posterior = sample_posterior(
            there, y, num_chains=2, warmup_steps=5, num_samples=3, progress=False
        )
        is_there(where, posterior.get_samples()["z"], posterior.predict(2))
        return f"{worst:.1g}"

    return run


def _operators(where: Where) -> str:
    worst = 0.0
    for piece in catalogue():
        if piece.kind != "operators":
            continue
        torch.manual_seed(0)
        operator = piece.make()
        there = where.here(operator)
        noise = torch.Generator().manual_seed(3)
        x = torch.randn(3, *operator.input_shape, generator=noise)
        y = torch.randn(3, *operator.output_shape, generator=noise)
        context: dict[str, Tensor] = {}
        if piece.name == "PerExample":
            sizes = math.prod(operator.output_shape), math.prod(operator.input_shape)
            context["operator"] = torch.randn(3, *sizes, generator=noise)
        of_device = {name: value.to(where.device) for name, value in context.items()}
        found = [
            there(x.to(where.device), of_device or None),
            there.adjoint(y.to(where.device), of_device or None),
        ]
        is_there(where, *found)
        expected = [operator(x, context or None), operator.adjoint(y, context or None)]
        worst = max(worst, apart(piece.name, found, expected))
    return f"{worst:.1g}"


CHECKS = [
    Check("decode, reconstruct, impute, log_joint, generate", "rounding", _model_calls),
    Check("a model moved after it was used, and back", "rounding", _moved_after_work),
    Check("a convolutional network", "rounding", _network),
    Check("sequences, forecasts, dynamics", "rounding", _sequences),
    Check("factor analysis as a generator", "rounding", _factor_analysis),
    Check("a context for each example", "rounding", _contexts),
    Check("every operator and its adjoint", "rounding", _operators),
    *(
        Check(f"{piece.kind[:-1]} {piece.name}", "rounding", _piece(piece))
        for piece in catalogue()
        if piece.kind != "operators"
    ),
]
