import numpy as np
import pytest
import torch

from explainaway.tables import GeneratorImputer
from explainaway.tables.calibration import calibrate
from explainaway.tables.frames import as_frame


@pytest.mark.parametrize("wrong", [0.4, 1.0, 1.8])
def test_a_wrong_scale_is_put_right_by_rows_that_were_left_out(wrong: float) -> None:
    """One latent in five columns with noise of .5: what is right is known in closed form.

    Some 190 hidden cells: the scale is known to 6 %, and is pulled towards where it was by a
    prior of a factor of 1.6. Latents are drawn under the wrong scale, which moves it a little.
    """
    noise = np.random.default_rng(0)
    y = noise.normal(size=(150, 1)) + 0.5 * noise.normal(size=(150, 5))
    fitted = GeneratorImputer(latent_dim=1, epochs=1, random_state=0).fit(y).fitted_
    model, table = fitted.models[0], fitted.table
    gaussian = model.observation.base.kinds[0]
    size = np.sqrt(1.25)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.zero_()
        model.network.linear[0].weight.fill_(1 / size)
        gaussian.log_scale.fill_(np.log(wrong * 0.5 / size))
    rows = table.rows(*table.read(as_frame(y)))
    factor = calibrate(model, table.layout, rows, np.arange(150), seed=0)
    assert factor * wrong == pytest.approx(1, rel=0.2)
    assert gaussian.scale[0].item() == pytest.approx(factor * wrong * 0.5 / size, rel=1e-5)
