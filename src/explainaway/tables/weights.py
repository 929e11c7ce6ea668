"""Draws of a table's weights and noise scales from their posterior, by Gibbs sampling."""

import copy
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..models import Gaussian, GeneratorModel
from ..models.observations.location_scale import LocationScale
from ..models.observations.table_layout import Group
from .densities import cells_seen, column_log_densities, column_of_output, columns_of
from .row_chains import RowChains, unwhitened
from .table_model import LinearPlusMLP

WARMUP = 2 / 3
BETWEEN = 1 / 30
"""Sweeps before the first draw, and from one to the next, as shares of the epochs."""

ROW_STEPS = 2

SCALE_SHAPE, SCALE_RATE = 1.0, 0.05
"""Inverse-gamma prior of noise variances, in variances of the column: some tenth of a cell keeps
them from zero, a hundred cells may bring the scale down to .03."""

SPREAD_SHAPE = 1.0
"""Of the inverse-gamma priors of the weights' variances, which are learned."""

BIAS_PRECISION = 0.01

LOGISTIC = 1.8
"""The spread of logistic noise: outputs that are logits are so many times larger."""

TARGET_ACCEPTANCE = 0.6
WALK_ACCEPTANCE = 0.4
LEAST_INFORMATION = 0.02

OWN_SPREAD = 3.0
"""Of the normal prior of what else an observation learns, such as logarithms of gaps of grades."""


class Posterior(NamedTuple):
    """Draws of a model's weights.

    Attributes
    ----------
    models : list of GeneratorModel
        With the drawn weights.
    information : list of Tensor, (outputs,)
        Fisher information of a cell on each output, for each of them.
    """

    models: list[GeneratorModel]
    information: list[Tensor]


@dataclass(frozen=True)
class WeightDraws:
    """Settings of the draws of a linear model's weights.

    Attributes
    ----------
    epochs : int
        Of the learning that they stand beside: sweeps are as many for all draws together, and two
        thirds as many before the first.
    number : int
        How many draws.
    progress : bool
        Whether to show a progress bar.
    """

    epochs: int
    number: int
    progress: bool = False

    def draw(
        self, model: GeneratorModel, y: Tensor, context: dict[str, Tensor] | None, seed: int
    ) -> Posterior:
        """Return draws of a linear model's weights and noise given the table.

        The latents of all rows, the weights and the noise scales are drawn in turn. Weights of
        columns with Gaussian noise and their scales are conjugate, those of other columns move by
        preconditioned Langevin steps. A weight of latent k has the prior variance ``τ_k²``, which
        is learned with it, so that latents that the table has no use for are switched off.

        Parameters
        ----------
        model : GeneratorModel
            Whose network has no curved part; it is left as it is.
        y : Tensor, (n, columns of the model)
            The table, NaN where hidden.
        context : dict of Tensor, optional
            Its limits.
        seed : int
            Of the noise.

        References
        ----------
        Geweke & Zhou, "Measuring the pricing error of the arbitrage pricing theory" (1996), for the
        Gibbs sampler of factor analysis; Rubin, "Multiple Imputation for Nonresponse in Surveys"
        (1987), for why imputations have to draw parameters too.
        """
        assert isinstance(model.network, LinearPlusMLP)
        latents = torch.zeros(len(y), model.network.latent_dim)
        sampler = _Sampler(model, y, context, latents, seed)
        found = Posterior([], [])
        warmup, between = math.ceil(WARMUP * self.epochs), math.ceil(BETWEEN * self.epochs)
        sweeps = range(1, warmup + self.number * between + 1)
        for sweep in tqdm(sweeps, desc="drawing weights", disable=not self.progress):
            sampler.sweep(adapt=0.2 * max(0.0, 1 - sweep / warmup))
            if sweep > warmup and (sweep - warmup) % between == 0:
                drawn = copy.deepcopy(model)
                drawn.load_state_dict(sampler.model.state_dict())
                found.models.append(drawn.eval())
                found.information.append(sampler.information.to(y.dtype))
        return found


def as_learned(
    model: GeneratorModel, y: Tensor, context: dict[str, Tensor] | None, latents: Tensor
) -> Posterior:
    """Return a learned model as the only draw of its weights.

    Parameters
    ----------
    latents : Tensor, (n, d)
        Where cells' information is taken: a draw of the rows' latents.
    """
    information = _Sampler(model, y, context, latents, seed=0).information.to(y.dtype)
    return Posterior([model.eval()], [information])


class _Sampler:
    """The state of the Gibbs sampler, in double precision."""

    def __init__(
        self,
        model: GeneratorModel,
        y: Tensor,
        context: dict[str, Tensor] | None,
        latents: Tensor,
        seed: int,
    ) -> None:
        self.model = copy.deepcopy(model).double().eval()
        self.model.requires_grad_(False)
        self.y = y.double()
        self.context = context and {key: value.double() for key, value in context.items()}
        self.noise = torch.Generator().manual_seed(seed)
        self.chains = RowChains(self.y, self.context, latents.double())
        network = self.model.network
        assert isinstance(network, LinearPlusMLP)
        self.network = network
        self.column = column_of_output(self.model)
        self.seen = cells_seen(self.model, self.y, self.context)
        self.units = torch.ones(len(self.column), 1, dtype=torch.float64)
        self.conjugate: list[tuple[Group, Gaussian]] = []
        self.own: list[tuple[slice, dict[str, Tensor]]] = []
        columns = columns_of(self.model)
        kinds: list[Any] = list(columns.kinds)
        for group, kind in zip(columns.groups, kinds, strict=True):
            if type(kind) is Gaussian and kind.inverse_link is None:
                self.conjugate.append((group, kind))
                continue
            if not isinstance(getattr(kind, "base", kind), LocationScale):
                self.units[group.outputs] = LOGISTIC
            self.own.append((group.columns, dict(kind.named_parameters())))
        self.others = torch.ones(len(self.column), dtype=torch.bool)
        for group, _ in self.conjugate:
            self.others[group.outputs] = False
        self.spread = torch.full((network.latent_dim,), 1 / network.latent_dim).double()
        self.step_size = torch.full((int(self.column.max()) + 1,), 0.5).double()
        self.walk_size = torch.full_like(self.step_size, 0.1)
        self.information = self._learned_information()

    @property
    def precision(self) -> Tensor:
        """Of the prior of each output's weights, (outputs, features)."""
        bias = torch.tensor([BIAS_PRECISION]).double()
        return torch.cat([1 / self.spread, bias]) / self.units**2

    @torch.no_grad()
    def sweep(self, adapt: float) -> None:
        """Draw everything once."""
        self.chains.move(self.model, self.information, [self.noise] * ROW_STEPS, adapt)
        z, weights = self.chains.position, self.network.weights
        features = torch.cat([z, torch.ones_like(z[:, :1])], 1)
        for group, kind in self.conjugate:
            self._draw_conjugate(group, kind, features, weights)
        if self.others.any():
            self._move_others(features, weights, adapt)
        self.network.set_weights(weights)
        self._walk(features @ weights.T, adapt)
        self._draw_spreads(weights)

    def _learned_information(self) -> Tensor:
        """Return the mean square slope of cells' log densities, of Gaussian ones expected."""
        output = self.model.network(self.chains.position).requires_grad_()
        with torch.enable_grad():
            density = column_log_densities(self.model, output, self.y, self.context).sum()
            (slope,) = torch.autograd.grad(density, output)
        information = (slope**2).sum(0) / self.seen.sum(0).clamp(min=1)
        information = information.clamp(min=LEAST_INFORMATION)
        for group, kind in self.conjugate:
            information[group.outputs] = kind.scale**-2.0
        found: Tensor = information
        return found

    def _draw_conjugate(
        self, group: Group, kind: Gaussian, features: Tensor, weights: Tensor
    ) -> None:
        """Draw weights given scales, then scales given weights."""
        seen = self.seen[:, group.outputs]
        y = self.y[:, group.columns].nan_to_num()
        variance = (kind.scale**2).expand(seen.shape[1])
        factor = self._factor(features, group.outputs, 1 / variance)
        right = (seen * y / variance).T @ features
        mean = torch.cholesky_solve(right[..., None], factor)[..., 0]
        weights[group.outputs] = mean + unwhitened(factor, self._normal(mean))
        errors = (seen * (y - features @ weights[group.outputs].T)) ** 2
        rate = SCALE_RATE + 0.5 * errors.sum(0)
        shape = SCALE_SHAPE + 0.5 * seen.sum(0)
        variance = rate / torch._standard_gamma(shape, generator=self.noise)
        kind.log_scale.copy_(0.5 * variance.log())
        self.information[group.outputs] = 1 / variance

    def _move_others(self, features: Tensor, weights: Tensor, adapt: float) -> None:
        """Move the weights of columns without Gaussian noise, each column by itself."""
        others, column = self.others, self.column[self.others]
        places = others.nonzero()[:, 0]
        fixed = (features @ weights.T).index_fill(1, places, 0.0)
        precision = self.precision[others]
        factor = self._factor(features, others, self.information[others])

        def energy(own: Tensor) -> tuple[Tensor, Tensor]:
            own = own.detach().requires_grad_()
            with torch.enable_grad():
                output = fixed.index_add(1, places, features @ own.T)
                density = column_log_densities(self.model, output, self.y, self.context)
                prior = 0.5 * (precision * own**2).sum(1)
                found = torch.zeros(density.shape[1]).double().index_add(0, column, prior)
                found = found - density.sum(0)
                (gradient,) = torch.autograd.grad(found.sum(), own)
            natural = torch.cholesky_solve(gradient[..., None], factor)[..., 0]
            return found.detach(), natural

        old = weights[others]
        s = self.step_size[column, None]
        drift = 1 - (1 - s**2).sqrt()
        xi = self._normal(old)
        old_energy, natural = energy(old)
        new = old - drift * natural + s * unwhitened(factor, xi)
        new_energy, new_natural = energy(new)
        back = (factor.mT @ (old - new + drift * new_natural)[..., None])[..., 0] / s
        noise = 0.5 * ((back**2) - xi**2).sum(1)
        error = (new_energy - old_energy).index_add(0, column, noise)
        rate = error.nan_to_num(nan=torch.inf).clamp(min=0).neg().exp()
        accepted = torch.rand(rate.shape, generator=self.noise, dtype=rate.dtype) < rate
        weights[others] = torch.where(accepted[column, None], new, old)
        gain = (adapt * (rate - TARGET_ACCEPTANCE)).exp()
        self.step_size = (self.step_size * gain).clamp(1e-3, 1.0)

    def _walk(self, output: Tensor, adapt: float) -> None:
        """Move what observations have of their own, such as a scale or grades' limits."""
        blocks = [(columns, own) for columns, own in self.own if own]
        if not blocks:
            return
        before = column_log_densities(self.model, output, self.y, self.context).sum(0)
        kept = [{name: each.clone() for name, each in own.items()} for _, own in blocks]
        for columns, own in blocks:
            for each in own.values():
                each.add_(self.walk_size[columns.start] * self._normal(each))
        after = column_log_densities(self.model, output, self.y, self.context).sum(0)
        for (columns, own), old in zip(blocks, kept, strict=True):
            change = (after - before)[columns].sum() + _energy_of(old) - _energy_of(own)
            rate = float(change.nan_to_num(nan=-torch.inf).clamp(max=0).exp())
            if float(torch.rand((), generator=self.noise)) >= rate:
                for name, value in old.items():
                    own[name].copy_(value)
            self.walk_size[columns] *= math.exp(adapt * (rate - WALK_ACCEPTANCE))

    def _draw_spreads(self, weights: Tensor) -> None:
        """Draw the variances of the weights of each feature."""
        squares = ((weights / self.units) ** 2)[:, :-1]
        shape = torch.full_like(self.spread, SPREAD_SHAPE + 0.5 * len(squares))
        drawn = torch._standard_gamma(shape, generator=self.noise)
        self.spread = (1 / len(self.spread) + 0.5 * squares.sum(0)) / drawn

    def _factor(self, features: Tensor, outputs: Any, information: Tensor) -> Tensor:
        """Return Cholesky factors of the weights' precision given the latents."""
        seen = self.seen[:, outputs].T[:, :, None]
        gram = (seen * features).mT @ features
        precision = information[:, None, None] * gram + torch.diag_embed(self.precision[outputs])
        factor: Tensor = torch.linalg.cholesky(precision)
        return factor

    def _normal(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.noise, dtype=like.dtype)


def _energy_of(own: dict[str, Tensor]) -> Tensor:
    """Return that of the prior of an observation's own parameters."""
    energy = torch.zeros(()).double()
    for name, value in own.items():
        if name.endswith("log_scale"):
            energy += (2 * SCALE_SHAPE * value + SCALE_RATE * (-2 * value).exp()).sum()
        else:
            energy += 0.5 * ((value / OWN_SPREAD) ** 2).sum()
    return energy
