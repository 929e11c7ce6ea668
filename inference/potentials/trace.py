"""Reading a Pyro model: which latents each example has, and its log density by one handler."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pyro
import torch
from pyro import poutine
from pyro.distributions import Delta, ImproperUniform, MaskedDistribution, Unit
from pyro.distributions.util import scale_and_mask
from pyro.poutine.messenger import Messenger
from pyro.poutine.subsample_messenger import _Subsample
from torch import Tensor, nn
from torch.distributions import Transform, biject_to

from .angles import is_angle, wrapped
from .data import ExampleData
from .masks import (
    filled,
    is_masked,
    log_density_with_rest,
    made_by_obs_mask,
    nothing_depends_on,
)
from .site_checks import check_site, find_plate, is_real, of_plate
from .threads import LOCK, turn_of

Model = Callable[..., Any]


class LatentSite(NamedTuple):
    """A continuous latent of the example plate.

    Attributes
    ----------
    name : str
        Of the sample site.
    shape : torch.Size
        Of one example's unconstrained value.
    start, stop : int
        Its columns in the flat position (n, d).
    is_real : bool
        Whether it is on the real line, so that what the model sees is what the chain holds.
    is_angle : bool
        Whether it is on the circle: the model sees it wrapped into [-π, π).
    is_partial : bool
        Whether nothing depends on what its mask leaves out, which is standard normal then.
    """

    name: str
    shape: torch.Size
    start: int
    stop: int
    is_real: bool
    is_angle: bool = False
    is_partial: bool = False


@dataclass(frozen=True)
class Layout:
    """Where each latent site lies in the flat position, what is observed, what follows from them.

    Attributes
    ----------
    plate : str or None
        The plate over examples; None where the whole model is one example, its sites joint.
    sites : tuple of LatentSite
        In the order of the model.
    observed : tuple of str
        Names of the observed sites.
    is_batched : bool
        Whether the chains of joint sites are evaluated at once; else one after the other.
    deterministic : tuple of str
        Names of the sites that are functions of others; of a plate's, those that lead with the
        example.
    """

    plate: str | None
    sites: tuple[LatentSite, ...]
    observed: tuple[str, ...]
    is_batched: bool = True
    deterministic: tuple[str, ...] = ()

    @property
    def is_joint(self) -> bool:
        """Whether the whole model is one example."""
        return self.plate is None

    @property
    def latent_dim(self) -> int:
        """Number of unconstrained latent components of one example, d."""
        return self.sites[-1].stop


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run torch's global random state from a seed, and put it back afterwards."""
    if torch.accelerator.is_available():
        # Named, or torch warns where there are several.
        devices = list(range(torch.accelerator.device_count()))
        kind = torch.accelerator.current_accelerator()
        with torch.random.fork_rng(devices, device_type=kind.type if kind else "cuda"):
            torch.manual_seed(seed % 2**63)
            yield
        return
    # torch.manual_seed also tells every absent accelerator, which costs more than a small network.
    state = torch.default_generator.get_state()
    torch.default_generator.manual_seed(seed % 2**63)
    try:
        yield
    finally:
        torch.default_generator.set_state(state)


@contextmanager
def evaluation_mode(model: Model) -> Iterator[None]:
    """Put a module and its parts into evaluation mode, and each back as it was."""
    with LOCK, turn_of(model):
        parts = model.modules() if isinstance(model, nn.Module) else ()
        training = [part for part in parts if part.training]
        for part in training:
            part.training = False
        try:
            yield
        finally:
            for part in training:
                part.training = True


def _innermost(fn: Any) -> Any:
    while hasattr(fn, "base_dist"):
        fn = fn.base_dist
    return fn


class _NothingHiddenDrawn(Messenger):
    """Leave hidden cells as they are: what stands there does not matter to a density."""

    def _pyro_hidden_cells(self, msg: Any) -> None:
        msg["value"], msg["done"] = msg["args"][0], True


def is_deterministic(site: Mapping[str, Any]) -> bool:
    """Return whether a site is a function of others: ``pyro.deterministic``, or reparameterised.

    A reparameterised latent is a point mass without a density at what its auxiliary sites give.
    """
    if site["infer"].get("_deterministic") or not site["is_observed"]:
        return bool(site["infer"].get("_deterministic"))
    fn, is_masked = site["fn"], False
    while hasattr(fn, "base_dist"):
        is_masked = is_masked or (isinstance(fn, MaskedDistribution) and fn._mask is False)
        fn = fn.base_dist
    return is_masked and isinstance(fn, Delta)


def _is_drawn(site: Mapping[str, Any]) -> bool:
    """Return whether an observed site has data that could have been others; a factor has none."""
    return not is_deterministic(site) and not isinstance(_innermost(site["fn"]), Unit)


class Record(_NothingHiddenDrawn):
    """Keep every sample site's message, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.sites: list[dict[str, Any]] = []

    def _pyro_sample(self, msg: Any) -> None:
        if isinstance(_innermost(msg["fn"]), ImproperUniform) and msg["value"] is None:
            raise ValueError(
                f"the latent site {msg['name']!r} has the prior ImproperUniform, which nothing can "
                "be drawn from: give it a proper one, wide where little is known, such as "
                "dist.Normal(0., 10.)"
            )
        if msg["is_observed"] and is_masked(msg):
            msg["value"] = filled(msg, msg["value"])

    def _pyro_post_sample(self, msg: Any) -> None:
        if not isinstance(msg["fn"], _Subsample):
            self.sites.append(dict(msg))


def read_layout(model: Model, data: ExampleData, example_plate: str | None = None) -> Layout:
    """Run a model once and return the layout of its latents.

    Parameters
    ----------
    model : callable
        A Pyro model.
    data : ExampleData
        Some of the data; n examples.
    example_plate : str, optional
        Name of the plate over examples; may be left out where the model has only one plate of
        that size.

    Raises
    ------
    ValueError
        If the model has no plate over the examples, subsamples it, has a discrete latent or a
        sample site outside the plate, or if a density's shape does not fit; the message names the
        site and says what to do.
    """
    try:
        sites = recorded(model, data)
    except ValueError as error:
        raise of_plate(error, data.num_examples) from error
    plate = find_plate(sites, data.num_examples, example_plate)
    for site in sites:
        if not is_deterministic(site):
            check_site(site, plate)
    return layout_of(sites, plate, model, data)


def recorded(model: Model, data: ExampleData) -> list[dict[str, Any]]:
    """Run a model once, validated, and return its sample sites in order."""
    record = Record()
    with torch.no_grad(), seeded(0), evaluation_mode(model), pyro.validation_enabled(True), record:
        model(*data.args, **data.kwargs)
    return record.sites


def layout_of(
    recorded: list[dict[str, Any]], plate: str | None, model: Model, data: ExampleData
) -> Layout:
    """Return the layout of a model's sites, by example of a plate or as they are without one.

    Raises
    ------
    ValueError
        If none is latent.
    """
    sites = [site for site in recorded if not is_deterministic(site)]
    latents: list[LatentSite] = []
    observed: list[str] = []
    start = 0
    for site in sites:
        if site["is_observed"]:
            observed.append(site["name"])
            continue
        support = site["fn"].support
        unconstrained = biject_to(support).inv(site["value"])
        shape = unconstrained.shape if plate is None else unconstrained.shape[1:]
        stop = start + shape.numel()
        angle = is_angle(site["fn"])
        real = is_real(support) and not angle
        latents.append(LatentSite(site["name"], shape, start, stop, real, angle))
        start = stop
    if not latents:
        where = "" if plate is None else f" in plate {plate!r}"
        raise ValueError(f"the model has no latent sample site{where}: there is nothing to infer")
    following = tuple(
        site["name"]
        for site in recorded
        if is_deterministic(site) and (plate is None or _leads_with(site, plate, data.num_examples))
    )
    layout = Layout(plate, tuple(latents), tuple(observed), deterministic=following)
    masked = {s["name"]: s for s in sites if not s["is_observed"] and is_masked(s)}
    return _with_partial(layout, masked, model, data) if masked else layout


def _leads_with(site: Mapping[str, Any], plate: str, num_examples: int) -> bool:
    return any(frame.name == plate for frame in site["cond_indep_stack"]) and bool(
        site["value"].shape[:1] == (num_examples,)
    )


def _with_partial(
    layout: Layout, masked: Mapping[str, dict[str, Any]], model: Model, data: ExampleData
) -> Layout:
    """Return a layout whose masked latents say whether what the mask leaves out matters."""
    lead = () if layout.is_joint else (data.num_examples,)
    like = next(iter(masked.values()))["value"]
    noise = torch.Generator().manual_seed(0)
    position = torch.randn(*lead, layout.latent_dim, generator=noise).to(like).requires_grad_()
    with torch.enable_grad(), evaluation_mode(model):
        density = log_density(model, data, layout, position)
        values = [density.values[name] for name in masked]
        total = (density.prior + density.likelihood).sum()
        found = torch.autograd.grad(total, values, allow_unused=True, materialize_grads=True)
    gradients = dict(zip(masked, found, strict=True))
    return replace(
        layout,
        sites=tuple(
            site._replace(
                is_partial=made_by_obs_mask(site.name, layout.observed)
                or nothing_depends_on(masked[site.name], gradients[site.name])
            )
            if site.name in masked
            else site
            for site in layout.sites
        ),
    )


class LogDensity(_NothingHiddenDrawn):
    """Run a model at given unconstrained latents and gather its log density.

    After the run ``prior`` and ``likelihood`` hold log densities (n,), in nats, the prior's with
    the log-Jacobian of the transform, ``by_site`` the terms of the likelihood; ``values`` the
    constrained latents, ``fns`` the observed sites' distributions with their scale and mask. At a
    position (d,), of a whole model, sites are as they stand in it and log densities are numbers.
    """

    def __init__(self, layout: Layout, position: Tensor) -> None:
        super().__init__()
        self.prior: Tensor = position.new_zeros(position.shape[:-1])
        self.likelihood: Tensor = position.new_zeros(position.shape[:-1])
        self.values: dict[str, Tensor] = {}
        self.by_site: dict[str, Tensor] = {}
        self.fns: dict[str, tuple[Any, Any, Any]] = {}
        self._partial: dict[str, tuple[Tensor, Tensor | None]] = {}
        self._position = position
        self._latents = {site.name: site for site in layout.sites}

    def _pyro_sample(self, msg: Any) -> None:
        site = self._latents.get(msg["name"])
        if site is None:
            if msg["is_observed"] and is_masked(msg):
                msg["value"] = filled(msg, msg["value"])
            return
        flat = self._position[..., site.start : site.stop]
        value = flat.reshape((*flat.shape[:-1], *site.shape))
        unconstrained, jacobian = value, None
        if site.is_angle:
            value = wrapped(value)
        elif not site.is_real:
            transform = biject_to(msg["fn"].support)
            value = transform(unconstrained)
            jacobian = transform.log_abs_det_jacobian(unconstrained, value)
        if site.is_partial:
            self._partial[site.name] = unconstrained, jacobian
        elif jacobian is not None:
            self.prior = self.prior + self._per_example(jacobian)
        self.values[site.name] = value
        msg["value"] = value
        msg["done"] = True

    def _pyro_post_sample(self, msg: Any) -> None:
        if isinstance(msg["fn"], _Subsample) or is_deterministic(msg):
            return
        if msg["name"] in self._partial:
            unconstrained, jacobian = self._partial[msg["name"]]
            log_prob = log_density_with_rest(msg, unconstrained, msg["value"], jacobian)
        else:
            log_prob = msg["fn"].log_prob(msg["value"])
            log_prob = scale_and_mask(log_prob, msg["scale"], msg["mask"])
        if log_prob.shape[: self.prior.dim()] != self.prior.shape:
            raise ValueError(
                f"the log density of site {msg['name']!r} must have the example as its first "
                f"dimension, of size {self.prior.shape[0]}, got shape {tuple(log_prob.shape)}"
            )
        if msg["name"] in self._latents:
            self.prior = self.prior + self._per_example(log_prob)
        elif msg["is_observed"]:
            self.by_site[msg["name"]] = self._per_example(log_prob)
            self.likelihood = self.likelihood + self.by_site[msg["name"]]
            self.fns[msg["name"]] = (msg["fn"], msg["scale"], msg["mask"])
        else:
            raise _changing(msg["name"])

    def _per_example(self, log_prob: Tensor) -> Tensor:
        batch = self.prior.dim()
        return log_prob.flatten(batch).sum(-1) if log_prob.dim() > batch else log_prob


def log_density(model: Model, data: ExampleData, layout: Layout, position: Tensor) -> LogDensity:
    """Run a model at a position, (n, d) or (d,), and return what its sites' densities are.

    Raises
    ------
    ValueError
        If its latent sites are not those of the layout.
    """
    density = LogDensity(layout, position)
    run(model, data, density)
    if len(density.values) < len(layout.sites):
        raise _changing(next(s.name for s in layout.sites if s.name not in density.values))
    return density


def _changing(name: str) -> ValueError:
    return ValueError(
        f"the model has the latent site {name!r} in some of its runs only: which sites there are "
        "must not depend on their values"
    )


class Substitute(_NothingHiddenDrawn):
    """Run a model at given constrained latents.

    Records each one's unconstrained value in ``unconstrained`` with the map to it in ``transforms``
    and, where ``predict`` is set, draws the observed sites afresh into ``predicted``. What sites
    of the names ``deterministic`` are is kept under that name.
    """

    def __init__(
        self,
        values: Mapping[str, Tensor],
        predict: bool = False,
        deterministic: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.unconstrained: dict[str, Tensor] = {}
        self.transforms: dict[str, Transform] = {}
        self.predicted: dict[str, Tensor] = {}
        self.deterministic: dict[str, Tensor] = {}
        self._names = deterministic
        self._values = values
        self._predict = predict

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self._values:
            msg["value"] = self._values[msg["name"]]
            msg["done"] = True
            transform = biject_to(msg["fn"].support).inv
            self.transforms[msg["name"]] = transform
            self.unconstrained[msg["name"]] = transform(msg["value"])
        elif self._predict and msg["is_observed"] and _is_drawn(msg):
            msg["value"] = msg["fn"].sample()
            msg["done"] = True
            self.predicted[msg["name"]] = msg["value"]

    def _pyro_post_sample(self, msg: Any) -> None:
        if msg["name"] in self._names:
            self.deterministic[msg["name"]] = msg["value"]


def run(model: Model, data: ExampleData, handler: Messenger) -> None:
    """Run a model under a handler, with Pyro's validation off."""
    with LOCK, turn_of(model), pyro.validation_enabled(False), handler:
        model(*data.args, **data.kwargs)


def parameters_of(model: Model, data: ExampleData) -> dict[str, Tensor]:
    """Return what a model learns: unconstrained leaves by name.

    An ``nn.Module``'s parameters that require a gradient, and every ``pyro.param`` (those that
    ``pyro.module`` registers included) that the model meets on ``data``.
    """
    found: dict[str, Tensor] = {}
    if isinstance(model, nn.Module):
        found.update((n, p) for n, p in model.named_parameters() if p.requires_grad)
    with (
        torch.no_grad(),
        seeded(0),
        evaluation_mode(model),
        poutine.trace(param_only=True) as trace,
    ):
        model(*data.args, **data.kwargs)
    known = {id(parameter) for parameter in found.values()}
    for name, node in trace.trace.nodes.items():
        if node["type"] != "param":
            continue
        value: Any = node["value"]
        leaf = value.unconstrained() if hasattr(value, "unconstrained") else value
        if leaf.requires_grad and id(leaf) not in known:
            found[name] = leaf
    return found
