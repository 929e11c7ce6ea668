"""What a clock chooses is told, kept, and taken back."""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from explainaway.inference import AlternatingBackProp, Posterior, sample_posterior
from explainaway.inference.speed import chosen, products
from explainaway.inference.speed.precision import Arithmetic
from explainaway.models import Gaussian, GeneratorModel, Normal, deconvnet, mlp

SETTINGS: dict[str, Any] = {"warmup_steps": 5, "num_samples": 4, "progress": False}


def _model() -> GeneratorModel:
    torch.manual_seed(0)
    return GeneratorModel(Normal(2), mlp(2, (6,), hidden=(8,)), Gaussian(0.3))


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
    monkeypatch.setattr(chosen, "chosen_arithmetic", lambda *_: fastest)

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
    assert content["choices"].items() >= {"compile": False, "precision": "bfloat16"}.items()
    fastest = Arithmetic()
    assert not torch.equal(sample(-1, checkpoint=None).position, whole.position)
    resumed = sample(-1)
    assert torch.equal(resumed.position, whole.position)
    assert resumed.potential is not None
    assert resumed.potential.autocast is torch.bfloat16


def test_a_fit_goes_on_in_the_arithmetic_that_its_graphs_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resumed where the clock favoured the other library for products, a fit differed by 6e-4."""
    y = torch.rand(64, 64)

    def fit(epochs: int, file: Path | None, onednn: bool) -> Tensor:
        monkeypatch.setattr(products, "measured_onednn_is_faster", lambda _: onednn)
        torch.manual_seed(0)
        model = GeneratorModel(Normal(64), mlp(64, (64,), hidden=(256,)), Gaussian(0.3))
        abp = AlternatingBackProp(
            model,
            batch_size=64,
            inference_steps=20,
            optimizer=lambda p: torch.optim.Adam(p, lr=1e-3),
        )
        latents: Tensor = abp.fit(y, epochs=epochs, checkpoint=file, progress=False).latents
        return latents

    whole, other = (fit(16, None, onednn) for onednn in (True, False))
    if torch.equal(whole, other):
        pytest.skip("both libraries give the same bits here")
    fit(15, tmp_path / "fit.pt", onednn=True)
    assert torch.equal(fit(16, tmp_path / "fit.pt", onednn=False), whole)


def test_choices_are_known_once_they_are_made() -> None:
    abp = AlternatingBackProp(_model(), compile="auto", batch_size=3)
    with pytest.raises(RuntimeError, match="choices are made on the first fit or start"):
        _ = abp.choices
    abp.start(torch.rand(6, 6))
    assert abp.choices.items() >= {"compile": None, "precision": "float32"}.items()


def _is_channels_last(model: GeneratorModel) -> bool:
    weight = next(p for p in model.parameters() if p.dim() == 4)
    return weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()


def test_a_memory_format_is_taken_back_where_the_choice_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a second fit, and by a fit that goes on with what was chosen before."""
    fastest = Arithmetic(None, channels_last=True)
    monkeypatch.setattr(chosen, "chosen_arithmetic", lambda *_: fastest)
    torch.manual_seed(0)
    network = deconvnet(2, (3, 16, 16), width=4)
    model = GeneratorModel(Normal(2), network, Gaussian(0.3, torch.tanh))
    y, files = torch.rand(4, 3, 16, 16), (tmp_path / "last.pt", tmp_path / "plain.pt")
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    abp = AlternatingBackProp(model, optimizer=adam, inference_steps=1, precision="auto")
    abp.fit(y, epochs=1, checkpoint=files[0], progress=False)
    assert _is_channels_last(model)
    fastest = Arithmetic()
    abp.fit(y, epochs=1, checkpoint=files[1], progress=False)
    assert not _is_channels_last(model)
    abp.fit(y, epochs=2, checkpoint=files[0], progress=False)
    assert _is_channels_last(model)
    assert abp.choices["precision"] == "float32, channels last"
    fastest = Arithmetic(None, channels_last=True)
    abp.fit(y, epochs=2, checkpoint=files[1], progress=False)
    assert not _is_channels_last(model)
