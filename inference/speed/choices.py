"""What was chosen by a clock, in one place, so that a resumed run goes on with it."""

from collections.abc import Callable, Mapping


class Choices:
    """Answers to "which is faster here?" by name, each measured once.

    Two answers to one question are two roundings: a run that is killed and resumed ends with the
    same bits only if it keeps those that it began with, so they are written into its checkpoint.

    Parameters
    ----------
    made : mapping, optional
        What an earlier part of the run has chosen.
    """

    def __init__(self, made: Mapping[str, bool | str] | None = None) -> None:
        self.made: dict[str, bool | str] = dict(made or {})

    def choose(self, name: str, measure: Callable[[], bool]) -> bool:
        """Return what was chosen under a name, or measure it now."""
        if name not in self.made:
            self.made[name] = measure()
        return bool(self.made[name])

    def update(self, made: Mapping[str, bool | str]) -> None:
        """Take over what an earlier part of the run has chosen."""
        self.made.update(made)
