"""How a model is learned and its latents are sampled: any Pyro model with an example plate.

Reading order: :class:`AlternatingBackProp` learns, :func:`sample_posterior` samples, the kernels
move chains, :func:`bind` makes the potential energy they see.
"""

from .alternating import AlternatingBackProp
from .capture import CaptureWarning
from .compilation import CompilationWarning
from .convergence import nested_rhat
from .diagnostics import Summary, summarise
from .fit_run import Fit, StepRecord
from .gauss_newton import GaussNewton
from .gradient_descent import GradientDescent
from .hmc import HMC
from .kernel import Info, Kernel, NonFiniteStartError
from .langevin import Langevin
from .mala import MALA
from .noise import KeyedGenerator, KeyedSource
from .posterior import Posterior
from .potential import Potential, bind
from .pyro_kernel import PyroKernel
from .riemannian import RiemannianMALA
from .sampling import SamplingWarning, sample_posterior
from .stopping import NoProgress
from .tempering import ParallelTempering

__all__ = [
    "HMC",
    "MALA",
    "AlternatingBackProp",
    "CaptureWarning",
    "CompilationWarning",
    "Fit",
    "GaussNewton",
    "GradientDescent",
    "Info",
    "Kernel",
    "KeyedGenerator",
    "KeyedSource",
    "Langevin",
    "NoProgress",
    "NonFiniteStartError",
    "ParallelTempering",
    "Posterior",
    "Potential",
    "PyroKernel",
    "RiemannianMALA",
    "SamplingWarning",
    "StepRecord",
    "Summary",
    "bind",
    "nested_rhat",
    "sample_posterior",
    "summarise",
]
