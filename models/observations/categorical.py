"""Unordered categories."""

from collections.abc import Sequence

import pyro.distributions as dist
from torch import Tensor

from ..distributions.cells import Cells
from ..distributions.levels import Levels
from ..pieces import Entry
from .base import Context, Observation
from .level_checks import check_num_levels, check_outputs


class Categorical(Observation):
    """Independent choices among K categories, ``y ~ Categorical(softmax(output))`` in each cell.

    y holds the category's number, 0 to K - 1. The network gives K outputs a cell, their logits, in
    its last dimension; multinomial logistic regression.

    Parameters
    ----------
    num_categories : int
        K, at least 2.

    Raises
    ------
    ValueError
        If ``num_categories`` is not an integer of at least 2.

    Examples
    --------
    >>> from explainaway.models import Categorical, GeneratorModel, Normal, mlp
    >>> colour = Categorical(3)
    >>> colour.output_shape((5,))
    (5, 3)
    >>> model = GeneratorModel(Normal(2), mlp(2, colour.output_shape((5,))), colour)
    >>> model.generate(4, seed=0).shape
    torch.Size([4, 5])
    """

    entry = Entry(
        "y ~ Categorical(softmax(output)), K outputs a cell",
        "McFadden (1974)",
        "Categorical(4)",
    )

    estimates_mean = False

    def __init__(self, num_categories: int) -> None:
        super().__init__()
        check_num_levels("num_categories", num_categories)
        self.num_categories = num_categories

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return (..., K)."""
        return (*shape, self.num_categories)

    def distribution(
        self, output: Tensor, *, mask: Tensor | None = None, context: Context | None = None
    ) -> dist.TorchDistribution:
        """Return independent categorical distributions with the output as logits.

        Raises
        ------
        ValueError
            If the output's last dimension is not K.
        """
        check_outputs(self, output, self.num_categories)
        return Cells(Levels(logits=output), mask)

    def signal(self, output: Tensor, context: Context | None = None) -> Tensor:
        """Return the probabilities of the categories, (n, ..., K)."""
        return output.softmax(-1)

    def reconstruct(self, output: Tensor, context: Context | None = None) -> Tensor:
        """Return the most probable category, (n, ...)."""
        return output.argmax(-1).to(output.dtype)
