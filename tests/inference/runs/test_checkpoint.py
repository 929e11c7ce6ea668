"""Which checkpoints are refused."""

import io
from pathlib import Path
from typing import Any

import pytest
import torch

from explainaway.inference import AlternatingBackProp, Posterior, sample_posterior
from explainaway.inference.runs.checkpoint import FORMAT, save_checkpoint
from explainaway.inference.runs.files import add_checksum
from explainaway.inference.runs.posterior_file import _REST, _rest_of
from explainaway.models import Gaussian, GeneratorModel, Normal, mlp

SETTINGS: dict[str, Any] = {"warmup_steps": 5, "num_samples": 4, "progress": False}


def _model() -> GeneratorModel:
    torch.manual_seed(0)
    return GeneratorModel(Normal(2), mlp(2, (6,), hidden=(8,)), Gaussian(0.3))


def _age_posterior(path: Path) -> None:
    """Make a posterior's file one of the format before, its checksum right."""
    begin, end = _rest_of(path)
    whole = path.read_bytes()
    content = torch.load(io.BytesIO(whole[begin:end]), weights_only=True)
    buffer = io.BytesIO()
    torch.save({**content, "format": FORMAT - 1}, buffer)
    path.write_bytes(whole[:begin] + buffer.getvalue() + _REST + b"%016d" % len(buffer.getvalue()))
    add_checksum(path)


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
    # What was a posterior's file before it was NetCDF.
    save_checkpoint(path, {"kind": "a posterior", "identity": {}})
    _age(path)
    with pytest.raises(ValueError, match=refusal):
        Posterior.load(path)
    posterior.save(path)
    Posterior.load(path)
    _age_posterior(path)
    with pytest.raises(ValueError, match=refusal):
        Posterior.load(path)
