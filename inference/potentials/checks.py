"""What must hold before work starts: counts, no coupled examples, an optimizer with every θ."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .potential import Potential
from .trace import evaluation_mode, seeded


def check_uncoupled(potential: Potential, position: Float[Tensor, "n d"]) -> None:
    """Raise ValueError if an example's energy depends on its batch mates.

    The energies of the examples in the whole batch must equal those in two halves of it, drawn at
    random and in another order, so that whichever rows depend on each other are torn apart; else
    the gradient of the summed energy is not each example's own.
    """
    n = potential.num_examples
    if n < 2:
        return
    order = torch.randperm(n, generator=torch.Generator().manual_seed(n)).to(position.device)
    alone = torch.empty_like(position[:, 0])
    with torch.no_grad(), seeded(0), evaluation_mode(potential.model):
        whole = potential.energy(position)
        for half in order.split((n + 1) // 2):
            alone[half] = potential.rows(half).energy(position[half])
    # Rounding differs between batch sizes; a coupling changes energies by far more.
    apart = whole.isfinite() & ~((whole - alone).abs() <= 1e-3 * (1 + whole.abs()))
    if bool(apart.any()):
        row = int(torch.nonzero(apart)[0])
        raise ValueError(
            f"the model couples examples: example {row} of the batch has energy "
            f"{float(whole[row]):.6g} among {n} examples and {float(alone[row]):.6g} among "
            f"{(n + 1) // 2} of them.{_suspects(potential.model)} Every example must be modelled "
            "by itself: batch normalisation needs running statistics and evaluation mode in "
            "inference, which an nn.Module gets by itself, a module inside a function only by "
            ".eval(); layers for sequences must be told that the example comes first "
            "(batch_first=True)"
        )


def _suspects(model: Any) -> str:
    if not isinstance(model, nn.Module):
        return ""
    parts = list(model.named_modules())
    norms = nn.modules.batchnorm._NormBase
    names = [n for n, part in parts if isinstance(part, norms) and part.running_mean is None]
    said = f" {names} keep no running statistics." if names else ""
    kinds = (nn.RNNBase, nn.MultiheadAttention, nn.TransformerEncoderLayer)
    along = [n for n, part in parts if isinstance(part, kinds) and not _batch_first(part)]
    return said + (f" {along} have batch_first=False." if along else "")


def _batch_first(part: Any) -> bool:
    return bool(getattr(getattr(part, "self_attn", part), "batch_first", True))


@torch.no_grad()
def needs_several(potential: Potential, position: Float[Tensor, "n d"], num_rows: int) -> bool:
    """Return whether batch normalisation in training mode cannot learn from so few rows.

    Its running statistics are afterwards what they were.
    """
    model: Any = potential.model
    kinds = nn.modules.batchnorm._BatchNorm
    if not isinstance(model, nn.Module):
        return False
    norms = [part for part in model.modules() if isinstance(part, kinds) and part.training]
    if not norms:
        return False
    kept = [(value, value.clone()) for part in norms for value in part.buffers()]
    rows = torch.zeros(num_rows, dtype=torch.int64, device=position.device)
    try:
        with seeded(0):
            potential.rows(rows).loss(position[rows])
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        return True
    finally:
        for value, before in kept:
            value.copy_(before)
    return False


def check_parameters(loss: Float[Tensor, ""], parameters: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless the loss depends on parameters, all of them known by name."""
    leaves = leaves_of(loss)
    names = {id(parameter) for parameter in parameters.values()}
    unnamed = [tuple(leaf.shape) for leaf in leaves if id(leaf) not in names]
    if unnamed:
        raise ValueError(
            f"the model uses parameters of shape {unnamed} that have no name: register their "
            'module in the model by pyro.module("network", network), or make the model an '
            "nn.Module that holds it"
        )
    if not leaves:
        raise ValueError(
            "the model has no parameter to learn: its loss depends on no nn.Parameter or "
            "pyro.param that requires a gradient"
        )


def check_optimizer(
    loss: Float[Tensor, ""], parameters: Mapping[str, Tensor], optimizer: torch.optim.Optimizer
) -> None:
    """Raise ValueError, with their names, unless it holds all parameters the loss depends on."""
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    needed = {id(leaf) for leaf in leaves_of(loss)}
    lacking = [n for n, p in parameters.items() if id(p) in needed and id(p) not in held]
    if lacking:
        raise ValueError(
            f"optimizer does not hold the parameters {lacking}, which the model uses: give it all "
            "of model.parameters(), or for a model with pyro.param a callable such as "
            "lambda params: torch.optim.Adam(params, lr=1e-3); what is not to be learned gets "
            "requires_grad_(False)"
        )


def leaves_of(loss: Tensor) -> list[Tensor]:
    """Return the leaf tensors that a value's gradient reaches."""
    found: dict[int, Tensor] = {}
    seen: set[Any] = set()
    pending = [loss.grad_fn]
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found[id(node.variable)] = node.variable
        pending.extend(following for following, _ in node.next_functions)
    return list(found.values())
