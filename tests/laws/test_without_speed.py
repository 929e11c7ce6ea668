"""The laws with the plain evaluator: nothing in inference/speed is needed for anything."""

import pytest

from explainaway.inference import alternating, binding, sampling
from explainaway.inference.potentials.evaluation import PLAIN

from .test_exact_posteriors import *  # noqa: F403
from .test_learning_reaches_factor_analysis import *  # noqa: F403
from .test_learning_reaches_the_optimum import *  # noqa: F403


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (alternating, sampling):
        monkeypatch.setattr(module, "evaluator_for", lambda *_: PLAIN)
    monkeypatch.setattr(binding, "CapturingEvaluator", lambda *_, **__: PLAIN)
