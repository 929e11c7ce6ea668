"""How a table's model is learned: settings for some hundreds of rows."""

import math
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from ..inference import MALA, AlternatingBackProp, LearningWarning
from ..models import GeneratorModel
from .table_model import LinearPlusMLP

NOT_IN_THESE_ROWS = ".*are observed in no example"
"""A column of which all cells are hidden while the models are compared."""

INFERENCE_STEPS = 6

RATE = 1e-2
"""Of AdamW. As it falls to zero, a logarithm moves by half of it an epoch in the mean: within the
epochs the scales of the noise cannot collapse."""

STRONGEST = 0.5 / RATE
"""Decay of weights by half in a step: in very wide tables it would be by more than they are."""


@dataclass(frozen=True)
class Learning:
    """Settings of a fit.

    Attributes
    ----------
    epochs : int
        Passes through the rows, all of them one batch.
    decay : float
        Of the matrices of the network's curved part, times columns over rows: the fewer rows, the
        more nearly linear.
    progress : bool
        Whether to show a progress bar.
    """

    epochs: int
    decay: float
    progress: bool = False

    def learn(
        self,
        model: GeneratorModel,
        y: Tensor,
        context: dict[str, Tensor] | None,
        num_columns: int,
        seed: int,
        start: Tensor | None = None,
    ) -> Tensor:
        """Fit the model to a table (n, columns of the model), NaN where hidden.

        Parameters
        ----------
        start : Tensor, (n, d), optional
            Latents of the rows, of a model that was learned before; else they start from noise.

        Returns
        -------
        Tensor, (n, d)
            A draw of the rows' latents.
        """
        decay = min(self.decay * num_columns / len(y), STRONGEST)
        assert isinstance(model.network, LinearPlusMLP)
        curved = {id(p) for p in model.network.curved.parameters() if p.dim() > 1}

        def optimizer(parameters: list[Tensor]) -> torch.optim.Optimizer:
            groups = [
                {"params": [p for p in parameters if id(p) in curved], "weight_decay": decay},
                {"params": [p for p in parameters if id(p) not in curved], "weight_decay": 0.0},
            ]
            return torch.optim.AdamW([g for g in groups if g["params"]], lr=RATE)

        def falls(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
            def share(epoch: int) -> float:
                return 0.5 * (1 + math.cos(math.pi * epoch / self.epochs))

            return torch.optim.lr_scheduler.LambdaLR(optimizer, share)

        loop = AlternatingBackProp(
            model,
            MALA(),
            inference_steps=INFERENCE_STEPS,
            optimizer=optimizer,
            scheduler=falls,
            batch_size=len(y),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LearningWarning)
            warnings.filterwarnings("ignore", NOT_IN_THESE_ROWS)
            fit = loop.fit(
                y,
                context=context,
                latents=start,
                epochs=self.epochs,
                seed=seed,
                progress=self.progress,
                hold_out=None,
                posterior_means=False,
            )
        model.network.measure_slope()
        latents: Tensor = fit.latents
        return latents.reshape(len(y), -1)
