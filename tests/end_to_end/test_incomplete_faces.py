from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from examples.faces.completion import Predict, stacked
from examples.faces.data import load_images
from examples.faces.fills import (
    Components,
    Krige,
    expectation_maximisation,
    interpolated,
    iterative_pca,
    principal_loadings,
)
from examples.faces.incomplete import Problem, problem
from examples.faces.intervals import predicted, validated, widths
from examples.faces.local import kriged_locally, learned, stationary
from examples.faces.masked_vae import MaskedVAE
from examples.faces.new_faces import colours, of_decoder, of_field
from examples.faces.scores import Reconstruction, scores
from explainaway.gaussian_fields import GaussianField

SIZES = (40, 20, 10, 10)


@pytest.fixture(scope="module")
def faces() -> Problem:
    return problem(load_images(Path(), 16, made_up=60), "P.5", SIZES, seed=0)


def test_nobody_sees_what_predictions_are_scored_on(faces: Problem) -> None:
    for part in (faces.known, faces.new, faces.validation):
        assert not (faces.hidden(part) & faces.observed[part]).any()
        assert faces.hidden(part).any()
        assert faces.y[part][faces.hidden(part)].isnan().all()
    # Settings are never chosen on what a training face hides from everybody.
    held_out = faces.hidden(faces.validation)
    assert (faces.given[faces.validation].expand_as(held_out) | ~held_out).all()


def test_standardised_faces_are_the_faces_where_they_are_observed(faces: Problem) -> None:
    back = faces.image(faces.y)
    seen = faces.observed
    torch.testing.assert_close(back[seen], faces.faces[seen], rtol=0, atol=1e-5)
    observed = faces.y[faces.train][seen[faces.train]]
    assert float(observed.mean()) == pytest.approx(0, abs=0.1)
    assert float(observed.std()) == pytest.approx(1, abs=0.1)


def test_sizes_are_checked() -> None:
    with pytest.raises(ValueError, match="there are 60"):
        problem(load_images(Path(), 16, made_up=60), "M30", (50, 10, 10, 20), seed=0)


def test_errors_are_of_the_cells_that_are_named() -> None:
    truth = torch.zeros(2, 1, 2, 2)
    mean = torch.tensor([1.0, 0.0, 0.0, 0.5]).reshape(1, 1, 2, 2).expand(2, -1, -1, -1)
    cells = (mean != 0).expand(2, 1, 2, 2)
    found = scores(truth, Reconstruction(mean, torch.ones(())), 0.0, cells=cells)
    assert found.mae == pytest.approx(0.75 / 2)
    assert found.rmse == pytest.approx((1.25 / 2) ** 0.5 / 2)
    assert found.coverage == {"50%": pytest.approx(0.5), "80%": 1.0, "95%": 1.0}


def test_linear_images_are_interpolated_exactly(faces: Problem) -> None:
    ramp = torch.linspace(-1, 1, 16)
    plane = (ramp[:, None] + 2 * ramp).expand(10, 3, 16, 16)
    y = torch.where(faces.observed[faces.known], plane, torch.nan)
    filled = interpolated(faces._replace(y=y), slice(0, 10))
    inside = slice(5, 11)
    torch.testing.assert_close(
        filled[..., inside, inside], plane[..., inside, inside], rtol=0, atol=1e-5
    )


def test_expectation_maximisation_finds_the_components_of_incomplete_images() -> None:
    """Of exactly linear images, symmetric under mirroring, the span is found up to the noise."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(3, 3 * 8 * 8, generator=generator)
    z, more = (torch.randn(200, 3, generator=generator) for _ in range(2))
    images = (z @ basis).reshape(-1, 3, 8, 8) + (more @ basis).reshape(-1, 3, 8, 8).flip(-1)
    noisy = images + 0.1 * torch.randn(images.shape, generator=generator)
    seen = torch.rand(200, 1, 8, 8, generator=generator) < 0.6
    y = torch.where(seen, noisy, torch.nan)
    start = principal_loadings(y.nan_to_num(), 6, 4)
    found = expectation_maximisation(y, start, 0.1, 15)
    filled = found.images(found.scores(y, 0.1), images.shape[1:])
    hidden = (~seen).expand_as(images)
    before = Components(start).images(Components(start).scores(y, 0.1), images.shape[1:])
    # 6 latents from some 115 noisy cells: about .1 · sqrt(6 / 115) = .023 of an image whose
    # standard deviation is 2.4; loadings of some 240 images add as much.
    assert float((filled - images)[hidden].square().mean().sqrt()) < 0.06
    assert float((before - images)[hidden].square().mean().sqrt()) > 0.2


def test_posterior_of_components_is_the_normal_one() -> None:
    generator = torch.Generator().manual_seed(1)
    loadings = torch.randn(3 * 4, 2, generator=generator)
    y = torch.randn(5, 3, 2, 2, generator=generator)
    y[:, :, 0, 1] = torch.nan
    mean, covariance = Components(loadings).posterior(y, 0.7)
    seen = ~y[0].flatten().isnan()
    total = loadings[seen] @ loadings[seen].mT + 0.49 * torch.eye(9)
    gain = loadings[seen].mT @ total.inverse()
    torch.testing.assert_close(mean, y.flatten(1)[:, seen] @ gain.mT, rtol=1e-3, atol=1e-4)
    expected = torch.eye(2) - gain @ loadings[seen]
    torch.testing.assert_close(covariance[0], expected, rtol=1e-3, atol=1e-4)


def _zero(faces: Problem) -> Callable[[slice], torch.Tensor]:
    return lambda part: torch.zeros_like(faces.faces[part])


def _plain(mean: torch.Tensor) -> Reconstruction:
    return Reconstruction(mean, torch.zeros(()))


def test_methods_beat_the_mean_face_and_intervals_cover(faces: Problem, tmp_path: Path) -> None:
    flat = stationary(faces)
    krige, (components, noise) = (
        Krige(faces, _zero(faces), GaussianField(flat.covariance)),
        iterative_pca(faces, 30),
    )
    filled = krige(slice(0, len(faces.faces)))
    begun = kriged_locally(faces, filled, flat.covariance)
    ours = learned(faces, filled, begun, flat.covariance, tmp_path / "moments.pt")
    generator = Krige(faces, _zero(faces), GaussianField(ours.covariance))
    by_pca = components.images(components.scores(faces.y[faces.new], noise), faces.y.shape[1:])
    means = {
        "kriging": krige(faces.new),
        "generator": generator(faces.new),
        "pca": by_pca,
        "mean": torch.zeros_like(by_pca),
    }
    held_out = _plain(krige(faces.validation))
    half = widths(faces, predicted(faces, faces.validation, held_out, held_out))
    found = {}
    for name, mean in means.items():
        made = predicted(faces, faces.new, _plain(mean), held_out)
        found[name] = validated(faces, faces.new, made, half)
    assert found["generator"].mae < 0.8 * found["kriging"].mae
    assert found["kriging"].mae < 0.3 * found["mean"].mae
    assert found["pca"].mae < 0.9 * found["mean"].mae
    # Of 10 faces, a few correlated pixels each: errors of some 5 %.
    for level in (0.5, 0.8, 0.95):
        assert found["kriging"].coverage[f"{level:.0%}"] == pytest.approx(level, abs=0.12)


def test_settings_are_chosen_on_held_out_pixels(faces: Problem, tmp_path: Path) -> None:
    flat = stationary(faces)
    filled = Krige(faces, _zero(faces), GaussianField(flat.covariance))(slice(0, len(faces.faces)))
    chosen = kriged_locally(faces, filled, flat.covariance)
    for each in (flat, chosen):
        called = " ".join(f"{x:g}" for x in each.setting)
        assert each.errors[called] == min(each.errors.values())
        again = Krige(faces, _zero(faces), GaussianField(each.covariance))
        assert again.error == pytest.approx(each.errors[called])
    # Nothing is learned from the faces that settings are chosen on, nor from new ones.
    spoilt = filled.clone()
    spoilt[faces.validation.start :] = torch.nan
    assert kriged_locally(faces, spoilt, flat.covariance).errors == chosen.errors


def test_two_predictions_are_stacked_as_held_out_pixels_say(faces: Problem) -> None:
    truth = (faces.faces - faces.mean) / faces.deviation

    def off(by: float) -> Predict:
        return lambda part: _plain(truth[part] + by)

    made, numbers = stacked(faces, off(0.2), off(-0.3))
    assert torch.allclose(made(faces.new).mean, truth[faces.new], atol=1e-5)
    assert numbers["held-out MAE"]["share 0.4"] == pytest.approx(0, abs=1e-5)
    alone, _ = stacked(faces, off(0.0), off(1.0))
    assert torch.allclose(alone(faces.new).mean, truth[faces.new], atol=1e-5)


def test_half_widths_are_the_quantiles_of_held_out_errors(faces: Problem) -> None:
    part = faces.validation
    off = torch.rand(faces.faces[part].shape, generator=torch.Generator().manual_seed(2))
    made = Reconstruction(faces.faces[part] + 2 * off, torch.full_like(off, 2.0))
    # Ranks of some 700 uniform numbers: four standard errors of .019.
    assert widths(faces, made) == pytest.approx([0.5, 0.8, 0.95], abs=4 * 0.019)


def test_the_masked_bound_rises_with_draws_and_knows_observed_pixels_alone(
    faces: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    components = Components(principal_loadings(faces.y.nan_to_num(), 4, 4))
    vae = MaskedVAE(components.linear(), 4, 16, 4, 1.0, components.projection())
    vae.decoder = torch.nn.Sequential(vae.decoder, torch.nn.Unflatten(1, (3, 16, 16)))
    data = torch.cat([faces.y.nan_to_num(), faces.observed[:, :1]], 1)
    bounds = []
    with torch.no_grad():
        for vae.num_draws in (1, 10, 100):
            torch.manual_seed(0)
            bounds.append(float(torch.stack([vae.loss(data) for _ in range(10)]).mean()))
        assert bounds[0] > bounds[1] > bounds[2]
        # The encoder aside, what is filled in does not matter.
        posterior = vae.posterior(data)
        monkeypatch.setattr(vae, "posterior", lambda _: posterior)
        other = data.clone()
        other[:, :3][~faces.observed] = 9.0
        losses = []
        for each in (data, other):
            torch.manual_seed(1)
            losses.append(float(vae.loss(each)))
    assert losses[0] == losses[1]


def test_new_faces_have_the_covariance_of_places_and_of_colours(faces: Problem) -> None:
    distance = torch.arange(256.0)[:, None] - torch.arange(256.0)
    # Small, so that no pixel leaves its range.
    covariance = 0.01 * (-(distance.abs()) / 20).exp()
    small = faces._replace(mean=torch.zeros(3, 16, 16), deviation=torch.ones(3, 16, 16))
    made = of_field(small, GaussianField(covariance))(4000, 1).flatten(1)
    found = made.mT @ made / len(made)
    expected = torch.kron(colours(faces.y[faces.train]), covariance)
    # A product's standard error is at most sqrt(2) of the variance over the root of 4,000.
    assert (found - expected).abs().max() < 6.5 * 2**0.5 * expected.max() / 4000**0.5


def test_colours_are_those_of_the_observed_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.tensor([[1.0, 0, 0], [0.8, 0.6, 0], [-0.5, 0.5, 0.5**0.5]])
    y = torch.einsum("ij,njhw->nihw", mixing, torch.randn(50, 3, 16, 16, generator=generator))
    hidden = torch.rand(50, 1, 16, 16, generator=generator) < 0.5
    found = colours(y.masked_fill(hidden, torch.nan))
    # 6,400 pixels; five standard errors of a product of standard normal numbers.
    torch.testing.assert_close(found, mixing @ mixing.mT, rtol=0, atol=5 * (2 / 6400) ** 0.5)


def test_decoded_new_faces_are_in_the_units_of_faces(faces: Problem) -> None:
    linear = torch.nn.Linear(2, 768)
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.zeros_(linear.bias)
    mean = faces.mean.clamp(-1, 1).expand(150, -1, -1, -1)
    torch.testing.assert_close(of_decoder(faces, linear, 2)(150, 0), mean)
