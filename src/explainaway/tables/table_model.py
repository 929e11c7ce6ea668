"""The generator model of a table: its columns' observations under one latent for each row."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..models import Columns, GeneratorModel, Masked, Normal, linear, mlp
from ..models.observations.table_layout import Kind
from .column_models import ColumnModel, Part

CURVATURE = 0.1
"""Share of its usual size with which the non-linear part of the network begins."""

REFERENCES = 256
"""Draws of the latents over which slopes are averaged."""


class LinearPlusMLP(nn.Module):
    """``z -> W z + b + mlp(z)``: what is linear need not be learned by the layers.

    Parameters
    ----------
    latent_dim : int
        Number of latent components d.
    bias : Tensor, (outputs,)
        Where b starts.
    bends : bool Tensor, (outputs,)
        Which outputs have a non-linear part.
    hidden : sequence of int
        Width of each hidden layer.
    """

    bends: Tensor
    curve_slope: Tensor

    def __init__(self, latent_dim: int, bias: Tensor, bends: Tensor, hidden: Sequence[int]) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.register_buffer("bends", bends.to(torch.get_default_dtype()))
        self.linear = linear(latent_dim, len(bias))
        self.curved = mlp(latent_dim, len(bias), hidden, nn.GELU)
        last = self.curved[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            self._straight.bias.copy_(bias)
            last.weight.mul_(CURVATURE)
            last.bias.zero_()
        self.register_buffer("curve_slope", torch.zeros(len(bias), latent_dim))

    def forward(self, z: Tensor) -> Tensor:
        """Return the outputs, (n, outputs)."""
        outputs: Tensor = self.linear(z) + self.curve(z)
        return outputs

    def curve(self, z: Tensor) -> Tensor:
        """Return what is not linear, (n, outputs)."""
        curve: Tensor = self.bends * self.curved(z)
        return curve

    @property
    def mean_slope(self) -> Tensor:
        """Derivative of the outputs over draws of N(0, I) in the mean, (outputs, d)."""
        return (self._straight.weight + self.curve_slope).detach()

    def measure_slope(self) -> None:
        """Average the slope of the curve over fixed draws of N(0, I)."""
        noise = torch.Generator().manual_seed(0)
        z = torch.randn(REFERENCES, self.latent_dim, generator=noise).to(self._straight.weight)
        z.requires_grad_()
        means = self.curve(z).mean(0)
        slopes = [torch.autograd.grad(mean, z, retain_graph=True)[0].sum(0) for mean in means]
        self.curve_slope = torch.stack(slopes)

    @property
    def _straight(self) -> nn.Linear:
        straight = self.linear[-1]
        assert isinstance(straight, nn.Linear)
        return straight


class Layout:
    """Which of the model's columns stand for which of a table's, and what they are.

    Columns of one kind lie side by side as one group, which is evaluated at once.

    Parameters
    ----------
    names : sequence
        Of the table's columns.
    models : sequence of ColumnModel
        One for each of them.

    Attributes
    ----------
    width : int
        Number of the model's columns.
    places : list of list of int
        Those of each column of the table.
    observation : Columns or None
        Of a row; None where every column is constant.
    bias, bends : Tensor, (outputs,)
        Where the network's outputs start, and which of them have a non-linear part.
    """

    def __init__(self, names: Sequence[Any], models: Sequence[ColumnModel]) -> None:
        groups: dict[Any, list[tuple[int, int, Part]]] = {}
        for column, model in enumerate(models):
            for place, part in enumerate(model.parts):
                key = part.shared_by or (column, place)
                groups.setdefault(key, []).append((column, place, part))
        self.width = sum(map(len, groups.values()))
        self.places = [[0] * len(model.parts) for model in models]
        columns: dict[str | tuple[str, ...], Kind] = {}
        biases: list[float] = []
        bends: list[bool] = []
        counter, taken = 0, set[str]()
        for members in groups.values():
            labels = []
            for column, place, part in members:
                self.places[column][place] = counter
                counter += 1
                label = f"{names[column]}" + ("" if place == 0 else f" ({place})")
                while label in taken:
                    label += "'"
                taken.add(label)
                labels.append(label)
                biases += part.bias
                # Beyond a limit nothing but the likelihood of lying there holds a curve: it would
                # run away, and take the cells with it. A linear part goes on as it is seen.
                bends += [not models[column].is_limited] * len(part.bias)
            columns[tuple(labels)] = members[0][2].observation
        self.observation = Columns(columns) if columns else None
        self.bias = torch.tensor(biases, dtype=torch.get_default_dtype())
        self.bends = torch.tensor(bends)


def table_model(
    layout: Layout, latent_dim: int, hidden: Sequence[int], seed: int
) -> GeneratorModel:
    """Return the model, its weights drawn with a seed; torch's random state is left as it was."""
    assert layout.observation is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = LinearPlusMLP(latent_dim, layout.bias, layout.bends, hidden)
    # A copy: observations are learned too, and a table may be learned anew.
    observation = Masked(copy.deepcopy(layout.observation))
    return GeneratorModel(Normal(latent_dim), network, observation)
