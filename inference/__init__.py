"""How a model is learned and its latents are sampled: any Pyro model with an example plate.

Reading order: :class:`AlternatingBackProp` learns, :func:`sample_posterior` samples, the kernels
move chains, :func:`bind` makes the potential energy they see.
"""

from .alternating import AlternatingBackProp
from .binding import bind
from .comparison import compare_fits
from .diagnostics.convergence import nested_rhat
from .diagnostics.summary import Summary, summarise
from .diagnostics.verdict import SamplingWarning
from .kernels.base import Info, Kernel
from .kernels.gauss_newton import GaussNewton
from .kernels.gradient_descent import GradientDescent
from .kernels.hmc import HMC
from .kernels.langevin import Langevin
from .kernels.mala import MALA
from .kernels.riemannian import RiemannianMALA
from .kernels.starts import NonFiniteStartError
from .kernels.tempering import ParallelTempering
from .noise.keyed import KeyedGenerator, KeyedSource
from .posterior import Posterior
from .potentials.potential import Potential
from .pyro_kernel import PyroKernel
from .relative_adam import RelativeAdam
from .runs.fit_record import Fit, StepRecord
from .runs.held_out_score import HeldOutScore
from .runs.horizon import LearningWarning
from .runs.stopping import NoProgress
from .sampling import sample_posterior
from .speed import CaptureWarning, CompilationWarning

__all__ = [
    "HMC",
    "MALA",
    "AlternatingBackProp",
    "CaptureWarning",
    "CompilationWarning",
    "Fit",
    "GaussNewton",
    "GradientDescent",
    "HeldOutScore",
    "Info",
    "Kernel",
    "KeyedGenerator",
    "KeyedSource",
    "Langevin",
    "LearningWarning",
    "NoProgress",
    "NonFiniteStartError",
    "ParallelTempering",
    "Posterior",
    "Potential",
    "PyroKernel",
    "RelativeAdam",
    "RiemannianMALA",
    "SamplingWarning",
    "StepRecord",
    "Summary",
    "bind",
    "compare_fits",
    "nested_rhat",
    "sample_posterior",
    "summarise",
]
