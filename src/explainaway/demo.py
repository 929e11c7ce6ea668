"""The demo: a generator network learned from digits with most of their pixels missing."""

import json
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from . import baselines
from .data import Digits, digits
from .evaluation import RecoveryError, recovery_error
from .inference import (
    HMC,
    MALA,
    AlternatingBackProp,
    Langevin,
    Posterior,
    SamplingWarning,
    sample_posterior,
)
from .inference.diagnostics.arviz import arviz
from .models import Bernoulli, Censored, Gaussian, GeneratorModel, Masked, Normal, mlp
from .plots import save_panels, tile

LATENT_DIM = 16
NOISE = 0.45
NOISE_AROUND_TANH = 0.35
SHOWN = 24
CHECKED = 16


@dataclass(frozen=True)
class DemoSettings:
    """What the demo does; :meth:`of` fills in what goes with ``smoke``."""

    observation: Literal["censored", "gaussian", "bernoulli"]
    kernel: Literal["mala", "hmc", "langevin"]
    missing: float
    epochs: int
    seed: int
    output: Path
    progress: bool
    num_train: int | None
    warmup_steps: int
    num_samples: int

    @staticmethod
    def of(*, epochs: int | None, smoke: bool, **given: Any) -> "DemoSettings":
        """Return the settings of the whole demo, or of a run of seconds.

        Raises
        ------
        ValueError
            If the share of missing pixels is not between 0 and 1, or there is no epoch.
        """
        if not 0 < given["missing"] < 1:
            raise ValueError(f"--missing must lie between 0 and 1, got {given['missing']}")
        if epochs is not None and epochs < 1:
            raise ValueError(f"--epochs must be at least 1, got {epochs}")
        if smoke:
            return DemoSettings(
                **given, epochs=epochs or 3, num_train=200, warmup_steps=20, num_samples=20
            )
        return DemoSettings(
            **given, epochs=epochs or 100, num_train=None, warmup_steps=30, num_samples=30
        )


def build_model(settings: DemoSettings) -> GeneratorModel:
    """Return the model; the observation is the one line that a flag swaps.

    Half of the pixels are black, and nothing is blacker: such a pixel says only that the signal is
    there or beyond.
    """
    observation = {
        "censored": Masked(Censored(Gaussian(scale=NOISE), lower=-1.0, upper=1.0)),
        "gaussian": Masked(Gaussian(scale=NOISE_AROUND_TANH, inverse_link=torch.tanh)),
        "bernoulli": Masked(Bernoulli()),
    }[settings.observation]
    network = mlp(LATENT_DIM, shape=(8, 8), hidden=(256, 256), activation=nn.GELU)
    return GeneratorModel(Normal(LATENT_DIM, learn=True), network, observation)


def run_demo(settings: DemoSettings) -> dict[str, Any]:
    """Run the demo, write its picture, table and posterior, and return what it measured.

    Returns
    -------
    dict
        ``errors`` (method, task, measure), ``ratios`` to the best baseline, ``seconds`` by stage.
    """
    settings.output.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    data = _load(settings)
    low = 0.0 if settings.observation == "bernoulli" else -1.0
    value_range = 1.0 - low
    print(
        f"digits: {len(data.train)} to learn from and {len(data.test)} to test on, "
        f"{settings.missing:.0%} of the pixels hidden in both"
    )
    if settings.observation == "bernoulli":
        print("observation Bernoulli: the digits are binarised, a pixel is 1 from half ink up")

    torch.manual_seed(settings.seed)
    model = build_model(settings)
    train = _incomplete(data.train, data.train_observed)
    test = _incomplete(data.test, data.test_observed)
    _start_at_the_mean_image(model, train, low)
    kernel: Any = {"mala": MALA(), "hmc": HMC(num_leapfrog=6), "langevin": Langevin()}[
        settings.kernel
    ]
    abp = AlternatingBackProp(
        model,
        kernel=kernel,
        inference_steps=1 if settings.kernel == "hmc" else 5,
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
        scheduler=lambda adam: torch.optim.lr_scheduler.CosineAnnealingLR(adam, settings.epochs),
        batch_size=120,
        num_chains=4,
    )
    abp.fit(
        train,
        epochs=settings.epochs,
        seed=settings.seed,
        progress=settings.progress,
        # What it recovers is measured on all that is hidden, by a posterior that is sampled anew.
        hold_out=None,
        posterior_means=False,
    )
    seconds = {"learning": time.monotonic() - began}

    recovered = {}
    for task, incomplete in (("T1", train), ("T3", test)):
        recovered[task] = _recover(model, incomplete, settings)
    seconds["recovery"] = time.monotonic() - began - sum(seconds.values())

    errors: dict[str, dict[str, RecoveryError]] = _baseline_errors(data, settings, value_range)
    seconds["baselines"] = time.monotonic() - began - sum(seconds.values())
    ours = recovered["T1"], recovered["T3"]
    errors["explainaway"] = _errors_by_task(
        data, [one.median for one in ours], [one.mean for one in ours], value_range
    )
    ratios = _ratios(errors)
    _print_errors(errors, ratios, settings.missing)
    checked = _sample_well(model, test, settings)
    _print_diagnostics(checked)

    new = model.generate(2 * SHOWN, seed=settings.seed + 1).clamp(low, 1.0).numpy()
    picture = _draw(settings, data, recovered, new, low)
    posterior_file = settings.output / "posterior.nc"
    checked.save(posterior_file, predictive_draws=20, prior_draws=100, seed=settings.seed)
    seconds["pictures and files"] = time.monotonic() - began - sum(seconds.values())
    result = {
        "settings": {
            "observation": settings.observation,
            "kernel": settings.kernel,
            "missing": settings.missing,
            "epochs": settings.epochs,
            "seed": settings.seed,
        },
        "errors": {m: {t: e._asdict() for t, e in by.items()} for m, by in errors.items()},
        "ratios": {task: e._asdict() for task, e in ratios.items()},
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
    }
    table = settings.output / "results.json"
    table.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\npicture {picture}, table {table}, posterior {posterior_file} (open it with ArviZ)")
    print("seconds: " + ", ".join(f"{name} {value:.0f}" for name, value in seconds.items()))
    return result


def _start_at_the_mean_image(model: GeneratorModel, train: Tensor, low: float) -> None:
    """Set the last bias so that at first every latent decodes to the mean of the seen pixels."""
    share = ((train.nanmean(0) - low) / (1.0 - low)).nan_to_num(0.5).clamp(0.02, 0.98)
    # The logistic link's inverse; tanh(x) is 2 sigmoid(2x) - 1.
    linear = [layer for layer in model.network.modules() if isinstance(layer, nn.Linear)][-1]
    with torch.no_grad():
        linear.bias.copy_(share.logit().flatten() / (2.0 if low < 0 else 1.0))


def _load(settings: DemoSettings) -> Digits:
    data = digits(settings.missing, settings.seed, settings.num_train)
    if settings.observation == "bernoulli":
        data = data._replace(
            train=(data.train >= 0).astype(np.float32), test=(data.test >= 0).astype(np.float32)
        )
    return data


def _incomplete(images: NDArray[np.float32], observed: NDArray[np.bool_]) -> Tensor:
    return torch.from_numpy(np.where(observed, images, np.float32(np.nan)))


@dataclass(frozen=True)
class _Recovery:
    """Posterior of the images: the mean is best for the square error, the median for the other."""

    mean: NDArray[np.float32]
    median: NDArray[np.float32]
    spread: NDArray[np.float32]


def _recover(model: GeneratorModel, incomplete: Tensor, settings: DemoSettings) -> _Recovery:
    """Sample each image's latent from scratch, given its observed pixels, weights fixed."""

    def expected(latents: Tensor) -> Tensor:
        """Return the mean of the pixels as they would be recorded."""
        output = model.network(latents.flatten(0, -2))
        mean: Tensor = model.observation.distribution(output).mean
        return mean.reshape(*latents.shape[:-1], *mean.shape[1:])

    def median_of(draws: Tensor) -> Tensor:
        # Probabilities of Bernoulli pixels lie in [0, 1] anyway.
        return model.decode(draws).clamp(-1.0, 1.0).median(0).values

    with warnings.catch_warnings():
        # Enough draws for a mean and a median, not for the tails of r-hat: no news here.
        warnings.simplefilter("ignore", SamplingWarning)
        posterior = sample_posterior(
            model,
            incomplete,
            kernel=HMC(num_leapfrog=8),
            num_chains=4,
            warmup_steps=settings.warmup_steps,
            num_samples=settings.num_samples,
            seed=settings.seed,
            accumulate={"image": expected},
            progress=settings.progress,
        )
    image = posterior.accumulated["image"]
    draws = posterior.get_samples()["z"][::4]
    with torch.no_grad():
        median = [median_of(draws[:, part]) for part in _parts(len(incomplete))]
    return _Recovery(
        image.mean.numpy(),
        torch.cat(median).numpy(),
        image.variance.sqrt().numpy(),
    )


def _sample_well(model: GeneratorModel, test: Tensor, settings: DemoSettings) -> Posterior:
    """Sample some test digits as one would for their own sake: every setting the default."""
    few: dict[str, Any] = (
        {"warmup_steps": 10, "num_samples": 10} if settings.num_train is not None else {}
    )
    with warnings.catch_warnings():
        # What is wrong is printed with the diagnostics.
        warnings.simplefilter("ignore", SamplingWarning)
        return sample_posterior(
            model, test[:CHECKED], seed=settings.seed, progress=settings.progress, **few
        )


def _parts(count: int, size: int = 200) -> list[slice]:
    return [slice(start, start + size) for start in range(0, count, size)]


def _baseline_errors(
    data: Digits, settings: DemoSettings, value_range: float
) -> dict[str, dict[str, RecoveryError]]:
    train = _incomplete(data.train, data.train_observed).flatten(1).double().numpy()
    test = _incomplete(data.test, data.test_observed).flatten(1).double().numpy()
    rank = baselines.tune(baselines.impute_by_pca, (4, 6, 8, 10), train, settings.seed)
    neighbours = baselines.tune(baselines.impute_by_neighbours, (20, 40, 80), train, settings.seed)
    methods = {
        "pixel mean": baselines.impute_by_mean,
        f"PCA by EM, rank {rank}": baselines.impute_by_pca(rank),
        f"{neighbours} neighbours": baselines.impute_by_neighbours(neighbours),
    }
    errors = {}
    for name, impute in methods.items():
        filled = impute(train, test)
        errors[name] = _errors_by_task(data, filled, filled, value_range)
    return errors


def _errors_by_task(
    data: Digits,
    for_absolute: Sequence[NDArray[np.floating]],
    for_square: Sequence[NDArray[np.floating]],
    value_range: float,
) -> dict[str, RecoveryError]:
    """Return the errors of T1 and T3 from the estimates of training and test digits."""
    parts = (data.train, data.train_observed), (data.test, data.test_observed)
    return {
        task: recovery_error(
            truth, observed, absolute.reshape(truth.shape), square.reshape(truth.shape), value_range
        )
        for task, (truth, observed), absolute, square in zip(
            ("T1", "T3"), parts, for_absolute, for_square, strict=True
        )
    }


def _ratios(errors: dict[str, dict[str, RecoveryError]]) -> dict[str, RecoveryError]:
    """Return our errors over those of the best baseline, best in that measure and task."""
    ratios = {}
    for task, ours in errors["explainaway"].items():
        others = [by[task] for method, by in errors.items() if method != "explainaway"]
        ratios[task] = RecoveryError(
            ours.mae / min(e.mae for e in others), ours.rmse / min(e.rmse for e in others)
        )
    return ratios


def _print_errors(
    errors: dict[str, dict[str, RecoveryError]],
    ratios: dict[str, RecoveryError],
    missing: float,
) -> None:
    print(f"\nrecovery of the hidden {missing:.0%}, errors relative to the range of the pixels")
    print(f"{'':22}{'T1 training digits':>22}{'T3 test digits':>22}")
    print(f"{'':22}{'MAE':>11}{'RMSE':>11}{'MAE':>11}{'RMSE':>11}")
    for method, by_task in errors.items():
        cells = "".join(f"{e.mae:11.4f}{e.rmse:11.4f}" for e in by_task.values())
        print(f"{method:22}{cells}")
    cells = "".join(f"{e.mae:11.3f}{e.rmse:11.3f}" for e in ratios.values())
    print(f"{'over best baseline':22}{cells}")
    print("explainaway: the posterior median for the absolute error, its mean for the square error")


def _print_diagnostics(posterior: Posterior) -> None:
    summary = posterior.summary()
    chains, draws, count = posterior.position.shape[:3]
    print(f"\nconvergence of {count} test digits ({chains} chains of {draws} draws)")
    print(summary)
    ess = np.nanmedian(summary.ess)
    rate = ess * summary.ess.size / posterior.seconds
    print(f"ESS per second: {rate:,.0f} in all, over {summary.ess.size} latent components")
    worst = summary.worst(1)[0].example
    one = posterior.to_arviz(examples=[worst], predictive_draws=0, prior_draws=0)
    print(f"the least mixed digit, number {worst}, by ArviZ:")
    print(arviz().summary(one, var_names=["z"], kind="diagnostics"))


def _draw(
    settings: DemoSettings,
    data: Digits,
    recovered: dict[str, _Recovery],
    new: NDArray[np.float32],
    low: float,
) -> Path:
    panels, limits = {}, {}
    for task, what, images, observed in (
        ("T1", "training", data.train, data.train_observed),
        ("T3", "test", data.test, data.test_observed),
    ):
        result = recovered[task]
        some = slice(0, SHOWN)
        rows = {
            f"{what} digits": images[some],
            f"{task}: observed": np.where(observed, images, np.nan)[some],
            f"{task}: recovered, posterior mean": result.mean[some],
            f"{task}: posterior standard deviation": result.spread[some],
        }
        for name, row in rows.items():
            panels[name] = tile(row, SHOWN)
            limits[name] = (0.0, 0.6) if "deviation" in name else (low, 1.0)
    panels["T2: new digits"] = tile(new, SHOWN)
    limits["T2: new digits"] = (low, 1.0)
    return save_panels(
        settings.output / "digits.png",
        panels,
        limits=limits,
        title=f"learned from digits with {settings.missing:.0%} of their pixels missing",
    )
