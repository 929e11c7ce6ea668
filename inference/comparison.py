"""Fits compared by what they predict of held-out cells."""

from collections.abc import Mapping
from typing import Any

import torch

from .runs.fit_record import Fit
from .runs.held_out_score import HeldOutScore


def compare_fits(candidates: Mapping[str, Any]) -> Any:
    """Return a table of candidates by their held-out nats per cell, the best first.

    This is how the width of a network, the dimension of its latents or the scale of the noise is
    chosen: fit the same data with the same seed by each candidate. Cells are compared in pairs, so
    the error of a difference is smaller than those of the two numbers. A difference of less than
    two of its errors says little: take the simpler model.

    Parameters
    ----------
    candidates : mapping
        From a name to a :class:`Fit` that has held cells out, to its :class:`HeldOutScore`, or to
        an array (cells,) of negative log predictive densities in nats, of the same cells for all.

    Returns
    -------
    pandas.DataFrame
        A row for each candidate: ``held_out_nats`` per cell and its ``standard_error``, and the
        ``difference`` to the best with its ``difference_error``. Errors are those over examples;
        of arrays, over cells.

    Raises
    ------
    ValueError
        If there is no candidate, a fit held nothing out, or the held-out cells differ.

    Examples
    --------
    >>> import torch
    >>> from explainaway.inference import AlternatingBackProp, compare_fits
    >>> from explainaway.models import Gaussian, GeneratorModel, Masked, Normal, mlp
    >>> noise = torch.Generator().manual_seed(0)
    >>> y = torch.randn(300, 1, generator=noise) + 0.3 * torch.randn(300, 10, generator=noise)
    >>> y[torch.rand(y.shape, generator=noise) < 0.2] = torch.nan
    >>> fits = {}
    >>> for scale in (0.3, 1.0):
    ...     model = GeneratorModel(Normal(1), mlp(1, 10, hidden=()), Masked(Gaussian(scale)))
    ...     adam = torch.optim.Adam(model.parameters(), lr=0.05)
    ...     abp = AlternatingBackProp(model, optimizer=adam, batch_size=100)
    ...     fits[f"scale {scale}"] = abp.fit(y, epochs=20, progress=False)
    >>> table = compare_fits(fits)
    >>> list(table.index)
    ['scale 0.3', 'scale 1.0']
    """
    import pandas as pd

    if not candidates:
        raise ValueError("candidates must hold at least one fit, got none")
    scores = {name: _score(name, given) for name, given in candidates.items()}
    ordered = sorted(scores.items(), key=lambda item: item[1].per_cell().mean)
    best_name, best = ordered[0]
    rows = []
    for name, score in ordered:
        try:
            difference = score.less(best)
        except ValueError as error:
            raise ValueError(f"candidates {name!r} and {best_name!r}: {error}") from error
        rows.append((*score.per_cell(), difference.mean, difference.error))
    columns = ["held_out_nats", "standard_error", "difference", "difference_error"]
    index = pd.Index([name for name, _ in ordered], name="candidate")
    return pd.DataFrame(rows, index=index, columns=columns)


def _score(name: str, given: Any) -> HeldOutScore:
    if isinstance(given, HeldOutScore):
        return given
    if isinstance(given, Fit):
        if given.held_out is None:
            raise ValueError(
                f"candidate {name!r} must have held cells out, got a fit that has not: give it "
                "fit(..., hold_out=0.05)"
            )
        return given.held_out
    nats = torch.as_tensor(given, dtype=torch.float64)
    if nats.dim() != 1 or len(nats) == 0 or not bool(nats.isfinite().all()):
        raise ValueError(
            f"candidate {name!r} must be a fit, its held_out or a finite array (cells,), got "
            f"shape {tuple(nats.shape)}"
        )
    return HeldOutScore(nats, torch.ones_like(nats), torch.arange(len(nats)))
