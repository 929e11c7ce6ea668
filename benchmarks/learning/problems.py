"""All problems, by name, in the order of the table."""

from collections.abc import Callable
from typing import Any

from . import held_out_problems, latent_problems, linear_problems
from .held_out import HeldOut
from .known import KnownMaximum


def _by_name(*makers: Callable[[], Any]) -> dict[str, Callable[[], Any]]:
    return {make.__name__: make for make in makers}


KNOWN: dict[str, Callable[[], KnownMaximum]] = _by_name(
    linear_problems.ppca,
    linear_problems.factor_analysis,
    linear_problems.small_noise,
    linear_problems.diabetes_linear,
    linear_problems.var,
    latent_problems.random_intercepts,
    latent_problems.poisson_lognormal,
    latent_problems.two_pl,
    latent_problems.beta_binomial,
)
"""Those whose maximum is known."""

HELD_OUT: dict[str, Callable[[], HeldOut]] = _by_name(
    held_out_problems.diabetes_cells,
    held_out_problems.diabetes_mlp,
    held_out_problems.digits_masked,
    held_out_problems.digits_learned_scale,
    held_out_problems.faces_hole,
    held_out_problems.var_mlp,
    held_out_problems.coloured,
)
"""Those that are judged by hidden cells and by what they generate."""
