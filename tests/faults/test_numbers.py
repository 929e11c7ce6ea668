"""Numbers of NumPy and torch are numbers; truth values and halves are no counts."""

from typing import Any

import numpy as np
import pytest
import torch

from explainaway.inference import (
    HMC,
    MALA,
    AlternatingBackProp,
    GradientDescent,
    Langevin,
    NoProgress,
    ParallelTempering,
    sample_posterior,
)
from explainaway.models import Gaussian, GeneratorModel, Normal, mlp

Y = torch.zeros(4, 3)


def _model() -> GeneratorModel:
    torch.manual_seed(0)
    return GeneratorModel(Normal(2), mlp(2, (3,)), Gaussian(0.3))


@pytest.mark.parametrize(
    "make", [np.int64, np.int32, np.uint8, torch.tensor, np.array], ids=lambda f: str(f.__name__)
)
def test_integers_of_numpy_and_torch_are_counts_and_seeds(make: Any) -> None:
    """Case 36 (peterhurford/squigglepy#5): the same draws as with Python's."""
    numbers = {
        "num_samples": 6,
        "seed": 3,
        "num_chains": 2,
        "warmup_steps": 5,
        "thinning": 2,
        "chunk_size": 4,
    }
    few: Any = {"kernel": MALA(0.1), "progress": False}
    with pytest.warns(UserWarning, match="cannot be trusted"):
        posterior = sample_posterior(
            _model(), Y, **few, **{name: make(value) for name, value in numbers.items()}
        )
    with pytest.warns(UserWarning, match="cannot be trusted"):
        expected = sample_posterior(_model(), Y, **few, **numbers)
    assert torch.equal(posterior.position, expected.position)

    def fitted(make: Any) -> torch.Tensor:
        counts = {"inference_steps": 2, "batch_size": 3, "num_chains": 2, "average_from": 1}
        abp = AlternatingBackProp(_model(), **{k: make(v) for k, v in counts.items()})
        latents: torch.Tensor = abp.fit(Y, epochs=make(2), seed=make(5), progress=False).latents
        return latents

    assert torch.equal(fitted(make), fitted(int))


def test_settings_of_kernels_are_pythons_numbers() -> None:
    assert repr(Langevin(np.float32(0.5))) == repr(Langevin(0.5))
    assert repr(MALA(step_size=torch.tensor(0.5))) == repr(MALA(step_size=0.5))  # type: ignore
    assert repr(HMC(np.int64(4), jitter=np.float64(0.25))) == repr(HMC(4, jitter=0.25))
    assert repr(ParallelTempering(np.int64(3))) == repr(ParallelTempering(3))
    assert repr(GradientDescent(np.array(0.5))) == repr(GradientDescent(0.5))  # type: ignore
    assert repr(NoProgress(np.int64(3))) == repr(NoProgress(3))


def test_pieces_take_integers_of_numpy() -> None:
    model = GeneratorModel(
        Normal(np.int64(2)), mlp(np.int64(2), np.int64(3)), Gaussian(np.float32(0.5))
    )
    assert model.generate(np.int64(4), seed=np.int64(1)).shape == (4, 3)


@pytest.mark.parametrize(
    "value", [True, np.True_, torch.tensor(True), 2.0, np.float64(2), "2", [2]]
)
@pytest.mark.parametrize("name", ["num_samples", "num_chains", "seed", "warmup_steps"])
def test_truth_values_and_floats_are_no_counts(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} must be an? .*integer.*, got"):
        sample_posterior(_model(), Y, **{name: value})


def test_a_truth_value_is_no_step_size() -> None:
    with pytest.raises(ValueError, match="step_size must be a positive number"):
        Langevin(True)
    with pytest.raises(ValueError, match=r"seed must be an integer, got 0\.5"):
        AlternatingBackProp(_model()).fit(Y, epochs=1, seed=0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="average_from, an epoch, must be an integer of at least"):
        AlternatingBackProp(_model(), average_from=-1)
