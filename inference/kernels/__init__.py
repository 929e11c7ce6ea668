"""What moves chains: each kernel is ``init`` and ``step``, a file of its own.

``base`` says what a kernel is; ``mala`` is the one to copy. ``integrators`` is the leapfrog,
``trajectories`` many of different length in one batch, ``scale`` what a mass does to a step.
"""
