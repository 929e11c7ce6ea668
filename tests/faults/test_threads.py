"""What is made of draws takes turns with other threads, as sampling does."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from explainaway.inference import MALA, Posterior, bind, sample_posterior
from explainaway.inference.potentials.threads import one_at_a_time
from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, mlp

MODEL = GeneratorModel(Normal(2), mlp(2, (4,)), Masked(Gaussian(0.3)))
Y = torch.randn(6, 4).masked_fill(torch.rand(6, 4) < 0.3, torch.nan)


@pytest.fixture(scope="module")
def posterior() -> Posterior:
    return sample_posterior(
        MODEL, Y, kernel=MALA(), warmup_steps=60, num_samples=20, progress=False
    )


CALLS: dict[str, Callable[[Posterior, Path], object]] = {
    "extend": lambda posterior, folder: posterior.extend(3, progress=False),
    "predict": lambda posterior, folder: posterior.predict(2),
    "impute": lambda posterior, folder: posterior.impute(2),
    "to_arviz": lambda posterior, folder: posterior.to_arviz(predictive_draws=1, prior_draws=1),
    "save": lambda posterior, folder: posterior.save(folder / "a.nc", predictive_draws=1),
    "load": lambda posterior, folder: _saved_and_loaded(posterior, folder),
}


def _saved_and_loaded(posterior: Posterior, folder: Path) -> Posterior:
    posterior.save(folder / "b.nc")
    return Posterior.load(folder / "b.nc", bind(MODEL, Y), MALA())


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.filterwarnings("ignore:the draws cannot be trusted")
def test_the_model_is_not_run_while_another_thread_runs_one(
    posterior: Posterior, name: str, tmp_path: Path
) -> None:
    """Who runs the model has to wait for a call that holds it, and gets on when that ends."""
    held, free, done = threading.Event(), threading.Event(), threading.Event()

    @one_at_a_time
    def hold() -> None:
        held.set()
        free.wait(60)

    def call() -> None:
        CALLS[name](posterior, tmp_path)
        done.set()

    threads = [threading.Thread(target=hold), threading.Thread(target=call)]
    threads[0].start()
    assert held.wait(60)
    threads[1].start()
    assert not done.wait(0.5)
    free.set()
    for thread in threads:
        thread.join(60)
    assert done.is_set()


def test_predictions_of_threads_are_those_of_one(posterior: Posterior) -> None:
    alone = [posterior.predict(10, seed=seed) for seed in range(3)]
    found: dict[int, torch.Tensor] = {}

    def work(seed: int) -> None:
        for _ in range(10):
            found[seed] = posterior.predict(10, seed=seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[seed], alone[seed]) for seed in range(3))
