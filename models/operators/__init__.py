"""Linear operators between a signal and its measurements, each with its adjoint."""

__all__: list[str] = []
