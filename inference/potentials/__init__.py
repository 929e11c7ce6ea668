"""A Pyro model as the potential energy of each example's latents.

``data`` holds what a model is given, ``trace`` reads the model, ``potential`` is its energy,
``initialization`` where chains start, ``checks`` what must hold before work starts.
"""
