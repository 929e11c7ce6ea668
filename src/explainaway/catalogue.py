"""The catalogue of pieces, read from the pieces themselves.

``python -m explainaway.catalogue`` prints it as Markdown.
"""

from typing import Any, NamedTuple

import torch

from . import models
from .models.distributions.supports import elementwise
from .models.pieces import Entry


class Piece(NamedTuple):
    """A class of the catalogue.

    Attributes
    ----------
    kind : str
        ``observations``, ``priors`` or ``operators``: where in ``models`` it is found.
    name : str
        Of the class.
    entry : Entry
        Its own line.
    """

    kind: str
    name: str
    entry: Entry

    def make(self) -> Any:
        """Return the piece that its entry's example makes."""
        names = {name: getattr(models, name) for name in models.__all__}
        return eval(self.entry.example, {"torch": torch, **names})

    @property
    def constraint(self) -> str:
        """What values it allows, from the distribution that the example makes."""
        if self.kind == "operators":
            return ""
        piece = self.make()
        if self.kind == "priors":
            return str(elementwise(piece.distribution().support))
        output = torch.zeros(1, *piece.output_shape(self.entry.shape))
        return str(elementwise(piece.distribution(output).support))


def catalogue() -> list[Piece]:
    """Return every prior, observation and operator that has an entry, in reading order."""
    pieces = []
    for kind in ("observations", "priors", "operators"):
        module: Any = getattr(models, kind)
        for name in module.__all__:
            entry = getattr(getattr(module, name), "entry", None)
            if isinstance(entry, Entry):
                pieces.append(Piece(kind, name, entry))
    return pieces


def markdown() -> str:
    """Return the catalogue as Markdown, a table for each kind."""
    lines = ["# Catalogue", "", "Made from the code by `python -m explainaway.catalogue`.", ""]
    kind = ""
    for piece in catalogue():
        if piece.kind != kind:
            kind = piece.kind
            lines += [
                "",
                f"## {kind.capitalize()}",
                "",
                "| piece | formula | values | source | example |",
                "|---|---|---|---|---|",
            ]
        entry = piece.entry
        cells = [piece.name, entry.distribution, piece.constraint, entry.source]
        cells = [cell.replace("|", "\\|") for cell in cells]
        lines.append(f"| {' | '.join(cells)} | `{entry.example}` |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
