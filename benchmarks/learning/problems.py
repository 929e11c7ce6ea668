"""All problems, by name, in the order of the table."""

from collections.abc import Callable

from . import held_out_problems, latent_problems, linear_problems
from .held_out import HeldOut
from .known import KnownMaximum

KNOWN: dict[str, Callable[[], KnownMaximum]] = {
    make.__name__: make
    for make in (
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
}
"""Those whose maximum is known."""

HELD_OUT: dict[str, Callable[[], HeldOut]] = {
    make.__name__: make
    for make in (
        held_out_problems.diabetes_mlp,
        held_out_problems.digits_masked,
        held_out_problems.digits_learned_scale,
        held_out_problems.faces_hole,
        held_out_problems.var_mlp,
        held_out_problems.coloured,
    )
}
"""Those that are judged by hidden cells and by what they generate."""
