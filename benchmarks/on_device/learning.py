"""Checks of learning on a device."""

import copy
import warnings
from contextlib import suppress
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

from explainaway.inference import (
    MALA,
    AlternatingBackProp,
    CaptureWarning,
    CompilationWarning,
    Fit,
    Langevin,
    compare_fits,
)

from ..learning.linear_problems import ppca
from .check import Check, Where, apart, is_there, require, same_bits, small

# Without acceptance rounding cannot send a chain another way: what is learned stays comparable.
KERNEL = Langevin(0.1)


def _fitted(model: Any, y: Any, epochs: int = 3, **more: Any) -> tuple[Any, Fit]:
    """Return a copy of a model that has learned, and what the fit gave."""
    model = copy.deepcopy(model)
    of_fit = (
        "checkpoint",
        "checkpoint_seconds",
        "latents",
        "hold_out",
        "validation",
        "ids",
        "callbacks",
        "mask",
    )
    given = {name: more.pop(name) for name in of_fit if name in more}
    settings: dict[str, Any] = {"kernel": KERNEL, "batch_size": 5, **more}
    fit = AlternatingBackProp(model, **settings).fit(y, epochs=epochs, progress=False, **given)
    return model, fit


def _all_of(model: Any, fit: Fit) -> list[Any]:
    history = {k: torch.tensor(v) for k, v in fit.history.items() if k != "seconds"}
    means = [m for m in (fit.mean_signal, fit.filled) if m is not None]
    return [dict(model.state_dict()), fit.latents, history, means]


def _fits(where: Where) -> str:
    """Compare fits to data from anywhere, and with the CPU's."""
    model, y = small()
    there = where.here(model)
    one = _fitted(there, y)
    is_there(where, one[1].latents, *one[0].state_dict().values())
    kinds: dict[str, Any] = {
        "data on the device": y.to(where.device),
        "an array": y.numpy(),
        "a loader": DataLoader(TensorDataset(y), batch_size=4),
    }
    for name, data in kinds.items():
        same_bits(f"fits of {name}", _all_of(*_fitted(there, data)), _all_of(*one))
    by_mask = _fitted(there, y.nan_to_num(), mask=~y.isnan())
    apart("fits by a mask", dict(by_mask[0].state_dict()), dict(one[0].state_dict()), 1e-5)
    return f"{apart('fits', _all_of(*one), _all_of(*_fitted(model, y)), 1e-3):.1g}"


def _settings(where: Where) -> str:
    """Compare fits with settings that place something on a device."""
    model, y = small()
    there, worst = where.here(model), 0.0
    earlier = _fitted(model, y, num_chains=2)[1].latents

    def adam(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=1e-2)

    every: list[dict[str, Any]] = [
        {"num_chains": 2, "average_from": 1},
        {"validation": y[:4]},
        {"latents": earlier, "num_chains": 2},
        {"ids": [3 * i for i in range(12)]},
        {"optimizer": adam, "scheduler": lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.9)},
    ]
    for settings in every:
        found, expected = _fitted(there, y, **settings), _fitted(model, y, **settings)
        is_there(where, found[1].latents)
        name = f"fits with {list(settings)}"
        worst = max(worst, apart(name, _all_of(*found), _all_of(*expected), 1e-3))
        if found[1].averaged is not None:
            apart("averages", found[1].averaged, expected[1].averaged, 1e-3)
    onto = _fitted(there, y, latents=earlier.to(where.device), num_chains=2)
    again = _fitted(there, y, latents=earlier, num_chains=2)
    same_bits("latents given on either side", onto[1].latents, again[1].latents)
    return f"{worst:.1g}"


def _own_loop(where: Where) -> str:
    model, y = small()
    results: list[Any] = []
    for made in (model, where.here(model)):
        learns = copy.deepcopy(made)
        loop = AlternatingBackProp(learns, KERNEL)
        loop.start(y)
        # An index on the CPU, as a loader gives it.
        records = [loop.step(y[:6], torch.arange(6)) for _ in range(3)]
        results.append([dict(learns.state_dict()), list(records[-1])])
    return f"{apart('steps', results[1], results[0], 1e-3):.1g}"


def _held_out(where: Where) -> str:
    model, y = small(60)
    settings: dict[str, Any] = {"hold_out": 0.1, "epochs": 8, "batch_size": 20}
    found, expected = _fitted(where.here(model), y, **settings), _fitted(model, y, **settings)
    worst = apart("fits", _all_of(*found), _all_of(*expected), 2e-3)
    score, of_cpu = found[1].held_out, expected[1].held_out
    require(score is not None and of_cpu is not None, "no cell was held out")
    assert score is not None
    assert of_cpu is not None
    require(score.split == of_cpu.split, "other cells are held out")
    table = compare_fits({"device": found[1], "CPU": expected[1]})
    require(len(table) == 2, "no table")
    return f"{max(worst, apart('scores', score.nats, of_cpu.nats, 2e-3)):.1g}"


def _learned_prior(where: Where) -> str:
    model, y = small(40, learn=True)
    found = _fitted(where.here(model), y, 6, batch_size=10)
    expected = _fitted(model, y, 6, batch_size=10)
    is_there(where, found[0].prior.mean, found[0].prior.scale_tril)
    new = found[0].generate(2000, seed=0)
    is_there(where, new)
    require(bool(new.isfinite().all()), "what is generated is not finite")
    return f"{apart('fits', _all_of(*found), _all_of(*expected), 2e-3):.1g}"


def _checkpoints(where: Where) -> str:
    """Resume fits on the device where they began, and on the other one."""
    model, y = small(40)
    there = where.here(model)

    def stop(abp: AlternatingBackProp, record: dict[str, float]) -> None:
        if abp.chains is not None and int(abp.chains.num_steps[0]) >= 20:
            raise ArithmeticError("stopped")

    settings: dict[str, Any] = {"epochs": 6, "batch_size": 10, "hold_out": 0.2, "average_from": 1}
    worst = 0.0
    for file in (None, "chains"):
        paths = {}
        for name, made in (("cpu", model), ("device", there)):
            more = dict(settings)
            if file is not None:
                more["chains_file"] = where.folder / f"{file}_{name}"
            whole = _fitted(made, y, **more | {"chains_file": None})
            paths[name] = where.folder / f"{file}_{name}.pt"
            with suppress(ArithmeticError):
                _fitted(
                    made,
                    y,
                    **more,
                    checkpoint=paths[name],
                    checkpoint_seconds=0.0,
                    callbacks=[stop],
                )
            require(paths[name].is_file(), "no checkpoint was left")
            if file is None:
                # Left as it is for the other device.
                copied = where.folder / f"copy_{name}.pt"
                copied.write_bytes(paths[name].read_bytes())
                paths[name] = copied
                paths[f"{name} itself"] = where.folder / f"{file}_{name}.pt"
            own = paths.get(f"{name} itself", paths[name])
            again = _fitted(made, y, **more, checkpoint=own)
            # With chains in a file no means are kept.
            same_bits(f"a fit resumed on the {name}", _all_of(*again)[:3], _all_of(*whole)[:3])
            if file is None and name == "cpu":
                of_cpu = whole
        if file is None:
            moved = _fitted(there, y, **settings, checkpoint=paths["cpu"])
            is_there(where, moved[1].latents)
            worst = apart("a fit that went to the device", _all_of(*moved), _all_of(*of_cpu), 2e-3)
            back = _fitted(model, y, **settings, checkpoint=paths["device"])
            worst = max(worst, apart("one that came back", _all_of(*back), _all_of(*of_cpu), 2e-3))
    return f"{worst:.1g}"


def _compiled(where: Where) -> str:
    if where.device.type not in ("cpu", "cuda"):
        return "not tried: no compiler for this device"
    model, y = small()
    there = where.here(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CompilationWarning)
        warnings.simplefilter("error", CaptureWarning)
        compiled = _fitted(there, y, compile=True)
    plain = _fitted(there, y, capture=False)
    return f"{apart('compiled and plain fits', _all_of(*compiled), _all_of(*plain), 1e-3):.1g}"


def _precision(where: Where) -> str:
    if where.device.type not in ("cpu", "cuda"):
        return "not tried: no autocast for this device"
    model, y = small()
    there = where.here(model)
    low, full = _fitted(there, y, precision="bfloat16"), _fitted(there, y)
    _fitted(there, y, precision="auto", kernel=MALA())
    # 2^-8 of a signal of about 1, over some thirty steps.
    found, expected = dict(low[0].state_dict()), dict(full[0].state_dict())
    return f"{apart('parameters in bfloat16', found, expected, 0.1):.1g}"


def _optimum(where: Where) -> str:
    """Learn probabilistic PCA, whose maximum likelihood is known in closed form."""
    if where.smoke:
        return "not tried in a smoke run"
    problem = ppca()
    trial = problem.make(0, True)
    model = where.here(trial.model)
    AlternatingBackProp(model).fit(*trial.args, progress=False)
    gap = problem.gap(model.cpu()).nats
    require(-1e-6 < gap < 0.02, f"{gap:.3f} nats an example below the maximum")
    return f"{gap:.4f} nats below it"


CHECKS = [
    Check("fit: data from anywhere, against the CPU", "rounding", _fits),
    Check("fit: chains, averages, validation, latents, ids", "rounding", _settings),
    Check("start and step, a loop of one's own", "rounding", _own_loop),
    Check("held-out cells", "rounding", _held_out),
    Check("a learned prior", "rounding", _learned_prior),
    Check("fits resumed, on either side, chains in a file", "bits", _checkpoints),
    Check("compile=True", "rounding", _compiled),
    Check('precision="bfloat16", "auto"', "rounding", _precision),
    Check("a known maximum is reached", "exact", _optimum),
]
