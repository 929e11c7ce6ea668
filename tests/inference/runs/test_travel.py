"""Whether θ is still on its way, where the loss is known: a quadratic with noisy gradients."""

import copy
import math

import pytest
import torch
from torch import Tensor

from explainaway.inference.runs.horizon import Horizon
from explainaway.inference.runs.travel import Travel

CURVATURE = torch.logspace(-2, 1, 20, dtype=torch.float64)


def _descended(
    start: Tensor, epochs: int, rate: float, noise: float, seed: int = 0
) -> tuple[Travel, Tensor]:
    """Return gradient descent's way with noise of this size in each gradient, ten an epoch."""
    generator = torch.Generator().manual_seed(seed)
    travel, theta = Travel(), start.clone()
    for _ in range(epochs):
        for _ in range(10):
            draws = torch.randn(20, generator=generator, dtype=torch.float64)
            gradient = CURVATURE * theta + noise * draws
            travel.add([gradient], 100)
            theta = theta - rate * gradient
        travel.end_epoch([theta], True)
    return travel, theta


def test_the_gain_is_what_the_loss_falls_by_on_the_way() -> None:
    """Without noise, along one slow direction: at constant speed it is the slope's loss."""
    start = torch.zeros(20, dtype=torch.float64)
    start[0] = 100.0
    epochs = 60
    travel, theta = _descended(start, epochs, 1e-3, 0.0)
    gain = travel.gain()
    assert gain is not None
    assert gain.is_seen
    _, later = _descended(theta, epochs, 1e-3, 0.0)
    fallen = float(0.5 * (CURVATURE * (theta**2 - later**2)).sum())
    # It moves by half a percent in the meantime.
    assert gain.nats == pytest.approx(fallen, rel=0.02)


def test_noise_alone_is_no_gain() -> None:
    """Of 200 runs around the optimum few more are seen than by chance, though θ wanders."""
    ratios = []
    for seed in range(200):
        travel, _ = _descended(torch.zeros(20, dtype=torch.float64), 62, 0.05, 1.0, seed)
        gain = travel.gain()
        assert gain is not None
        ratios.append(gain.nats / gain.error)
    # The later half of a window of 21 epochs has eleven: Student's t with ten degrees of freedom.
    beyond = sum(ratio > 2.228 for ratio in ratios) / len(ratios)
    assert beyond <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / 200)
    assert abs(sum(ratios) / len(ratios)) < 3 * math.sqrt(10 / 8 / 200)


def test_it_goes_on_from_its_state() -> None:
    whole, theta = _descended(torch.ones(20, dtype=torch.float64), 20, 0.05, 1.0)
    other = Travel()
    other.take_back(copy.deepcopy(whole.to_dict()), torch.device("cpu"))
    for travel in (whole, other):
        for _ in range(30):
            travel.add([CURVATURE * theta], 10)
            travel.end_epoch([theta], True)
    assert whole.gain() == other.gain()
    assert whole.quiet == other.quiet


def test_a_complex_parameter_is_its_two_parts() -> None:
    """A torch.dot of complex numbers multiplies as complex ones, and has an imaginary part.

    In double precision: processors differ in how they round products of complex numbers.
    """
    complex_travel, real_travel = Travel(), Travel()
    noise = torch.Generator().manual_seed(0)
    for _ in range(30):
        theta, gradient = torch.randn(2, 4, 2, generator=noise, dtype=torch.float64)
        complex_travel.add([torch.view_as_complex(gradient)], 1)
        complex_travel.end_epoch([torch.view_as_complex(theta)], True)
        real_travel.add([gradient], 1)
        real_travel.end_epoch([theta], True)
    assert real_travel.gain() is not None
    assert complex_travel.gain() == pytest.approx(real_travel.gain())


def test_parameters_that_are_set_free_begin_anew() -> None:
    travel = Travel()
    one, two = torch.zeros(3), torch.ones(2)
    for epoch in range(40):
        theta = [one] if epoch < 10 else [one, two]
        travel.add(theta, 5)
        travel.end_epoch(theta, True)
    assert len(travel.way) == 2


def test_the_rate_falls_with_the_root_of_time_and_then_to_zero() -> None:
    horizon = Horizon(100)
    assert horizon.before_fall == 60
    rates = [horizon.rate(time) for time in (0, 60, 80, 99.5)]
    assert rates == pytest.approx([1.0, 0.5, 0.25, 0.00625])
    assert Horizon().rate(140.0) == pytest.approx(8**-0.5)


def test_the_end_is_found_when_nothing_is_gained_any_more() -> None:
    travel = Travel()
    travel.quiet = 3
    assert Horizon().after(10, travel) == Horizon()
    assert Horizon().after(30, travel) == Horizon(70, 30)
    travel.quiet = 0
    assert Horizon().after(599, travel) == Horizon()
    assert Horizon().after(600, travel) == Horizon(1000, 600)
    assert Horizon(70).after(42, travel) == Horizon(70)


def test_held_out_cells_bring_the_end_nearer_and_never_farther() -> None:
    assert Horizon().after(8, Travel(), overfits=True) == Horizon(48, 8, True)
    assert Horizon(300).after(90, Travel(), overfits=True) == Horizon(150, 90, True)
    assert Horizon(100).after(50, Travel(), overfits=True) == Horizon(90, 50, True)
    assert Horizon(60).after(30, Travel(), overfits=True) == Horizon(60, 30, True)
    assert Horizon(100).after(70, Travel(), overfits=True) == Horizon(100)
    # A gain that held-out cells do not see ends a run whose end is to be found, no other.
    assert Horizon().after(60, Travel(), gains_nothing=True) == Horizon(100, 60, True)
    assert Horizon(100).after(50, Travel(), gains_nothing=True) == Horizon(100)
    assert Horizon(48, 8).rate(28.0) == pytest.approx(0.5 * 1.4**-0.5)
