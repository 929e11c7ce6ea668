"""Adam whose rate is relative to the size of what it moves."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class RelativeAdam(torch.optim.Optimizer):
    """Adam with steps that are a share of each tensor's root mean square.

    A step moves a component by about ``lr * max(rms(θ), floor)``, rms over the components of its
    tensor. So one ``lr`` suits tensors of every size, small networks and large ones, where Adam's
    own is an absolute length: 1e-3 takes a thousand steps for a weight of one, and is a leap for a
    convolution's weights of .01.

    Parameters
    ----------
    params : iterable of Tensor or dict
        As of every torch optimizer.
    lr : float, default 0.05
        Share of its size by which a tensor moves in a step.
    betas : (float, float), default (0.9, 0.999)
        Decay of the running means of gradients and of their squares.
    eps : float, default 1e-8
        Added to the root of the latter.
    floor : (float, float), default (1e-3, 0.1)
        Smallest size that is reckoned with, of tensors with two dimensions and more (weights) and
        of others (biases, logarithms of scales), which may begin at zero.

    Raises
    ------
    ValueError
        If a number is not positive, or a beta is not below one.

    References
    ----------
    Kingma & Ba, "Adam: a method for stochastic optimization" (2015). Relative steps as in Shazeer &
    Stern, "Adafactor: adaptive learning rates with sublinear memory cost" (2018), section 8.

    Examples
    --------
    >>> import torch
    >>> weight = torch.full((2, 2), 100.0, requires_grad=True)
    >>> optimizer = RelativeAdam([weight], lr=0.01)
    >>> weight.sum().backward()
    >>> optimizer.step()
    >>> weight[0, 0].item()
    99.0
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.05,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        floor: tuple[float, float] = (1e-3, 0.1),
    ) -> None:
        for name, value in (
            ("lr", lr),
            ("eps", eps),
            ("floor[0]", floor[0]),
            ("floor[1]", floor[1]),
        ):
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value!r}")
        for beta in betas:
            if not 0 <= beta < 1:
                raise ValueError(f"betas must be at least 0 and below 1, got {betas!r}")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "floor": floor})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step; a closure is evaluated before it, with gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            held = [p for p in group["params"] if p.grad is not None]
            if held:
                self._move(held, **{name: group[name] for name in ("lr", "betas", "eps", "floor")})
        return loss

    def _move(
        self,
        held: list[Tensor],
        lr: float,
        betas: tuple[float, float],
        eps: float,
        floor: tuple[float, float],
    ) -> None:
        states = [self._state_of(p) for p in held]
        for state in states:
            state["step"] += 1
        params, gradients = [as_real(p) for p in held], [as_real(p.grad) for p in held]
        means = [as_real(state["exp_avg"]) for state in states]
        squares = [as_real(state["exp_avg_sq"]) for state in states]
        torch._foreach_lerp_(means, gradients, 1 - betas[0])
        torch._foreach_mul_(squares, betas[1])
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - betas[1])
        roots = torch._foreach_sqrt(squares)
        steps = [float(state["step"]) for state in states]
        corrections = [(1 - betas[1] ** number) ** 0.5 for number in steps]
        torch._foreach_div_(roots, corrections)
        torch._foreach_add_(roots, eps)
        moves = torch._foreach_div(means, roots)
        norms = torch._foreach_norm(params)
        sizes = [
            (norm / p.numel() ** 0.5).clamp(min=floor[0] if p.dim() > 1 else floor[1])
            for norm, p in zip(norms, held, strict=True)
        ]
        rates = [-lr / (1 - betas[0] ** number) for number in steps]
        torch._foreach_mul_(sizes, rates)
        torch._foreach_mul_(moves, sizes)
        torch._foreach_add_(params, moves)

    def _state_of(self, parameter: Tensor) -> dict[str, Any]:
        state: dict[str, Any] = self.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        return state


def as_real(value: Any) -> Tensor:
    """Return a complex tensor as real and imaginary parts, a view; a real one as it is."""
    found: Tensor = torch.view_as_real(value) if torch.is_complex(value) else value
    return found
