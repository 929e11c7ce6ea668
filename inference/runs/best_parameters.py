"""θ and what goes with it, as it was at the best epoch so far."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..potentials.trace import Model
from .averaging import ParameterAverage
from .learner import Learner


def learned_tensors(model: Model, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return θ by name, and the rest of an ``nn.Module``'s state."""
    state = {name: parameter.detach() for name, parameter in parameters.items()}
    if isinstance(model, nn.Module):
        state.update(model.state_dict())
    return state


class BestParameters:
    """A copy of a model's state and of its optimizer's.

    Attributes
    ----------
    tensors : dict of Tensor
        θ and buffers by name.
    moments : dict
        The optimizer's state of each parameter: at another θ it would lead astray.
    """

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.moments: dict[Any, Any] = {}

    def keep(self, model: Model, learner: Learner) -> None:
        """Copy the present state."""
        tensors = learned_tensors(model, learner.parameters)
        self.tensors = {name: value.clone() for name, value in tensors.items()}
        self.moments = _copied(learner.optimizer.state_dict()["state"])

    def put_back(self, model: Model, learner: Learner) -> None:
        """Make the copy the present state; rates stay, a mean of the iterates begins anew."""
        with torch.no_grad():
            for name, value in learned_tensors(model, learner.parameters).items():
                if name in self.tensors:
                    value.copy_(self.tensors[name])
        now = learner.optimizer.state_dict()
        learner.optimizer.load_state_dict({**now, "state": _copied(self.moments)})
        learner.average = ParameterAverage()


def _copied(state: Any) -> Any:
    if isinstance(state, Mapping):
        return {key: _copied(value) for key, value in state.items()}
    return state.clone() if isinstance(state, Tensor) else state
