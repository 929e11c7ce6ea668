"""Checks of energies, kernels and posteriors on a device."""

import warnings
from contextlib import suppress
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import MCMC
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from explainaway.inference import (
    HMC,
    MALA,
    GaussNewton,
    GradientDescent,
    KeyedSource,
    Langevin,
    ParallelTempering,
    Posterior,
    PyroKernel,
    RiemannianMALA,
    bind,
    nested_rhat,
    sample_posterior,
    summarise,
)

from .check import (
    SCALE,
    Check,
    Where,
    apart,
    furthest,
    is_there,
    linear,
    require,
    same_bits,
    small,
)

KERNELS: list[Any] = [
    MALA(0.3),
    HMC(3, 0.2),
    HMC(path_length=1.0, step_size=0.2),
    Langevin(0.2),
    GradientDescent(0.2),
    GaussNewton(0.5),
    RiemannianMALA(0.5),
    ParallelTempering(num_replicas=3),
]

SHORT: dict[str, Any] = {
    "kernel": MALA(),
    "num_chains": 2,
    "warmup_steps": 40,
    "num_samples": 6,
    "progress": False,
}


def _data_anywhere(where: Where) -> str:
    model, y = small()
    z = torch.randn(len(y), 2, generator=torch.Generator().manual_seed(3))
    expected = bind(model, y)(z)
    there = where.here(model)
    kinds: dict[str, Any] = {
        "a tensor on the CPU": y,
        "a tensor on the device": y.to(where.device),
        "an array": y.numpy(),
        "a data set": TensorDataset(y),
        "a loader": DataLoader(TensorDataset(y), batch_size=5),
    }
    worst = 0.0
    for name, data in kinds.items():
        found = bind(there, data)(z.to(where.device))
        is_there(where, *found)
        worst = max(worst, apart(f"energies of {name}", found, expected))
    mask = ~y.isnan()
    found = bind(there, y.nan_to_num(), mask=mask.numpy())(z.to(where.device))
    return f"{max(worst, apart('energies by a mask', found, expected)):.1g}"


def _graphs(where: Where) -> str:
    model, y = small()
    there = where.here(model)
    z = torch.randn(len(y), 2, generator=torch.Generator().manual_seed(3)).to(where.device)
    captured, plain = bind(there, y, capture=True), bind(there, y, capture=False)
    found = [captured(z + 0.1 * i) for i in range(3)]
    require(bool(captured.evaluator.graphs), "nothing was captured")  # type: ignore[attr-defined]
    worst = apart("energies of the graph", found, [plain(z + 0.1 * i) for i in range(3)])
    with torch.no_grad():
        next(there.network.parameters()).add_(0.1)
    return f"{max(worst, apart('after a step of the weights', captured(z), plain(z))):.1g}"


def _noise(where: Where) -> str:
    example = torch.arange(50)
    here = KeyedSource.of_chains(5, example, 3).at(7)
    there = KeyedSource.of_chains(5, example.to(where.device), 3).at(7)
    drawn = there.normal(5, torch.float32), there.uniform(4, torch.float32)
    is_there(where, *drawn)
    expected = here.normal(5, torch.float32), here.uniform(4, torch.float32)
    return f"{apart('random numbers', drawn, expected, 1e-5):.1g}"


def _one_step(kernel: Any) -> Any:
    def run(where: Where) -> str:
        case = linear()
        z = torch.randn(len(case.y), 2, generator=torch.Generator().manual_seed(3))
        places = []
        for device in ("cpu", where.device):
            potential = bind(where.here(case.model) if device != "cpu" else case.model, case.y)
            source = KeyedSource.of_chains(0, torch.arange(len(z), device=device), 1)
            state = kernel.init(z.to(device), potential)
            for step in range(2):
                state, info = kernel.step(state, potential, source.at(step))
            places.append((state.position, info.acceptance_rate))
        is_there(where, *places[1])
        return f"{apart('two steps', places[1], places[0], 1e-3):.1g}"

    return run


def _exact(kernel: Any) -> Any:
    def run(where: Where) -> str:
        case = linear()
        posterior = sample_posterior(
            where.here(case.model),
            case.y,
            kernel=kernel,
            num_chains=20,
            warmup_steps=60 if where.smoke else 300,
            num_samples=30 if where.smoke else 1000,
            progress=False,
        )
        z = posterior.get_samples()["z"]
        is_there(where, z, posterior.position)
        variance = case.covariance.diagonal(dim1=1, dim2=2)
        return f"{furthest(posterior, z, case.mean, variance):.1f} errors"

    return run


def _sampled(model: Any, y: Any, **more: Any) -> Posterior:
    return sample_posterior(model, y, **{**SHORT, **more})


def _ways_to_sample(where: Where) -> str:
    model, y = small()
    there = where.here(model)
    plain = _sampled(there, y)
    same_bits(
        "draws of data on the device", _sampled(there, y.to(where.device)).position, plain.position
    )
    same_bits("draws of an array", _sampled(there, y.numpy()).position, plain.position)
    chunks = _sampled(there, y, chunk_size=6)
    apart("first draws in chunks", chunks.position[:, :1], plain.position[:, :1], 1e-2)
    longer = _sampled(there, y, num_samples=9)
    same_bits("extended draws", plain.extend(3, progress=False).position, longer.position)
    for tuning in (plain.tuning, plain.typical_tuning()):
        is_there(where, _sampled(there, y, tuning=tuning, warmup_steps=0).position)
    kept = _sampled(there, y, accumulate={"image": there.decode}, ids=range(12))
    mean = kept.accumulated["image"].mean
    is_there(where, mean)
    decoded = there.decode(kept.samples["z"])
    return f"{apart('means on the way', mean, decoded.mean((0, 1)), 1e-3):.1g}"


def _draws_of_y(where: Where) -> str:
    case = linear()
    there = where.here(case.model)
    posterior = sample_posterior(
        there,
        case.y,
        kernel=HMC(path_length=1.5),
        num_chains=20,
        warmup_steps=60 if where.smoke else 200,
        num_samples=20 if where.smoke else 400,
        progress=False,
    )
    # Draws of a chain are not independent: a number of them far apart.
    count = 200 if where.smoke else 2000
    filled, predicted = posterior.impute(count), posterior.predict(count)
    is_there(where, filled, predicted)
    seen = ~case.y.isnan()
    same_bits("observed cells", filled.cpu()[:, seen], case.y[seen].expand(count, -1))
    mean = case.mean @ case.weight.T + case.bias
    variance = SCALE**2 + torch.einsum("kd,nde,ke->nk", case.weight, case.covariance, case.weight)
    ess = torch.as_tensor(posterior.summary().ess).double().amin(1, keepdim=True)
    effective = ess.clamp(max=count).expand_as(mean)
    z = furthest(posterior, predicted, mean, variance, effective)
    where_hidden = ~seen
    hidden = filled.cpu()[:, where_hidden][:, None]
    z = max(
        z,
        furthest(
            posterior,
            hidden,
            mean[where_hidden][None],
            variance[where_hidden][None],
            effective[where_hidden][None],
        ),
    )
    return f"{z:.1f} errors"


def _arviz(where: Where) -> str:
    model, y = small()
    posterior = _sampled(where.here(model), y)
    tree = posterior.to_arviz(predictive_draws=2, prior_draws=2)
    same_bits(
        "draws for ArviZ", torch.tensor(tree["posterior"]["z"].values), posterior.samples["z"]
    )
    same_bits("observed data", torch.tensor(tree["observed_data"]["y"].values), y)
    summary = posterior.summary()
    repr(posterior), repr(summary), summary.to_frame()
    own = summarise(posterior.position)
    nested_rhat(posterior.position, 2)
    require(np.allclose(own.ess, summarise(posterior.position.cpu()).ess), "another ESS")
    return f"{len(tree['posterior']['z'].dims)} dimensions"


def _files(where: Where) -> str:
    model, y = small()
    there = where.here(model)
    longer = _sampled(there, y, num_samples=9)
    made_there = _sampled(there, y)
    made_there.save(where.folder / "there.nc", predictive_draws=1)
    _sampled(there, y, draws_file=where.folder / "drawn.nc")
    for name in ("there.nc", "drawn.nc"):
        path = where.folder / name
        same_bits("loaded draws", Posterior.load(path).position, made_there.position)
        back = Posterior.load(path, bind(there, y), MALA())
        is_there(where, back.position, back.predict(2))
        same_bits("draws after loading", back.extend(3, progress=False).position, longer.position)
    onto_cpu = Posterior.load(where.folder / "there.nc", bind(model, y), MALA())
    same_bits("draws on the CPU", onto_cpu.position, made_there.position)
    further = onto_cpu.extend(1, progress=False).position[:, -1:]
    worst = apart("the next draw, made on the CPU", further, longer.position[:, 6:7], 1e-2)
    made_here = _sampled(model, y)
    made_here.save(where.folder / "here.nc")
    back = Posterior.load(where.folder / "here.nc", bind(there, y), MALA())
    is_there(where, back.position, back.extend(1, progress=False).position, back.impute(2))
    same_bits("draws of the CPU", back.position, made_here.position)
    return f"{worst:.1g}"


def _checkpoint(where: Where) -> str:
    model, y = small()
    there = where.here(model)
    path = where.folder / "run.pt"

    def run(stop_at: int | None, **more: Any) -> Posterior:
        calls = 0

        def seen(z: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            if calls == stop_at:
                raise ArithmeticError("stopped")
            return z

        return _sampled(there, y, num_samples=12, accumulate={"z": seen}, **more)

    kept: dict[str, Any] = {"checkpoint": path, "checkpoint_seconds": 0.0}
    with suppress(ArithmeticError):
        run(6, **kept)
    require(path.is_file(), "no checkpoint was left")
    same_bits("draws of a run that was resumed", run(None, **kept).position, run(None).position)
    return ""


def _whole_models(where: Where) -> str:
    device = where.device
    y = torch.tensor([0.3, -1.2, 2.0, 0.9])

    def hierarchical(y: Tensor) -> None:
        centre = pyro.sample("centre", dist.Normal(torch.zeros((), device=y.device), 1.0))
        with pyro.plate("groups", len(y)):
            effect = pyro.sample("effect", dist.Normal(centre, 1.0))
            pyro.sample("y", dist.Normal(effect, 1.0), obs=y)

    posterior = sample_posterior(
        hierarchical,
        y.to(device),
        kernel=HMC(path_length=2.0),
        shared="sample",
        num_chains=20,
        warmup_steps=60 if where.smoke else 300,
        num_samples=30 if where.smoke else 500,
        progress=False,
    )
    centre = posterior.get_samples()["centre"]
    is_there(where, centre)
    # y_i given the centre is N(centre, 2).
    precision = 1 + len(y) / 2
    mean = torch.full((1, 1), float(y.sum()) / 2 / precision, dtype=torch.double)
    ess = torch.as_tensor(posterior.summary().ess).double().min().expand(1, 1)
    variance = torch.full_like(mean, 1 / precision)
    found = centre.reshape(len(centre), 1, 1)
    return f"{furthest(posterior, found, mean, variance, ess):.1f} errors"


def _own_model(where: Where) -> str:
    """Run a model of a user's own with a module in it, and Pyro's MCMC."""
    y = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))

    class Own(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.decoder = torch.nn.Linear(2, 3)

        def forward(self, y: Tensor) -> None:
            with pyro.plate("data", len(y)):
                z = pyro.sample("z", dist.Normal(y.new_zeros(2), 1.0).to_event(1))
                pyro.sample("y", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=y)

    model = Own()
    there = where.here(model)
    z = torch.zeros(5, 2)
    worst = apart("energies", bind(there, y)(z.to(where.device)), bind(model, y)(z))
    posterior = _sampled(there, y.numpy())
    is_there(where, posterior.position, posterior.predict(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chain = MCMC(
            PyroKernel(there, HMC(3)), num_samples=5, warmup_steps=20, disable_progbar=True
        )
        chain.run(y.to(where.device))
    is_there(where, chain.get_samples()["z"])
    return f"{worst:.1g}"


CHECKS = [
    Check("data on the CPU, on the device, NumPy, loaders", "rounding", _data_anywhere),
    Check("captured graphs", "rounding", _graphs),
    Check("keyed noise", "rounding", _noise),
    *(Check(f"two steps of {kernel!r}"[:60], "rounding", _one_step(kernel)) for kernel in KERNELS),
    *(
        Check(f"posterior by {type(kernel).__name__}", "exact", _exact(kernel))
        for kernel in (MALA(), HMC(path_length=1.5), RiemannianMALA())
    ),
    Check("sampling: chunks, extend, tuning, accumulate", "bits", _ways_to_sample),
    Check("predict and impute", "exact", _draws_of_y),
    Check("to_arviz, summaries", "bits", _arviz),
    Check("posteriors' files, both ways", "bits", _files),
    Check("a sampling run resumed", "bits", _checkpoint),
    Check('shared="sample"', "exact", _whole_models),
    Check("a Pyro model of one's own, Pyro's MCMC", "rounding", _own_model),
]
