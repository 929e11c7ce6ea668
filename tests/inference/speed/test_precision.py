"""Precision and memory format: energies stay what they are, and timing chooses."""

from pathlib import Path

import pytest
import torch

from explainaway.inference import MALA, AlternatingBackProp, bind, sample_posterior
from explainaway.inference.speed import precision as precision_module
from explainaway.inference.speed.precision import Arithmetic, chosen_arithmetic, with_arithmetic
from explainaway.models import Gaussian, GeneratorModel, Normal, deconvnet, mlp

from ...conftest import linear_gaussian


def _deconvnet() -> tuple[GeneratorModel, torch.Tensor, torch.Tensor]:
    network = deconvnet(4, (3, 16, 16), width=8, batch_norm=True)
    model = GeneratorModel(Normal(4), network, Gaussian(0.5, torch.tanh)).eval()
    return model, torch.rand(5, 3, 16, 16), torch.randn(5, 4)


@pytest.mark.parametrize("form", [Arithmetic(torch.bfloat16), Arithmetic(torch.bfloat16, True)])
def test_energies_in_bfloat16_are_added_up_in_float32(form: Arithmetic) -> None:
    """The signal is rounded to 8 bits, relative error at most 2⁻⁸; the sum is not."""
    model, y, z = _deconvnet()
    potential = bind(model, y, capture=True)
    energy, gradient = potential(z)
    rounded_energy, rounded_gradient = with_arithmetic(potential, form)(z)
    assert rounded_energy.dtype == rounded_gradient.dtype == torch.float32
    assert not torch.equal(rounded_energy, energy)
    # Residuals below 2 in 768 cells: each rounding of an output below 1, some layers deep, moves an
    # energy by less than 768 * 2 * 2⁻⁷ / .25, and being of random sign by a 28th part of that.
    torch.testing.assert_close(rounded_energy, energy, rtol=0.0, atol=768 * 2 / 32 / 28)
    cosine = torch.nn.functional.cosine_similarity(rounded_gradient, gradient)
    assert float(cosine.min()) > 0.99


def test_channels_last_changes_nothing_but_the_order_in_memory() -> None:
    model, y, z = _deconvnet()
    potential = bind(model, y, capture=True)
    energy, gradient = potential(z)
    other_energy, other_gradient = with_arithmetic(potential, Arithmetic(None, True))(z)
    assert model.network[4].weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(other_energy, energy)
    torch.testing.assert_close(other_gradient, gradient, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("seconds_of_it", "chosen"), [(0.5, True), (0.95, False)])
def test_auto_takes_what_is_clearly_fastest(
    seconds_of_it: float, chosen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, y, z = _deconvnet()
    timed: list[Arithmetic] = []
    fastest = Arithmetic(None, True)

    def seconds(form: Arithmetic, *_: object) -> float:
        timed.append(form)
        return seconds_of_it if form == fastest else 1.0

    monkeypatch.setattr(precision_module, "evaluation_seconds", seconds)
    monkeypatch.setattr(precision_module, "is_bfloat16_fast", lambda device: True)
    found = chosen_arithmetic("auto", bind(model, y), z)
    assert len(timed) == 4
    assert found == (fastest if chosen else Arithmetic())


def test_bfloat16_is_not_tried_where_it_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    model = GeneratorModel(Normal(3), mlp(3, (6,)), Gaussian(0.3))
    monkeypatch.setattr(precision_module, "is_bfloat16_fast", lambda device: False)
    tried: list[Arithmetic] = []

    def seconds(form: Arithmetic, *_: object) -> float:
        tried.append(form)
        return 1.0

    monkeypatch.setattr(precision_module, "evaluation_seconds", seconds)
    assert chosen_arithmetic("auto", bind(model, torch.rand(4, 6)), torch.randn(4, 3))[0] is None
    assert tried == [Arithmetic()]


def test_a_checkpoint_keeps_what_was_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    y = torch.rand(10, 6)

    def fit(epochs: int, faster: bool) -> AlternatingBackProp:
        torch.manual_seed(0)
        model = GeneratorModel(Normal(3), mlp(3, (6,)), Gaussian(0.3))
        monkeypatch.setattr(precision_module, "is_bfloat16_fast", lambda device: faster)
        monkeypatch.setattr(
            precision_module, "evaluation_seconds", lambda form, *_: 1.0 if form.autocast else 2.0
        )
        adam = torch.optim.Adam(model.parameters(), lr=1e-3)
        abp = AlternatingBackProp(model, MALA(), optimizer=adam, batch_size=5, precision="auto")
        abp.fit(y, epochs=epochs, checkpoint=tmp_path / "fit.pt", progress=False)
        return abp

    fit(1, faster=True)
    assert fit(2, faster=False).choices["precision"] == "bfloat16"
    content = torch.load(tmp_path / "fit.pt", weights_only=True)
    assert content["choices"].items() >= {"compile": False, "precision": "bfloat16"}.items()


def test_precision_is_one_of_three() -> None:
    model = GeneratorModel(Normal(3), mlp(3, (6,)), Gaussian(0.3))
    with pytest.raises(ValueError, match='precision must be "float32", "bfloat16" or "auto", got'):
        AlternatingBackProp(model, precision="half")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="precision must be"):
        sample_posterior(model, torch.rand(4, 6), precision="half")  # type: ignore[arg-type]


@pytest.mark.slow
def test_bfloat16_draws_have_the_exact_mean_and_covariance_up_to_its_rounding() -> None:
    linear = linear_gaussian(torch.randn(6, 2), scale=0.5, bias=torch.randn(6))
    y = torch.randn(8, 6)
    posterior = sample_posterior(
        linear.model,
        y,
        kernel=MALA(),
        num_chains=10,
        warmup_steps=200,
        num_samples=1000,
        progress=False,
        precision="bfloat16",
    )
    mean, covariance = linear.posterior(y)
    sd = covariance.diagonal(dim1=1, dim2=2).sqrt()
    ess = torch.tensor(posterior.summary().ess, dtype=torch.float32)
    z = posterior.get_samples()["z"]
    # Monte Carlo errors as in test_exact_posteriors.py. Outputs up to 4 are rounded by at most
    # 4 * 2⁻⁹ with σ = .5, which moves the mean by a fiftieth of a standard deviation for each of
    # the six cells at most, and the variance by a tenth.
    assert ((z.mean(0) - mean).abs() < 6 * sd / ess.sqrt() + 6 / 50 * sd).all()
    assert ((z.var(0) / sd**2 - 1).abs() < 6 * (6 / ess).sqrt() + 0.1).all()
