"""What must hold of a model's sites and plates, and the words for what does not."""

import re
from typing import Any

import torch
from torch.distributions import constraints


def of_plate(error: ValueError, num_examples: int) -> ValueError:
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


def find_plate(sites: list[dict[str, Any]], num_examples: int, name: str | None) -> str:
    """Return the name of the plate over examples, or raise ValueError."""
    frames = {frame.name: frame for site in sites for frame in site["cond_indep_stack"]}
    if name is not None and name not in frames:
        raise ValueError(
            f"example_plate must name a plate of the model, got {name!r}; it has {sorted(frames)}"
        )
    if not frames:
        raise ValueError(
            "the model has no plate over examples: put its sample sites under "
            'with pyro.plate("examples", len(y)):, or take the whole model as one example: '
            'shared="sample" of bind and sample_posterior'
        )
    if name is None:
        fitting = [n for n, frame in frames.items() if frame.full_size == num_examples]
        if len(frames) == 1:
            fitting = list(frames)
        if len(fitting) != 1:
            raise ValueError(
                f"example_plate must say which plate holds the {num_examples} examples; the model "
                f"has the plates { {n: frame.full_size for n, frame in frames.items()} }. If none "
                'does, sample_posterior(..., shared="sample") takes the whole model as one example'
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
            "examples: its size must be that of the data's first dimension, unless the whole model "
            'is one example: sample_posterior(..., shared="sample")'
        )
    return name


def check_site(site: dict[str, Any], plate: str) -> None:
    """Raise ValueError unless a site is the examples' own, continuous, and of its plates' shape."""
    name, fn = site["name"], site["fn"]
    frames = {frame.name: frame for frame in site["cond_indep_stack"]}
    if plate not in frames:
        kind = "observed" if site["is_observed"] else "latent"
        remedy = (
            "observe it inside the plate"
            if site["is_observed"]
            else "make what all examples share a pyro.param, or move the site into the plate"
        )
        raise ValueError(
            f"the {kind} site {name!r} lies outside plate {plate!r}: {remedy}; "
            'sample_posterior(..., shared="sample") samples all sites jointly, the whole model as '
            "one example"
        )
    check_continuous(site)
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


def check_continuous(site: dict[str, Any]) -> None:
    """Raise ValueError if a site is latent and discrete."""
    if site["is_observed"] or not _is_discrete(site["fn"].support):
        return
    hidden = site["name"].endswith("_unobserved")
    raise ValueError(
        f"the latent site {site['name']!r} is discrete ({type(site['fn']).__name__}), and a "
        "gradient-based chain cannot move it: sum it out in the observation, or use a continuous "
        "relaxation"
        + ("; hidden observations are left out by poutine.mask, not obs_mask" if hidden else "")
    )


def _base(support: constraints.Constraint) -> constraints.Constraint:
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return support


def is_real(support: constraints.Constraint) -> bool:
    """Return whether a support is the whole space."""
    base = _base(support)
    return base is constraints.real or base is constraints.real_vector


def _is_discrete(support: constraints.Constraint) -> bool:
    return bool(_base(support).is_discrete)
