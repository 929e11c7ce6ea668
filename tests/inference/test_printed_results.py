"""What results look like when they are printed, and as data frames."""

import math

import torch

from explainaway.inference import AlternatingBackProp, Fit, Posterior, sample_posterior
from explainaway.models import Bernoulli, Columns, Gaussian, GeneratorModel, Masked, Normal, mlp

MOST_LINES = 10
Y = torch.where(torch.rand(30, 6, generator=torch.Generator().manual_seed(0)) < 0.3, math.nan, 0.5)


def _model() -> GeneratorModel:
    return GeneratorModel(Normal(2), mlp(2, (6,)), Masked(Gaussian(0.3, torch.tanh)))


def _posterior() -> Posterior:
    return sample_posterior(_model(), Y, warmup_steps=40, num_samples=8, progress=False)


def _fit() -> Fit:
    return AlternatingBackProp(_model(), batch_size=10).fit(Y, epochs=3, progress=False)


def _is_short(text: str) -> bool:
    return len(text.splitlines()) <= MOST_LINES and max(map(len, text.splitlines())) <= 250


def test_printed_results_are_short_and_say_their_sizes() -> None:
    """A posterior printed 67,000 characters."""
    posterior, fit = _posterior(), _fit()
    for result, expected in (
        (posterior, ["30 examples", "4 chains of 8 draws", "z (2,)", "y: (30, 6)"]),
        (posterior.summary(), ["30 examples, 2 latent components", "4 chains of 8 draws"]),
        (fit, ["3 epochs", "(30, 2)", "loss"]),
        (
            _model(),
            ["Normal of latents (2,)", "scale=0.3", "inverse_link=tanh", "Masked(Gaussian("],
        ),
    ):
        text = repr(result)
        assert _is_short(text)
        assert all(part in text for part in expected), text
        assert result._repr_html_().startswith("<pre>")


def test_models_of_tables_and_of_learned_scales_print_too() -> None:
    table = Columns({f"c{i}": Bernoulli() if i % 2 else Gaussian() for i in range(50)})
    text = repr(GeneratorModel(Normal(2), mlp(2, table.output_shape((50,))), Masked(table)))
    assert _is_short(text)
    assert "Masked(Columns(Gaussian, Bernoulli, Gaussian, Bernoulli, and 46 more))" in text
    scales = Gaussian(torch.tensor([0.1, 0.2]), learn_scale=True)
    assert "Gaussian(scale=0.1 to 0.2)" in repr(GeneratorModel(Normal(2), mlp(2, (2,)), scales))
    text = repr(GeneratorModel(Normal(2), mlp(2, (2,)), scales).to("meta"))
    assert "Gaussian(scale=of shape (2,))" in text


def test_history_and_diagnostics_are_data_frames() -> None:
    fit = _fit()
    frame = fit.to_frame()
    assert list(frame.index) == [1, 2, 3]
    assert frame.loc[3, "loss"] == fit.history["loss"][-1]
    summary = _posterior().summary()
    frame = summary.to_frame()
    assert frame.shape == (30 * 3, 3)
    assert frame.loc[(4, 1), "rhat"] == summary.rhat[4, 1]
    assert frame.loc[(4, "lp"), "ess"] == summary.ess_lp[4]
    assert frame.groupby("example")["num_diverging"].first().sum() == summary.num_diverging.sum()
