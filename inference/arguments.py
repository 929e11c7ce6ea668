"""Checks of what a caller gives."""


def check_positive(name: str, value: int) -> None:
    """Raise ValueError unless an argument is a positive integer."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
