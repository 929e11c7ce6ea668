"""Latents of which some are known for some examples: labels that steer what is generated."""

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import pyro.distributions as dist
import torch
from torch import Tensor

from ..arguments import check_count, is_integer
from ..pieces import Entry
from .base import Context, Prior


class Supervised(Prior):
    """A prior some of whose components are observed in some of the examples: semi-supervised.

    ``context[key]`` (n, k) holds the k named components of z where they are known, a label or an
    attribute each, and NaN where they are not. What is known goes into the network in the place of
    the chain's own coordinate; that coordinate is then idle and follows the prior, so that the
    posterior of the free ones is exact and nothing gets stiff. An example without labels has the
    posterior that it would have without supervision, and its draws of those components predict
    its label::

        fit = abp.fit(y, context={"labels": labels}, epochs=50)
        model.prior.transformed(fit.latents, {"labels": labels})  # with labels in their place
        model.generate(10, seed=1, context={"labels": wanted})    # wanted: (10, k)

    ``fit.latents`` are the chain's coordinates: where a label is known, it is not among them.

    Parameters
    ----------
    base : Prior
        Prior of all components, independent of each other. Labels are on its scale: one in {0, 1}
        goes well with ``Normal``.
    components : int or sequence of int
        Which components the k columns of labels are; a number k stands for the first k.
    key : str, default "labels"
        Name of the labels in the context. Without a context nothing is labelled.

    Raises
    ------
    ValueError
        If the base's components are not independent, it transforms its latents or learns in closed
        form, or ``components`` does not name different components of it. When used: if the context
        lacks the key, or the labels' shape is not (n, k).

    References
    ----------
    Kingma, Mohamed, Rezende & Welling, "Semi-supervised learning with deep generative models"
    (2014), for a latent that is seen in a part of the examples.

    Examples
    --------
    >>> import torch
    >>> from explainaway.models import Normal, Supervised
    >>> prior = Supervised(Normal(3), components=[0])
    >>> labels = torch.tensor([[1.0], [float("nan")]])
    >>> prior.transformed(torch.zeros(2, 3), {"labels": labels})
    tensor([[1., 0., 0.],
            [0., 0., 0.]])
    """

    entry = Entry(
        "p(z) of the base, with some components known for some examples",
        "Semi-supervised: Kingma et al. (2014)",
        "Supervised(Normal(3), components=[0])",
    )

    components: Tensor

    def __init__(self, base: Prior, components: int | Sequence[int], key: str = "labels") -> None:
        super().__init__()
        if not isinstance(base, Prior):
            raise TypeError(f"base must be a Prior (such as Normal(100)), got {base!r}")
        made = base.distribution()
        if not isinstance(made, torch.distributions.Independent) or made.base_dist.event_shape:
            raise ValueError(
                f"base must have independent components, as Normal has, but {type(base).__name__} "
                f"gives a {type(made).__name__} with a joint density: what is not labelled would "
                "depend on the labels"
            )
        if type(base).transformed is not Prior.transformed:
            raise ValueError(
                f"base must hand its latents to the network as they are, but {type(base).__name__} "
                "changes them in transformed(): a label would not be on their scale"
            )
        if base.has_closed_form:
            raise ValueError(
                f"base must learn by gradient, but {type(base).__name__} learns in closed form, "
                "from the chain's coordinates, of which those with a label are idle"
            )
        if is_integer(components):
            check_count("components", components)
            components = range(components)
        (dim,) = made.event_shape
        chosen = list(cast(Sequence[int], components))
        wrong = [c for c in chosen if not is_integer(c) or not 0 <= c < dim]
        if not chosen or wrong or len(set(chosen)) < len(chosen):
            raise ValueError(
                f"components must be different numbers from 0 to {dim - 1}, at least one, got "
                f"{chosen}"
            )
        self.base = base
        self.key = key
        self.register_buffer("components", torch.tensor(chosen))

    def distribution(self) -> dist.TorchDistribution:
        """Return the base's distribution."""
        return self.base.distribution()

    def given(self, context: Context | None) -> dist.TorchDistribution:
        """Return the distribution of the chain's coordinates together with the known labels.

        Its density is that of the labels and the free components, times that of the idle ones.
        """
        labels = self._labels(context)
        made = self.base.given(context)
        return made if labels is None else _Labelled(made, self._in_place(labels, made.mean))

    def transformed(self, latents: Tensor, context: Context | None) -> Tensor:
        """Return the latents with known labels in their places."""
        labels = self._labels(context)
        return latents if labels is None else _filled(self._in_place(labels, latents), latents)

    def _labels(self, context: Context | None) -> Tensor | None:
        if context is None:
            return None
        if self.key not in context:
            raise ValueError(
                f"context must hold {self.key!r}, NaN where a label is not known, got "
                f"{sorted(context)}"
            )
        labels = context[self.key]
        k = len(self.components)
        if labels.dim() != 2 or labels.shape[1] != k:
            raise ValueError(
                f"context[{self.key!r}] must have shape (n, {k}), a column for each of the "
                f"components {self.components.tolist()}, got {tuple(labels.shape)}"
            )
        return labels

    def _in_place(self, labels: Tensor, like: Tensor) -> Tensor:
        """Return the labels as (n, d), NaN where a component is free."""
        free = like.new_full((labels.shape[0], like.shape[-1]), torch.nan)
        return free.index_copy(1, self.components, labels.to(like.dtype))


class _Labelled(dist.TorchDistribution):
    """Independent latents z of which some are idle: ``p(z) p(known labels)``."""

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, base: Any, labels: Tensor) -> None:
        self.base = base
        self.labels = labels
        super().__init__(labels.shape[:-1], base.event_shape, validate_args=False)

    @property
    def support(self) -> Any:
        return self.base.support

    @property
    def mean(self) -> Tensor:
        mean: Tensor = self.base.mean
        return mean.expand(self.batch_shape + self.event_shape)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "_Labelled":
        return _Labelled(self.base, self.labels.expand(*batch_shape, -1))

    def log_prob(self, value: Tensor) -> Tensor:
        own: Tensor = self.base.log_prob(value)
        each: Tensor = self.base.base_dist.log_prob(_filled(self.labels, value))
        return own + torch.where(self.labels.isnan(), 0.0, each).sum(-1)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        more = len(self.batch_shape) - len(self.base.batch_shape)
        drawn: Tensor = self.base.sample(torch.Size(sample_shape) + self.batch_shape[:more])
        return drawn


def _filled(labels: Tensor, latents: Tensor) -> Tensor:
    return torch.where(labels.isnan(), latents, labels)
