"""Noise belongs to an example by a number that the user can give (case 41, xyfJASON/ctrlora#19)."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from explainaway.inference import HMC, MALA, AlternatingBackProp, Posterior, bind, sample_posterior
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal

Y = torch.tensor([[5.0, 1.0], [0.0, 2.0], [1.0, -1.0]])
IDS = [17, -3, 10**12]
each_kernel = pytest.mark.parametrize("kernel", [HMC(), HMC(num_leapfrog=5), MALA()])


def _model() -> GeneratorModel:
    model = GeneratorModel(Normal(1), nn.Linear(1, 2, bias=False), Masked(Gaussian(1.0)))
    with torch.no_grad():
        model.network.weight.copy_(torch.tensor([[2.0], [3.0]]))
    return model


def _sampled(y: Tensor, ids: Any, kernel: Any = None, **settings: Any) -> Posterior:
    settings = {"warmup_steps": 60, "num_samples": 20, "progress": False} | settings
    return sample_posterior(_model(), y, ids=ids, kernel=kernel or MALA(), **settings)


@each_kernel
def test_draws_depend_on_neither_order_nor_batch_mates(kernel: Any) -> None:
    """Up to rounding, which chains of 20 draws do not let grow."""
    whole = _sampled(Y, IDS, kernel).position
    flipped = _sampled(Y.flip(0), IDS[::-1], kernel).position.flip(2)
    alone = _sampled(Y[1:2], IDS[1:2], kernel).position
    chunked = _sampled(Y, IDS, kernel, chunk_size=4).position
    torch.testing.assert_close(flipped, whole, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(alone, whole[:, :, 1:2], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(chunked, whole, rtol=1e-4, atol=1e-4)


def test_by_default_noise_belongs_to_the_place() -> None:
    by_place = _sampled(Y, None).position
    assert torch.equal(by_place, _sampled(Y, range(3)).position)
    assert torch.equal(by_place, _sampled(Y, np.arange(3)).position)
    assert not torch.equal(by_place, _sampled(Y, IDS).position)


def test_further_draws_have_the_same_ids(tmp_path: Path) -> None:
    whole = _sampled(Y, IDS, num_samples=30).position
    part = _sampled(Y, IDS, num_samples=20)
    assert torch.equal(part.extend(10, progress=False).position, whole)
    part.save(tmp_path / "posterior")
    loaded = Posterior.load(tmp_path / "posterior", bind(_model(), Y), MALA())
    assert torch.equal(loaded.extend(10, progress=False).position, whole)


def test_a_checkpoint_with_other_ids_is_refused(tmp_path: Path) -> None:
    _sampled(Y, IDS, checkpoint=tmp_path / "run")
    _sampled(Y, IDS, checkpoint=tmp_path / "run")
    with pytest.raises(ValueError, match=r"run"):
        _sampled(Y, [1, 2, 3], checkpoint=tmp_path / "run")


@pytest.mark.parametrize("in_file", [False, True])
def test_chains_of_learning_follow_their_ids(tmp_path: Path, in_file: bool) -> None:
    def learned(y: Tensor, ids: list[int], name: str) -> Tensor:
        model = _model()
        file = tmp_path / name if in_file else None
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        abp = AlternatingBackProp(
            model, MALA(), optimizer=optimizer, batch_size=3, chains_file=file
        )
        latents: Tensor = abp.fit(y, ids=ids, epochs=4, progress=False).latents
        return latents.clone()

    whole = learned(Y, IDS, "a")
    torch.testing.assert_close(
        learned(Y.flip(0), IDS[::-1], "b").flip(0), whole, rtol=1e-4, atol=1e-4
    )
    assert not torch.allclose(learned(Y, [0, 1, 2], "c"), whole)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1, 2], r"ids must hold an integer for each of the 3 examples, got shape \(2,\)"),
        ([1.0, 2.0, 3.0], r"an integer for each of the 3 examples, got .*torch.float32"),
        ([True, False, True], r"torch.bool"),
        ([4, 5, 4], r"ids must differ, got 4 more than once"),
    ],
)
def test_ids_that_are_none_are_refused(ids: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _sampled(Y, ids)
    with pytest.raises(ValueError, match=message):
        AlternatingBackProp(_model()).fit(Y, ids=ids, epochs=1, progress=False)
