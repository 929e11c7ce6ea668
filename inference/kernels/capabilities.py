"""What a kernel can do, found in one place: each function says what holds where it says nothing."""

from typing import Any

from torch import Tensor

from .base import Adapted, HasCost, HasLargestStep, HasMass, HasReplicas, Kernel, State
from .scale import Mass

ASKED = ("state_type", "tuned", "step_size", "target_acceptance", "init", "step")
"""Members of every kernel."""


def mass_of(kernel: Kernel[Any]) -> Mass:
    """Return a kernel's ``mass``: the identity where it has none, or only its replicas have one."""
    if isinstance(kernel, HasMass) and not isinstance(kernel, HasReplicas):
        return kernel.mass
    return "identity"


def largest_step_size(kernel: Kernel[Any]) -> float:
    """Return a kernel's ``max_step_size``, infinite where it has none."""
    return kernel.max_step_size if isinstance(kernel, HasLargestStep) else float("inf")


def gradients_per_step(kernel: Kernel[Any]) -> int:
    """Return a kernel's ``gradients_per_step``, 1 where it has none."""
    return kernel.gradients_per_step if isinstance(kernel, HasCost) else 1


def has_replicas(kernel: Kernel[Any]) -> bool:
    """Return whether a kernel moves replicas, which nothing but its own state keeps."""
    return isinstance(kernel, HasReplicas)


def adapted(kernel: Kernel[Any], state: Any, acceptance_rate: Tensor) -> Adapted:
    """Return what warmup adapts: the kernel and its state, unless it has replicas."""
    if isinstance(kernel, HasReplicas):
        return kernel.adapted(state)
    return Adapted(kernel, state, acceptance_rate)


def with_adapted(kernel: Kernel[Any], state: Any, rows: Any) -> Any:
    """Return the state with what warmup has adapted put in place."""
    return kernel.with_adapted(state, rows) if isinstance(kernel, HasReplicas) else rows


def is_adjusted(kernel: Kernel[Any]) -> bool:
    """Return whether a kernel's states know their energy and gradient."""
    return _states_have(kernel, "energy", "gradient")


def is_tempered(kernel: Kernel[Any]) -> bool:
    """Return whether a kernel's states have a ladder of temperatures."""
    return _states_have(kernel, "beta", "swap_rate")


def _states_have(kernel: Kernel[Any], *names: str) -> bool:
    return all(hasattr(kernel.state_type, name) for name in names)


def tuning_of(kernel: Kernel[Any], state: State) -> dict[str, Tensor]:
    """Return what warmup has adapted: with it ``_replace(**tuning)`` tunes another state."""
    return {name: getattr(state, name) for name in kernel.tuned}


def check_kernel(kernel: Kernel[Any]) -> None:
    """Raise TypeError, before work starts, unless a kernel has all that the library asks of it."""
    if isinstance(kernel, type):
        raise TypeError(f"kernel must be an object such as MALA(), got the class {kernel.__name__}")
    name = type(kernel).__name__
    missing = [member for member in ASKED if not hasattr(kernel, member)]
    if missing:
        raise TypeError(f"kernel must have {missing[0]!r}, which {name} does not have")
    tuned = ["step_size"]
    if mass_of(kernel) != "identity":
        tuned.append("scale")
    missing = [field for field in tuned if field not in kernel.tuned]
    if missing:
        raise TypeError(
            f"kernel adapts its {missing[0]!r}, so its tuned must name it, got {name} with "
            f"{kernel.tuned!r}"
        )
    needed = {*kernel.tuned, *(("energy", "gradient") if len(tuned) > 1 else ())}
    missing = sorted(field for field in needed if not hasattr(kernel.state_type, field))
    if missing:
        raise TypeError(
            f"states of {name} must have {missing[0]!r}, which {kernel.state_type.__name__} does "
            "not have"
        )
    first = kernel.state_type._fields[0]
    if first != "position":
        raise TypeError(f"states of {name} must begin with their position, got {first!r}")


def check_learning_kernel(kernel: Any) -> None:
    """Raise as :func:`check_kernel`, and ValueError for a kernel that the loop cannot adapt."""
    check_kernel(kernel)
    if has_replicas(kernel) and kernel.step_size == "auto":
        raise ValueError(
            "kernel must adapt from visit to visit, and the loop keeps no replicas of a chain: "
            "learn with HMC() and sample with ParallelTempering afterwards, or give it a fixed "
            "step_size"
        )
