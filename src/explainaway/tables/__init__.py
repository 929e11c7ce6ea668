"""Tables with missing cells: one joint model of columns of every kind, learned and drawn from."""

from .imputer import GeneratorImputer, Intervals
from .pool import pool

__all__ = ["GeneratorImputer", "Intervals", "pool"]
