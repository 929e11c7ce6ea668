"""A Pyro model and its data as a potential energy."""

from typing import Any

from .potentials.data import ExampleData
from .potentials.potential import Potential, dtype_and_device, validate
from .potentials.trace import Model, read_layout
from .speed.captures import Captures


def bind(
    model: Model,
    *data: Any,
    mask: Any = None,
    context: Any = None,
    example_plate: str | None = None,
    compile: bool = False,
) -> Potential:
    """Bind a Pyro model to data and return the potential energy of its latents.

    Parameters
    ----------
    model : callable
        Any Pyro model with one plate over examples and continuous latents in it.
    *data : Tensor or array
        The model's arguments, each leading with the example.
    mask, context : optional
        Handed to the model as keyword arguments where given.
    example_plate : str, optional
        Name of the plate over examples; may be left out where only one plate has their number.
    compile : bool, default False
        Compile steps of a kernel, and energies that are evaluated often, by TorchInductor: seconds
        for each shape.

    Returns
    -------
    Potential

    Raises
    ------
    ValueError
        If the model or the data do not fit; the message names the site or the argument.

    Examples
    --------
    >>> import torch
    >>> from explainaway.inference import bind
    >>> from explainaway.models import GeneratorModel, Gaussian, Normal, mlp
    >>> model = GeneratorModel(Normal(2), mlp(2, shape=(5,)), Gaussian(scale=0.3))
    >>> energy, gradient = bind(model, torch.zeros(3, 5))(torch.zeros(3, 2))
    >>> energy.shape, gradient.shape
    (torch.Size([3]), torch.Size([3, 2]))
    """
    dtype, device = dtype_and_device(model)
    examples = ExampleData.of(data, {"mask": mask, "context": context}, dtype, device)
    validate(model, examples)
    layout = read_layout(model, examples, example_plate)
    return Potential(model, examples, layout, captures=Captures(compile))
