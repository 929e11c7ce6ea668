"""The generator model: a prior, a network and an observation as one Pyro model."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import ClassVar

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from .arguments import check_count, gradients_of, seeded_draws
from .contexts import check_read, data_for_latents, read_for_latents, repeated
from .data_cells import DataCells
from .data_checks import (
    as_floating,
    check_cells,
    check_context,
    check_examples,
    check_shapes,
    warn_of_large_integers,
)
from .described import as_html, described_model
from .networks.modes import evaluating
from .observations.base import Observation
from .observations.callables import as_observation
from .observations.hidden_cells import with_hidden_drawn
from .pieces import Context, Read, mapped
from .priors.base import Prior
from .priors.fixed import as_prior
from .turns import TURNS

DRAWN_AT_ONCE = 4096
"""Examples whose hidden cells are drawn at once."""


class GeneratorModel(nn.Module):
    """``z ~ prior``, ``y ~ observation(network(z))``: an ``nn.Module`` that is a Pyro model.

    Calling it runs the model with the sample sites ``z`` and ``y`` in the plate ``examples``. Its
    parameters are plain ``nn.Parameter``; Pyro's global parameter store is not touched.

    Parameters
    ----------
    prior : Prior or Pyro distribution
        Distribution of one example's latent.
    network : nn.Module
        From latents (n, ...) to outputs (n, ...); it ends linear, links are the observation's.
    observation : Observation or callable
        From the output to a distribution of y.

    Raises
    ------
    TypeError
        If a piece is of another kind.

    Examples
    --------
    >>> from explainaway.models import GeneratorModel, Gaussian, Normal, mlp
    >>> model = GeneratorModel(Normal(2), mlp(2, shape=(5,)), Gaussian(scale=0.3))
    >>> model.generate(3, seed=0).shape
    torch.Size([3, 5])
    """

    def __init__(
        self,
        prior: Prior | dist.TorchDistribution,
        network: nn.Module,
        observation: Observation | Callable[[Tensor], dist.TorchDistribution],
    ) -> None:
        super().__init__()
        if not isinstance(network, nn.Module):
            raise TypeError(f"network must be an nn.Module, got {network!r}")
        self.prior = as_prior(prior)
        self.network = network
        self.observation = as_observation(observation)

    def __repr__(self) -> str:
        return described_model(self.prior, self.network, self.observation)

    _repr_html_ = as_html
    turns: ClassVar = TURNS

    def forward(
        self,
        y: Tensor | None = None,
        mask: Tensor | None = None,
        context: Context | None = None,
        num_examples: int | None = None,
    ) -> Tensor:
        """Run the model in Pyro: sites ``z`` and ``y`` in plate ``examples``.

        Parameters
        ----------
        y : Tensor, optional
            Data (n, ...), NaN where not observed (under ``Masked``); without it y is sampled.
        mask : bool Tensor, optional
            Of y's shape, true where observed (under ``Masked``).
        context : mapping of Tensor, optional
            Example-first tensors that the observation needs.
        num_examples : int, optional
            How many examples to sample when there is no y; 1 by default.

        Returns
        -------
        Tensor
            y as observed, its missing cells drawn given z and the observed ones, or as sampled,
            (n, ...). What is drawn there does not change the density.

        Raises
        ------
        ValueError
            If the distribution's shape is not that of y.
        """
        observed_cells = None
        if y is not None:
            y, observed_cells = self.observation.prepare(as_floating(y, self._dtype), mask)
            if num_examples not in (None, len(y)):
                raise ValueError(
                    f"num_examples is for a model without y, got {num_examples} with a y of "
                    f"{len(y)} examples"
                )
            num_examples = len(y)
        elif mask is not None:
            raise ValueError("mask says what is observed of y, but y is None")
        if context is not None:
            check_context(context, num_examples or 1)
        with pyro.plate("examples", num_examples or 1):
            z = pyro.sample("z", self.prior.given(context))
            # Under autocast the network computes in lower precision; energies do not.
            output = self.network(self.prior.transformed(z, context)).to(z.dtype)
            made = self.observation.distribution(output, mask=observed_cells, context=context)
            if y is not None:
                check_shapes(made, y)
                if observed_cells is not None:
                    y = self._with_hidden_drawn(output, y, observed_cells, context)
            sampled: Tensor = pyro.sample("y", made, obs=y)
        return sampled

    def validate_data(
        self, y: Tensor, mask: Tensor | None = None, context: Context | None = None
    ) -> None:
        """Check data before long work starts; learning and sampling call this by themselves.

        Parameters
        ----------
        y, mask, context
            As in :meth:`forward`.

        Raises
        ------
        ValueError
            If there is no example, a value is infinite, NaN without ``Masked``, outside the
            observation's support, or if the network's output does not fit y; the message names
            the place and what was expected.
        TypeError
            If the mask is not boolean.

        Warns
        -----
        UserWarning
            If values lie far outside what the inverse link can reach, such as an image of bytes
            under a tanh, or if a cell is missing from every example.
        """
        read = None if context is None else check_context(context)
        check_examples(self.observation, y, mask, read)
        made = self._first(read)
        check_read(read)
        warn_of_large_integers(y, self._dtype)
        check_cells(self.observation, made, y, mask)

    def _first(self, context: Context | None) -> dist.TorchDistribution:
        """Return the distribution of y for a latent of the prior, for the first example."""
        first = mapped(context, lambda value: value[:1])
        with torch.no_grad(), seeded_draws(0):
            output = self._output(self._draw_prior(1, first), first)
            return self.observation.distribution(output, context=first)

    def _check_keys(self, read: Read | None) -> None:
        """Raise ValueError for keys that no piece reads, the others' work being done."""
        if read is not None and read.unread:
            # What was asked for so far is not all that is read, but more may not be there.
            with suppress(ValueError):
                self._first(read)
            check_read(read)

    @property
    def _dtype(self) -> torch.dtype:
        """Precision of the model: its first floating-point parameter's, or torch's default."""
        found = (p.dtype for p in self.parameters() if p.is_floating_point())
        return next(found, torch.get_default_dtype())

    def _draw_prior(self, num_examples: int, context: Context | None) -> Tensor:
        prior = self.prior.given(context)
        drawn: Tensor = prior.sample() if prior.batch_shape else prior.sample((num_examples,))
        return drawn

    def _output(self, latents: Tensor, context: Context | None) -> Tensor:
        """Run the network as it is used in inference: no batch statistics, no dropout."""
        with evaluating(self.network):
            output: Tensor = self.network(self.prior.transformed(latents, context))
        return output

    def decode(self, latents: Tensor, context: Context | None = None) -> Tensor:
        """Return the signal at given latents, before masks, operators and noise.

        Parameters
        ----------
        latents : Tensor
            (n, d), or with more leading dimensions, (chains, n, d); an array does too. They are
            moved to the model's device and dtype.
        context : mapping of Tensor, optional
            As in :meth:`forward`, for priors and observations that read it.

        Returns
        -------
        Tensor
            The same leading dimensions, then the shape of one example's signal. Detached, unless
            the latents require a gradient.
        """
        latents = self._as_own(latents)
        with gradients_of(latents):
            rows, leading = self._flattened(latents)
            read = read_for_latents(context, leading, rows)
            signal = self.observation.signal(self._output(rows, read), read)
            self._check_keys(read)
            return signal.reshape(*leading, *signal.shape[1:])

    def reconstruct(
        self,
        latents: Tensor,
        observed: Tensor | None = None,
        mask: Tensor | None = None,
        context: Context | None = None,
    ) -> Tensor:
        """Return ``E[y | z]``, of categories the mode, of y's shape and without NaN.

        Parameters
        ----------
        latents : Tensor
            As in :meth:`decode`.
        observed : Tensor, optional
            Data (n, ...) with NaN where missing (or a ``mask``): observed cells are kept, hidden
            ones predicted from z and from them. Moved to the model's device and dtype.
        mask, context
            As in :meth:`forward`.

        Returns
        -------
        Tensor
            The same leading dimensions, then the shape of one example's data. Detached, unless the
            latents require a gradient.
        """
        if observed is None and mask is not None:
            raise ValueError("mask says what is observed of data, but observed, the data, is None")
        latents = self._as_own(latents)
        with gradients_of(latents):
            rows, leading = self._flattened(latents)
            read = read_for_latents(context, leading, rows)
            output = self._output(rows, read)
            if observed is None:
                estimate = self.observation.reconstruct(output, read)
            else:
                filled, known = data_for_latents(
                    self.observation, self._first(read), "observed", observed, mask, leading, rows
                )
                estimate = self.observation.complete(output, filled, known, read)
            self._check_keys(read)
            return estimate.reshape(*leading, *estimate.shape[1:])

    @torch.no_grad()
    def impute(
        self,
        y: Tensor,
        latents: Tensor,
        num_draws: int = 1,
        seed: int = 0,
        mask: Tensor | None = None,
        context: Context | None = None,
    ) -> Tensor:
        """Return draws of y's hidden cells given z *and* the observed cells.

        With posterior draws of the latents they are draws of ``p(hidden cells | observed cells)``,
        whose spread holds the uncertainty of z and the observation's noise;
        :meth:`reconstruct` gives means given z, whose spread leaves the noise out.

        Parameters
        ----------
        y : Tensor
            Data (n, ...), NaN where missing.
        latents : Tensor
            (n, d), or with more leading dimensions, such as (chains, draws, n, d).
        num_draws : int, default 1
            Draws of y for each draw of the latents.
        seed : int, default 0
            Reproduces them; the global random state is left as it was.
        mask, context
            As in :meth:`forward`.

        Returns
        -------
        Tensor
            (num_draws * leading draws, n, ...), all leading dimensions of the latents as one: first
            a draw for each of them in their order, then the next. Observed cells are those of y,
            bit for bit; cells known by a limit (:class:`Censored`) are drawn within it.

        Raises
        ------
        ValueError
            If y has NaN but the observation no missing cells, or y and the latents do not fit.
        TypeError
            If the observation's cells depend on each other, and it does not say how to draw some
            given others.
        """
        check_count("num_draws", num_draws)
        latents = self._as_own(latents)
        rows, leading = self._flattened(latents)
        read = read_for_latents(context, leading, rows)
        filled, known = data_for_latents(
            self.observation, self._first(read), "y", y, mask, leading, rows
        )
        output = self._output(rows, read)
        check_shapes(self.observation.distribution(output, context=read), filled)
        at_once = min(num_draws, max(1, DRAWN_AT_ONCE // len(rows)))
        times = [at_once] * (num_draws // at_once) + [num_draws % at_once]
        with seeded_draws(seed):
            draws = [
                self.observation.impute(
                    repeated(output, count),
                    repeated(filled, count),
                    None if known is None else repeated(known, count),
                    mapped(read, partial(repeated, times=count)),
                )
                for count in filter(None, times)
            ]
        self._check_keys(read)
        return torch.cat(draws).reshape(-1, leading[-1], *filled.shape[1:]).to(filled.dtype)

    @torch.no_grad()
    def generate(
        self, num_examples: int, seed: int, noise: bool = False, context: Context | None = None
    ) -> Tensor:
        """Return new examples: latents from the prior, decoded.

        Parameters
        ----------
        num_examples : int
            How many.
        seed : int
            Reproduces them; the global random state is left as it was.
        noise : bool, default False
            Draw y from the observation instead of returning its mean.
        context : mapping of Tensor, optional
            As in :meth:`forward`, of so many examples.

        Returns
        -------
        Tensor
            (num_examples, ...), of y's shape.
        """
        read = read_for_latents(context, torch.Size([num_examples]), self._as_own(torch.empty(0)))
        with seeded_draws(seed):
            output = self._output(self._draw_prior(num_examples, read), read)
            if noise:
                made: Tensor = self.observation.distribution(output, context=read).sample()
            else:
                made = self.observation.reconstruct(output, read)
        self._check_keys(read)
        return made

    def log_joint(
        self,
        y: Tensor,
        latents: Tensor,
        mask: Tensor | None = None,
        context: Context | None = None,
    ) -> Tensor:
        """Return ``log p(y, z)`` of each example, in nats.

        Parameters
        ----------
        y : Tensor
            Data (n, ...).
        latents : Tensor
            (n, ...), one for each example.
        mask, context
            As in :meth:`forward`.

        Returns
        -------
        Tensor
            (n,).
        """
        latents = self._as_own(latents)
        mask = None if mask is None else torch.as_tensor(mask, device=latents.device)
        y, known = self.observation.prepare(as_floating(torch.as_tensor(y)).to(latents), mask)
        read = read_for_latents(context, torch.Size([len(y)]), latents)
        with TURNS:
            output = self.network(self.prior.transformed(latents, read))
        made = self.observation.distribution(output, mask=known, context=read)
        check_shapes(made, y)
        total: Tensor = made.log_prob(y) + self.prior.given(read).log_prob(latents)
        self._check_keys(read)
        return total

    def log_normaliser(self, num_draws: int, seed: int) -> Tensor | None:
        """Return what the prior's :meth:`~Prior.log_normaliser` does: the loop asks for it."""
        return self.prior.log_normaliser(num_draws, seed)

    @property
    def latent_coordinates(self) -> Prior:
        """The prior: it says where chains start, and on what scale the latents are."""
        return self.prior

    @property
    def has_closed_form(self) -> bool:
        """Whether :meth:`closed_form_step` learns something."""
        return self.prior.has_closed_form or self.observation.has_closed_form

    @property
    def data_cells(self) -> DataCells:
        """The cells of its data one by one, as the loop asks for them."""
        return DataCells(self.observation, self._output, self._dtype)

    @torch.no_grad()
    def closed_form_step(
        self,
        latents: Mapping[str, Tensor],
        y: Tensor,
        mask: Tensor | None = None,
        context: Context | None = None,
    ) -> None:
        """Learn what needs no gradient; the loop calls it after the step of θ.

        Parameters
        ----------
        latents : mapping of Tensor
            ``{"z": (n, ...)}``, a posterior draw for each example.
        y, mask, context
            As in :meth:`forward`, of those examples.
        """
        z = latents["z"]
        if self.prior.has_closed_form:
            self.prior.closed_form_step(z, context)
        if self.observation.has_closed_form and not self.observation.is_held:
            y, known = self.observation.prepare(as_floating(y, self._dtype), mask)
            self.observation.closed_form_step(self._output(z, context), y, known, context)

    def _with_hidden_drawn(
        self, output: Tensor, y: Tensor, observed: Tensor, context: Context | None
    ) -> Tensor:
        def draw() -> Tensor:
            if bool(observed.all()):
                return y
            with torch.no_grad():
                drawn = self.observation.impute(output.detach(), y, observed, context)
                return torch.where(observed, y, drawn).to(y.dtype)

        return with_hidden_drawn(y, draw)

    def _as_own(self, latents: Tensor) -> Tensor:
        """Return latents where the model is and in what it computes in."""
        latents = torch.as_tensor(latents)
        tensors = (*self.parameters(), *self.buffers())
        like = next((tensor for tensor in tensors if tensor.is_floating_point()), latents)
        return latents.to(like.device, like.dtype)

    def _flattened(self, latents: Tensor) -> tuple[Tensor, torch.Size]:
        event = self.prior.distribution().event_shape
        leading = latents.shape[: latents.dim() - len(event)]
        if not leading or latents.shape[len(leading) :] != event:
            raise ValueError(
                f"latents must have shape (n, {', '.join(map(str, event))}), possibly with more "
                f"leading dimensions, got {tuple(latents.shape)}"
            )
        return latents.reshape(-1, *event), leading
