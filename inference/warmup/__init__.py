"""What is adapted before draws are kept, for each example by itself.

``windows`` is the plan, ``step_size``, ``mass`` and the ``ladder`` of temperatures are what adapts.
"""
