"""Reading a Pyro model: which latents each example has, and its log density by one handler."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyro
import torch
from pyro import poutine
from pyro.distributions import Delta, ImproperUniform, MaskedDistribution
from pyro.distributions.util import scale_and_mask
from pyro.poutine.messenger import Messenger
from pyro.poutine.subsample_messenger import _Subsample
from torch import Tensor, nn
from torch.distributions import Transform, biject_to, constraints

from .angles import is_angle, wrapped
from .data import ExampleData

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
    """

    name: str
    shape: torch.Size
    start: int
    stop: int
    is_real: bool
    is_angle: bool = False


@dataclass(frozen=True)
class Layout:
    """Where each latent site lies in the flat position, what is observed, what follows from them.

    ``deterministic`` are the plate's sites that are functions of others and lead with the example.
    """

    plate: str
    sites: tuple[LatentSite, ...]
    observed: tuple[str, ...]
    deterministic: tuple[str, ...] = ()

    @property
    def latent_dim(self) -> int:
        """Number of unconstrained latent components of one example, d."""
        return self.sites[-1].stop


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run torch's global random state from a seed, and put it back afterwards."""
    if torch.cuda.is_available():
        with torch.random.fork_rng():
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
    training = (
        [part for part in model.modules() if part.training] if isinstance(model, nn.Module) else []
    )
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


class Record(Messenger):
    """Keep every sample site's message, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.sites: list[dict[str, Any]] = []

    def _pyro_hidden_cells(self, msg: Any) -> None:
        msg["value"], msg["done"] = msg["args"][0], True

    def _pyro_sample(self, msg: Any) -> None:
        if isinstance(_innermost(msg["fn"]), ImproperUniform) and msg["value"] is None:
            raise ValueError(
                f"the latent site {msg['name']!r} has the prior ImproperUniform, which nothing can "
                "be drawn from: give it a proper one, wide where little is known, such as "
                "dist.Normal(0., 10.)"
            )

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
    record = Record()
    with torch.no_grad(), seeded(0), evaluation_mode(model), pyro.validation_enabled(True), record:
        try:
            model(*data.args, **data.kwargs)
        except ValueError as error:
            raise _of_plate(error, data.num_examples) from error
    sites = [site for site in record.sites if not is_deterministic(site)]
    plate = _find_plate(sites, data.num_examples, example_plate)
    latents: list[LatentSite] = []
    observed: list[str] = []
    start = 0
    for site in sites:
        _check_site(site, plate, data.num_examples)
        if site["is_observed"]:
            observed.append(site["name"])
            continue
        support = site["fn"].support
        unconstrained = biject_to(support).inv(site["value"])
        stop = start + unconstrained[0].numel()
        angle = is_angle(site["fn"])
        real = _is_real(support) and not angle
        latents.append(LatentSite(site["name"], unconstrained.shape[1:], start, stop, real, angle))
        start = stop
    if not latents:
        raise ValueError(
            f"the model has no latent sample site in plate {plate!r}: there is nothing to infer"
        )
    following = tuple(
        site["name"]
        for site in record.sites
        if is_deterministic(site)
        and any(frame.name == plate for frame in site["cond_indep_stack"])
        and site["value"].shape[:1] == (data.num_examples,)
    )
    return Layout(plate, tuple(latents), tuple(observed), following)


def _of_plate(error: ValueError, num_examples: int) -> ValueError:
    """Return Pyro's complaint that a plate has another size than the data, in our words."""
    found = re.search(r"Shape mismatch inside plate\('(.*?)'\).*?(\d+) vs (\d+)", str(error))
    if found is None or str(num_examples) not in found.groups()[1:]:
        return error
    sizes = {int(size) for size in found.groups()[1:]} - {num_examples}
    return ValueError(
        f"plate {found[1]!r} has size {min(sizes, default=num_examples)}, but the data hold "
        f"{num_examples} examples: take its size from the data, as in "
        f"with pyro.plate({found[1]!r}, len(y)):"
    )


def _find_plate(sites: list[dict[str, Any]], num_examples: int, name: str | None) -> str:
    frames = {frame.name: frame for site in sites for frame in site["cond_indep_stack"]}
    if name is not None and name not in frames:
        raise ValueError(
            f"example_plate must name a plate of the model, got {name!r}; it has {sorted(frames)}"
        )
    if not frames:
        raise ValueError(
            "the model has no plate over examples: put its sample sites under "
            'with pyro.plate("examples", len(y)):'
        )
    if name is None:
        fitting = [n for n, frame in frames.items() if frame.full_size == num_examples]
        if len(frames) == 1:
            fitting = list(frames)
        if len(fitting) != 1:
            raise ValueError(
                f"example_plate must say which plate holds the {num_examples} examples; the model "
                f"has the plates { {n: frame.full_size for n, frame in frames.items()} }"
            )
        name = fitting[0]
    frame = frames[name]
    if frame.dim is None:
        raise ValueError(
            f"plate {name!r} is a Python loop: use it as a context, with pyro.plate(...):, so that "
            "all examples run at once"
        )
    if frame.size != frame.full_size:
        raise ValueError(
            f"plate {name!r} has subsample_size={frame.size}: leave it out, minibatches are drawn "
            "by AlternatingBackProp(batch_size=...)"
        )
    if frame.full_size != num_examples:
        raise ValueError(
            f"plate {name!r} has size {frame.full_size}, but the data hold {num_examples} "
            "examples: its size must be that of the data's first dimension"
        )
    return name


def _check_site(site: dict[str, Any], plate: str, num_examples: int) -> None:
    name, fn = site["name"], site["fn"]
    frames = {frame.name: frame for frame in site["cond_indep_stack"]}
    if plate not in frames:
        kind = "observed" if site["is_observed"] else "latent"
        remedy = (
            "observe it inside the plate"
            if site["is_observed"]
            else "make what all examples share a pyro.param, or move the site into the plate"
        )
        raise ValueError(f"the {kind} site {name!r} lies outside plate {plate!r}: {remedy}")
    if not site["is_observed"] and _is_discrete(fn.support):
        raise ValueError(
            f"the latent site {name!r} is discrete ({type(fn).__name__}), and a gradient-based "
            "chain cannot move it: sum it out in the observation, or use a continuous relaxation"
        )
    shape = torch.Size(fn.log_prob(site["value"]).shape)
    dims = {frame.dim: frame.size for frame in site["cond_indep_stack"] if frame.vectorized}
    example_dim = frames[plate].dim
    outermost = example_dim == min(dims) and len(shape) == -example_dim
    fits = all(shape[i] == dims.get(i - len(shape), 1) for i in range(len(shape)))
    if not outermost or not fits:
        expected = tuple(dims.get(d, 1) for d in range(min(dims), 0))
        raise ValueError(
            f"the log density of site {name!r} must have shape {expected}, its plates', with the "
            f"example first (plate {plate!r} outermost), got {tuple(shape)} from a distribution "
            f"of batch shape {tuple(fn.batch_shape)} and event shape {tuple(fn.event_shape)} at a "
            f"value of shape {tuple(site['value'].shape)}: use .to_event() for the dimensions that "
            "belong to one example"
        )


def _base(support: constraints.Constraint) -> constraints.Constraint:
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return support


def _is_real(support: constraints.Constraint) -> bool:
    base = _base(support)
    return base is constraints.real or base is constraints.real_vector


def _is_discrete(support: constraints.Constraint) -> bool:
    return bool(_base(support).is_discrete)


class LogDensity(Messenger):
    """Run a model at given unconstrained latents and gather its log density.

    After the run ``prior`` and ``likelihood`` hold log densities (n,), in nats, the prior's with
    the log-Jacobian of the transform, ``by_site`` the terms of the likelihood; ``values`` the
    constrained latents, ``fns`` the observed sites' distributions with their scale and mask.
    """

    def __init__(self, layout: Layout, position: Tensor) -> None:
        super().__init__()
        self.prior: Tensor = position.new_zeros(position.shape[0])
        self.likelihood: Tensor = position.new_zeros(position.shape[0])
        self.values: dict[str, Tensor] = {}
        self.by_site: dict[str, Tensor] = {}
        self.fns: dict[str, tuple[Any, Any, Any]] = {}
        self._position = position
        self._latents = {site.name: site for site in layout.sites}

    def _pyro_hidden_cells(self, msg: Any) -> None:
        # What stands in a hidden cell does not matter to a density: nothing is drawn for it.
        msg["value"], msg["done"] = msg["args"][0], True

    def _pyro_sample(self, msg: Any) -> None:
        site = self._latents.get(msg["name"])
        if site is None:
            return
        flat = self._position[:, site.start : site.stop]
        value = flat.reshape(flat.shape[0], *site.shape)
        if site.is_angle:
            value = wrapped(value)
        elif not site.is_real:
            transform = biject_to(msg["fn"].support)
            unconstrained, value = value, transform(value)
            self.prior = self.prior + _per_example(
                transform.log_abs_det_jacobian(unconstrained, value)
            )
        self.values[site.name] = value
        msg["value"] = value
        msg["done"] = True

    def _pyro_post_sample(self, msg: Any) -> None:
        if isinstance(msg["fn"], _Subsample) or is_deterministic(msg):
            return
        log_prob = msg["fn"].log_prob(msg["value"])
        log_prob = scale_and_mask(log_prob, msg["scale"], msg["mask"])
        if log_prob.shape[:1] != self.prior.shape:
            raise ValueError(
                f"the log density of site {msg['name']!r} must have the example as its first "
                f"dimension, of size {self.prior.shape[0]}, got shape {tuple(log_prob.shape)}"
            )
        if msg["name"] in self._latents:
            self.prior = self.prior + _per_example(log_prob)
        else:
            self.by_site[msg["name"]] = _per_example(log_prob)
            self.likelihood = self.likelihood + self.by_site[msg["name"]]
            self.fns[msg["name"]] = (msg["fn"], msg["scale"], msg["mask"])


class Substitute(Messenger):
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

    def _pyro_hidden_cells(self, msg: Any) -> None:
        msg["value"], msg["done"] = msg["args"][0], True

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self._values:
            msg["value"] = self._values[msg["name"]]
            msg["done"] = True
            transform = biject_to(msg["fn"].support).inv
            self.transforms[msg["name"]] = transform
            self.unconstrained[msg["name"]] = transform(msg["value"])
        elif self._predict and msg["is_observed"] and not is_deterministic(msg):
            msg["value"] = msg["fn"].sample()
            msg["done"] = True
            self.predicted[msg["name"]] = msg["value"]

    def _pyro_post_sample(self, msg: Any) -> None:
        if msg["name"] in self._names:
            self.deterministic[msg["name"]] = msg["value"]


def run(model: Model, data: ExampleData, handler: Messenger) -> None:
    """Run a model under a handler, with Pyro's validation off."""
    with pyro.validation_enabled(False), handler:
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


def _per_example(log_prob: Tensor) -> Tensor:
    return log_prob.reshape(log_prob.shape[0], -1).sum(1) if log_prob.dim() > 1 else log_prob
