"""Evaluating energies fast. Everything works without this folder; the door is in one line.

``Potential(..., evaluator=CapturingEvaluator(model))`` evaluates by graphs that ``tracing`` makes
and checks: ``graph`` runs the model once under torch's tracer and splits what it did, ``simplify``,
``layers``, ``products``, ``im2col`` and ``deconvolution`` rewrite it, ``compilation`` compiles it,
``choices`` keeps what a clock has decided. With ``PlainEvaluator`` the model itself is run, and the
numbers are the same.
"""

from .choices import Choices
from .chosen import Chosen, evaluator_for
from .compilation import CompilationWarning, is_compiling
from .compile_choice import Compile, CompileChoice, check_compile
from .evaluator import CaptureWarning, CapturingEvaluator
from .precision import Precision, check_precision

__all__ = [
    "CaptureWarning",
    "CapturingEvaluator",
    "Choices",
    "Chosen",
    "CompilationWarning",
    "Compile",
    "CompileChoice",
    "Precision",
    "check_compile",
    "check_precision",
    "evaluator_for",
    "is_compiling",
]
