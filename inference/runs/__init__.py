"""Long work and what it keeps in files.

A fit is a ``fit_run`` on its way through ``epochs``; an iteration is a ``visit`` to ``chains`` and
a step of the ``learner``. A posterior is a ``plan`` on its way through ``chunks``; each is a
``chunk_run`` and leaves an ``outcome``. The ``driver`` carries both to their end.
"""
