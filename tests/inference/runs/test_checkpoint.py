"""What checkpoints hold, and which are refused."""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from explainaway.inference import AlternatingBackProp, Posterior, sample_posterior
from explainaway.inference.runs import choices
from explainaway.inference.runs.checkpoint import FORMAT
from explainaway.inference.speed.precision import Arithmetic
from explainaway.models import Gaussian, GeneratorModel, Normal, mlp

SETTINGS: dict[str, Any] = {"warmup_steps": 5, "num_samples": 4, "progress": False}


def _model() -> GeneratorModel:
    torch.manual_seed(0)
    return GeneratorModel(Normal(2), mlp(2, (6,), hidden=(8,)), Gaussian(0.3))


def _age(path: Path) -> None:
    """Make the file one of the format before."""
    content = torch.load(path, weights_only=True)
    torch.save({**content, "format": FORMAT - 1}, path)


def test_files_of_an_older_format_are_refused_with_what_to_do(tmp_path: Path) -> None:
    y, path = torch.rand(6, 6), tmp_path / "run.pt"
    refusal = (
        f"has format {FORMAT - 1}, this version of explainaway reads format {FORMAT}: go on with "
        "the version that wrote it, or delete it to start afresh"
    )
    abp = AlternatingBackProp(_model(), batch_size=3)
    abp.fit(y, epochs=1, checkpoint=path, progress=False)
    _age(path)
    with pytest.raises(ValueError, match=refusal):
        abp.fit(y, epochs=1, checkpoint=path, progress=False)
    path.unlink()
    posterior = sample_posterior(_model(), y, checkpoint=path, **SETTINGS)
    _age(path)
    with pytest.raises(ValueError, match=refusal):
        sample_posterior(_model(), y, checkpoint=path, **SETTINGS)
    posterior.save(path)
    _age(path)
    with pytest.raises(ValueError, match=refusal):
        Posterior.load(path)


class _CtrlC:
    """A function of the draws that presses Ctrl-C at one of them."""

    def __init__(self, draw: int) -> None:
        self.left = draw

    def __call__(self, z: Tensor) -> Tensor:
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)
        return z


def test_draws_go_on_with_what_a_clock_chose_for_the_first_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law 5, though the clock says otherwise when the run is resumed."""
    path, fastest = tmp_path / "run.pt", Arithmetic(torch.bfloat16)
    monkeypatch.setattr(choices, "chosen_arithmetic", lambda *_: fastest)

    def sample(ctrl_c: int, checkpoint: Path | None = path) -> Posterior:
        return sample_posterior(
            _model(),
            torch.ones(3, 6),
            precision="auto",
            checkpoint=checkpoint,
            accumulate={"z": _CtrlC(ctrl_c)},
            **SETTINGS,
        )

    whole = sample(-1, checkpoint=None)
    with pytest.raises(KeyboardInterrupt, match="stopped after step 7 of 9"):
        sample(2)
    content = torch.load(path, weights_only=True)
    assert content["choices"] == {"compile": False, "precision": "bfloat16"}
    fastest = Arithmetic()
    assert not torch.equal(sample(-1, checkpoint=None).position, whole.position)
    resumed = sample(-1)
    assert torch.equal(resumed.position, whole.position)
    assert resumed.potential is not None
    assert resumed.potential.autocast is torch.bfloat16


def test_choices_are_known_once_they_are_made() -> None:
    abp = AlternatingBackProp(_model(), compile="auto", batch_size=3)
    with pytest.raises(RuntimeError, match="choices are made on the first fit or start"):
        _ = abp.choices
    abp.start(torch.rand(6, 6))
    assert abp.choices == {"compile": None, "precision": "float32"}
