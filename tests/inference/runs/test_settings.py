"""Case 28 (huggingface/transformers#28867): settings of a file against settings just given."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from explainaway.inference import AlternatingBackProp, sample_posterior
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, mlp, observations, priors

Y = torch.randn(50, 2, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)


def _model(**pieces: Any) -> GeneratorModel:
    torch.manual_seed(0)
    given = {"prior": Normal(1), "network": mlp(1, (2,), hidden=(8,)), "observation": Gaussian(0.5)}
    return GeneratorModel(**{**given, **pieces})


def _fit(model: Any, path: Path, epochs: int = 2) -> Any:
    # At a constant rate a prolonged run is the longer one.
    abp = AlternatingBackProp(
        model, batch_size=20, optimizer=lambda p: torch.optim.Adam(p, lr=1e-3)
    )
    return abp.fit(Y, epochs=epochs, checkpoint=path, progress=False)


def _sample(model: Any, path: Path) -> Any:
    settings: dict[str, Any] = {"num_samples": 10, "warmup_steps": 10, "progress": False}
    return sample_posterior(model, Y, checkpoint=path, **settings)


class _Attribute(nn.Module):
    """A network with a setting that is no tensor."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope
        self.layer = nn.Linear(1, 2)

    def forward(self, z: Tensor) -> Tensor:
        return self.slope * self.layer(z)


def _network(*hidden: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(1, 8), *hidden, nn.Linear(8, 2))


OTHERS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({}, {"prior": Normal(1, scale=10.0)}, r"prior.scale is \[1.0\], here it is \[10.0\]"),
    ({}, {"prior": Normal(1, loc=1.0)}, r"prior.loc is \[0.0\], here it is \[1.0\]"),
    ({}, {"observation": Gaussian(0.05)}, r"observation.log_scale is -0.69\d*, here it is -2.99"),
    ({}, {"observation": observations.Laplace(0.5)}, "is of other work"),
    ({}, {"observation": Masked(Gaussian(0.5))}, "is of other work"),
    ({}, {"observation": Gaussian(0.5, inverse_link=torch.tanh)}, "energies differ by up to"),
    ({}, {"prior": priors.Laplace(1)}, "is of other work"),
    (
        {"network": _network(nn.ReLU())},
        {"network": _network(nn.Tanh())},
        "energies differ by up to",
    ),
    ({"network": _Attribute(1.0)}, {"network": _Attribute(1.001)}, "energies differ by up to"),
]


@pytest.mark.parametrize("run", [_fit, _sample])
@pytest.mark.parametrize(("first", "second", "said"), OTHERS)
def test_a_file_made_with_other_settings_is_refused(
    tmp_path: Path,
    run: Callable[[Any, Path], Any],
    first: dict[str, Any],
    second: dict[str, Any],
    said: str,
) -> None:
    path = tmp_path / "run.pt"
    model, other = _model(**first), _model(**second)
    if "network" in first:
        other.network.load_state_dict(model.network.state_dict())
    run(model, path)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(ValueError, match=said):
        run(other, path)
    for name, value in other.state_dict().items():
        assert torch.equal(value, before[name])


def test_what_is_learned_comes_from_the_file(tmp_path: Path) -> None:
    """Weights, a learned scale, running statistics; also into the model that went on learning."""

    def made() -> GeneratorModel:
        torch.manual_seed(0)
        norm = _network(nn.BatchNorm1d(8), nn.ReLU())
        return _model(network=norm, observation=Gaussian(0.5, learn_scale=True))

    whole = _fit(made(), tmp_path / "whole.pt", epochs=4)
    model = made()
    _fit(model, tmp_path / "run.pt")
    again = _fit(model, tmp_path / "run.pt", epochs=3)
    assert again.history["loss"] == whole.history["loss"][:3]
    fresh = _fit(made(), tmp_path / "run.pt", epochs=4)
    assert torch.equal(fresh.latents, whole.latents)


def test_a_scale_that_a_callback_sets_is_part_of_the_file(tmp_path: Path) -> None:
    def narrowed(abp: AlternatingBackProp, record: dict[str, float]) -> None:
        with torch.no_grad():
            abp.model.observation.log_scale.sub_(0.1)  # type: ignore[attr-defined]

    def run(path: Path, epochs: int) -> Any:
        abp = AlternatingBackProp(
            _model(), batch_size=20, optimizer=lambda p: torch.optim.Adam(p, lr=1e-3)
        )
        return abp.fit(Y, epochs=epochs, checkpoint=path, callbacks=[narrowed], progress=False)

    whole = run(tmp_path / "whole.pt", 4)
    run(tmp_path / "run.pt", 2)
    assert torch.equal(run(tmp_path / "run.pt", 4).latents, whole.latents)
