"""Generator networks learned by explaining away.

``explainaway.models`` holds what is believed (priors, networks, observations: Pyro models),
``explainaway.inference`` how it is learned (per-example kernels, the learning loop, posteriors).
"""

from importlib.metadata import version

__version__ = version("explainaway")
