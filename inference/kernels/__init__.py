"""What moves chains: each kernel is ``init`` and ``step``, a file of its own.

``base`` says all that is asked of a kernel, ``capabilities`` what holds of one that says no more;
``mala`` is the one to copy. ``acceptance`` is what becomes of a proposal, ``starts`` whether chains
can start where they are, ``integrators`` the leapfrog, ``trajectories`` many of different length in
one batch, ``scale`` what a mass does to a step.

Here is what a file with a new kernel needs (``docs/own_kernel.md``).
"""

from ..noise.keyed import Generator, standard_normal, uniform
from .acceptance import choose, metropolis, undo_divergence
from .base import Info, Kernel, StepSize, check_settings, full_step_size
from .scale import Mass, check_mass, scaled, scaled_back, unit_scale

__all__ = [
    "Generator",
    "Info",
    "Kernel",
    "Mass",
    "StepSize",
    "check_mass",
    "check_settings",
    "choose",
    "full_step_size",
    "metropolis",
    "scaled",
    "scaled_back",
    "standard_normal",
    "undo_divergence",
    "uniform",
    "unit_scale",
]
