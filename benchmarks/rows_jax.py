"""BlackJAX and NumPyro on the same posteriors, from the same weights."""

import time
from collections.abc import Callable
from typing import Any

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import lax
from numpyro import infer
from torch import nn

from explainaway.inference import HMC, MALA, bind
from explainaway.inference.runs.chains import Chains
from explainaway.inference.runs.visit import visit

from .cases import Case, deconvnet_case, mlp_case
from .effective import Sampler, effective_ratios, timed, warmed_up
from .paired import paired
from .table import Row

RATE = "Gradient evaluations a second, against JAX"
ESS = "Effective draws a second, against JAX"
STEP_SIZE = 0.02
STEPS = 50
CONVOLUTION_STEPS = 10
LEAPFROGS = 10
EFFECTIVE_PAIRS = 9
EFFECTIVE_DRAWS = 15


def rows(smoke: bool) -> list[Row]:
    """Time the same kernel with the same step on both sides, then each side's best."""
    if smoke:
        return _rates(mlp_case(n=5), 1.0, smoke)
    return [
        *_rates(mlp_case(), 1.0, smoke),
        *_rates(deconvnet_case(32, 32, 32), 1.5, smoke),
        *_effective(mlp_case()),
    ]


def network_of(modules: nn.Module) -> Callable[[Any], Any]:
    """Return a torch network as a JAX function of a batch, with the same weights."""
    layers: list[Callable[[Any], Any]] = []
    assert isinstance(modules, nn.Sequential)
    for module in modules:
        layers.append(_layer(module))

    def network(x: Any) -> Any:
        for layer in layers:
            x = layer(x)
        return x

    return network


def _layer(module: nn.Module) -> Callable[[Any], Any]:
    def array(tensor: torch.Tensor | None) -> Any:
        return None if tensor is None else jnp.asarray(tensor.detach().numpy())

    if isinstance(module, nn.Linear):
        weight, bias = array(module.weight), array(module.bias)
        return lambda x: x @ weight.T + (0 if bias is None else bias)
    if isinstance(module, nn.ReLU):
        return lambda x: jnp.maximum(x, 0)
    if isinstance(module, nn.Unflatten):
        shape = module.unflattened_size
        return lambda x: x.reshape(x.shape[0], *shape)
    if isinstance(module, nn.BatchNorm2d):
        assert module.running_var is not None
        assert module.running_mean is not None
        factor = module.weight / (module.running_var + module.eps).sqrt()
        shift = module.bias - module.running_mean * factor
        a, b = array(factor[:, None, None]), array(shift[:, None, None])
        return lambda x: x * a + b
    if isinstance(module, nn.ConvTranspose2d):
        kernel = array(module.weight.transpose(0, 1).flip(2, 3))
        bias = array(module.bias)
        pad, extra = module.kernel_size[0] - 1 - int(module.padding[0]), module.output_padding[0]

        def deconvolve(x: Any) -> Any:
            out = lax.conv_general_dilated(
                x,
                kernel,
                (1, 1),
                [(pad, pad + extra)] * 2,
                lhs_dilation=module.stride,
                dimension_numbers=("NCHW", "OIHW", "NCHW"),
            )
            return out if bias is None else out + bias[:, None, None]

        return deconvolve
    raise TypeError(f"no JAX form of {type(module).__name__}")


def log_density_of(case: Case) -> Callable[[Any, Any], Any]:
    """Return ``log p(y, z)`` up to a constant, of one example."""
    network = network_of(case.network)
    link: Callable[[Any], Any] = (lambda x: x) if case.link is None else jnp.tanh

    def log_density(z: Any, y: Any) -> Any:
        signal = link(network(z[None]))[0].reshape(y.shape)
        return -((y - signal) ** 2).sum() / (2 * case.scale**2) - 0.5 * (z**2).sum()

    return log_density


def _rates(case: Case, goal: float, smoke: bool) -> list[Row]:
    case.network.requires_grad_(False)
    log_density = log_density_of(case)
    y, z = jnp.asarray(case.y.numpy()), jnp.asarray(case.position().numpy())
    potential = bind(case.model(), case.y, compile=True)
    theirs = jax.vmap(jax.grad(log_density))(z, y)
    ours = potential(case.position())[1].numpy()
    if not np.allclose(ours, -np.asarray(theirs), rtol=1e-3, atol=1e-4 * np.abs(ours).max()):
        raise AssertionError("the gradients differ")
    pairs = 3 if smoke else 9 if "deconvnet" in case.name else 15

    def mala(key: Any, state: Any, y: Any) -> Any:
        return blackjax.mala(lambda z: log_density(z, y), STEP_SIZE).step(key, state)[0]

    def blackjax_step(state: Any, key: Any) -> Any:
        return jax.vmap(mala)(jax.random.split(key, len(y)), state, y)

    def first(z: Any, y: Any) -> Any:
        return blackjax.mala(lambda z: log_density(z, y), STEP_SIZE).init(z)

    state = jax.vmap(first)(z, y)
    key = jax.random.PRNGKey(0)
    steps = CONVOLUTION_STEPS if "deconvnet" in case.name else STEPS
    # A visit of ours begins with an evaluation more, where the other side goes on from its state.
    more = (steps + 1) / steps
    found = [
        Row(
            RATE,
            case.name,
            "MALA: ours compiled / BlackJAX",
            paired(
                _faster_loop(blackjax_step, state, jax.random.split(key, steps)),
                _our_steps(case, potential, MALA(STEP_SIZE), steps),
                pairs,
            ).times(more),
            goal,
            larger_is_better=True,
        )
    ]

    def total(z: Any) -> Any:
        return -jax.vmap(log_density)(z, y).sum()

    kernel = infer.HMC(
        potential_fn=total,
        step_size=STEP_SIZE,
        num_steps=LEAPFROGS,
        adapt_step_size=False,
        adapt_mass_matrix=False,
        trajectory_length=None,
    )
    joint = kernel.init(key, 0, z, (), {})
    proposals = max(steps // LEAPFROGS, 1)

    def numpyro_step(state: Any, key: Any) -> Any:
        return kernel.sample(state, (), {})

    hmc = HMC(num_leapfrog=LEAPFROGS, step_size=STEP_SIZE, jitter=0.0)
    return [
        *found,
        Row(
            RATE,
            case.name,
            "HMC: ours compiled / NumPyro",
            paired(
                _faster_loop(numpyro_step, joint, jax.random.split(key, proposals)),
                _our_steps(case, potential, hmc, proposals),
                pairs,
            ).times(more),
            goal,
            larger_is_better=True,
        ),
    ]


def _faster_loop(step: Callable[[Any, Any], Any], start: Any, keys: Any) -> Callable[[], object]:
    """Return many steps in JAX, as one scan or as a loop of compiled steps.

    The former saves calls; but XLA runs convolutions inside a scan many times slower on a CPU.
    """

    def scan(state: Any, keys: Any) -> Any:
        return lax.scan(lambda state, key: (step(state, key), None), state, keys)[0]

    scanned, compiled = jax.jit(scan), jax.jit(step)

    def looped(state: Any, keys: Any) -> Any:
        for key in keys:
            state = compiled(state, key)
        return state

    def seconds(loop: Any) -> float:
        jax.block_until_ready(loop(start, keys))
        began = time.perf_counter()
        jax.block_until_ready(loop(start, keys))
        return time.perf_counter() - began

    loops: list[Any] = [scanned, looped]
    loop = min(loops, key=seconds)
    return lambda: jax.block_until_ready(loop(start, keys))


def _our_steps(case: Case, potential: Any, kernel: Any, steps: int) -> Callable[[], object]:
    index = torch.arange(len(case.y))
    chains = Chains.start(case.position()[:, None], kernel)
    for _ in range(3):
        visit(chains, index, potential, kernel, max(steps, 10), 0)
    return lambda: visit(chains, index, potential, kernel, steps, 0)


def _effective(case: Case, chains: int = 2, warmup: int = 150) -> list[Row]:
    """Compare each side's best kernel after its own warmup, draws alone."""
    case.network.requires_grad_(False)
    ours = {"HMC()": warmed_up(case, HMC(), False, chains, 2 * warmup, 10 * EFFECTIVE_DRAWS)}
    theirs = _blackjax_sampler(case, chains, warmup, EFFECTIVE_DRAWS)
    ratios = effective_ratios(theirs, ours, EFFECTIVE_PAIRS)
    return [
        Row(
            ESS,
            case.name,
            f"{name} / BlackJAX's NUTS with window adaptation",
            ratio,
            1.0,
            larger_is_better=True,
        )
        for name, ratio in ratios.items()
    ]


def _blackjax_sampler(case: Case, chains: int, warmup: int, draws: int) -> Sampler:
    """Return BlackJAX's NUTS, every chain with its own window adaptation."""
    log_density = log_density_of(case)
    y = jnp.asarray(case.y.repeat(chains, 1).numpy())
    key = jax.random.PRNGKey(0)
    start = jax.random.normal(key, (len(y), case.latent_dim))

    def adapt(key: Any, z: Any, y: Any) -> Any:
        window = blackjax.window_adaptation(blackjax.nuts, lambda z: log_density(z, y))
        (state, tuned), _ = window.run(key, z, warmup)
        return state, tuned

    states, tuned = jax.jit(jax.vmap(adapt))(jax.random.split(key, len(y)), start, y)

    def step(key: Any, state: Any, tuned: Any, y: Any) -> Any:
        return blackjax.nuts(lambda z: log_density(z, y), **tuned).step(key, state)[0]

    def sample(key: Any, states: Any) -> Any:
        def body(states: Any, key: Any) -> Any:
            states = jax.vmap(step)(jax.random.split(key, len(y)), states, tuned, y)
            return states, states.position

        return lax.scan(body, states, jax.random.split(key, draws))

    compiled = jax.jit(sample).lower(key, states).compile()

    def draw() -> torch.Tensor:
        nonlocal key, states
        key, now = jax.random.split(key)
        states, positions = jax.block_until_ready(compiled(now, states))
        # (draws, chains·n, d) to (chains, draws, n, d).
        drawn: torch.Tensor = torch.from_numpy(np.array(positions))
        return drawn.reshape(draws, chains, -1, case.latent_dim).transpose(0, 1)

    return timed(draw)
