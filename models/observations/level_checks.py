"""Checks that go with numbered levels, 0 to K - 1."""

from torch import Tensor

from ..arguments import is_integer


def check_num_levels(name: str, value: int) -> None:
    """Raise ValueError unless an argument is an integer of at least 2."""
    if not is_integer(value) or value < 2:
        raise ValueError(f"{name} must be an integer of at least 2, got {value!r}")


def check_outputs(observation: object, output: Tensor, needed: int) -> None:
    """Raise ValueError unless a network's output ends in as many numbers as a cell needs."""
    if output.dim() < 2 or output.shape[-1] != needed:
        raise ValueError(
            f"{type(observation).__name__} needs {needed} outputs a cell, in the last dimension of "
            f"the network's output, which has shape {tuple(output.shape)}: make a network of "
            "observation.output_shape(shape of one example's data)"
        )
