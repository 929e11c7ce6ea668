"""What is made of draws takes turns with other threads, as sampling does."""

import copy
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from explainaway.inference import MALA, AlternatingBackProp, Posterior, bind, sample_posterior
from explainaway.inference.potentials.threads import one_at_a_time
from explainaway.inference.potentials.trace import evaluation_mode
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


@contextmanager
def _beside(work: Callable[[], object]) -> Iterator[list[object]]:
    """Do something over and over in another thread; yields what went wrong in it."""
    wrong: list[object] = []
    done = threading.Event()

    def loop() -> None:
        while not done.is_set():
            try:
                if (found := work()) is not None:
                    wrong.append(found)
            except Exception as error:
                wrong.append(error)

    # Threads change places in the midst of a step.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield wrong
    finally:
        done.set()
        thread.join(60)
        sys.setswitchinterval(interval)


def _normalised() -> GeneratorModel:
    torch.manual_seed(0)
    layers = [nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4)]
    return GeneratorModel(Normal(2), nn.Sequential(*layers), Gaussian(0.5))


def test_decoding_meanwhile_does_not_change_what_is_learned() -> None:
    """A layer's mode is everybody's: batch normalisation would learn in that of inference."""
    y, z = torch.randn(60, 4), torch.randn(30, 2)

    def fit(model: GeneratorModel) -> dict[str, Tensor]:
        loop = AlternatingBackProp(model, batch_size=20, capture=False, inference_steps=3)
        loop.fit(y, epochs=4, progress=False)
        return model.state_dict()

    expected = fit(_normalised())
    model = _normalised()

    with _beside(lambda: model.decode(z) is None or None) as wrong:
        found = fit(model)
    assert wrong == []
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_what_is_generated_meanwhile_is_that_of_its_seed() -> None:
    model = copy.deepcopy(MODEL)
    alone = [model.generate(50, seed=seed, noise=True) for seed in range(2)]

    def draw(seed: int) -> str | None:
        same = torch.equal(model.generate(50, seed=seed, noise=True), alone[seed])
        return None if same else "other draws"

    with _beside(lambda: draw(0)) as wrong:
        assert [draw(1) for _ in range(100)] == [None] * 100
    assert wrong == []


def test_energies_of_potentials_in_several_threads_are_their_own() -> None:
    potentials = [bind(MODEL, Y + shift, capture=False) for shift in range(2)]
    z = torch.randn(6, 2)
    alone = [potential(z)[0] for potential in potentials]

    def evaluate(i: int) -> str | None:
        return None if torch.equal(potentials[i](z)[0], alone[i]) else "another energy"

    with _beside(lambda: evaluate(0)) as wrong:
        assert [evaluate(1) for _ in range(100)] == [None] * 100
    assert wrong == []


def test_who_waits_for_its_turn_holds_nobody_off() -> None:
    """Locks are taken in one order: else two threads could wait for each other."""
    held, free, waits = threading.Event(), threading.Event(), threading.Event()

    @one_at_a_time
    def hold() -> None:
        held.set()
        free.wait(60)

    def wait() -> None:
        waits.set()
        with evaluation_mode(MODEL):
            pass

    threads = [threading.Thread(target=hold), threading.Thread(target=wait)]
    threads[0].start()
    assert held.wait(60)
    threads[1].start()
    assert waits.wait(60)
    decodes = threading.Thread(target=lambda: MODEL.decode(torch.zeros(6, 2)), daemon=True)
    threads[1].join(0.2)
    decodes.start()
    decodes.join(30)
    assert not decodes.is_alive()
    assert threads[1].is_alive()
    free.set()
    for thread in threads:
        thread.join(60)
