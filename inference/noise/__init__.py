"""Random numbers that belong to an example: ``keyed``, and many steps of them ``ahead``."""
