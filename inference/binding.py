"""A Pyro model and its data as a potential energy."""

from collections.abc import Mapping
from typing import Any, Literal

from .potentials.data import ExampleData
from .potentials.evaluation import PLAIN, Evaluator
from .potentials.gradients import gradients
from .potentials.joint import is_global, read_joint
from .potentials.keywords import keywords
from .potentials.potential import Potential, dtype_and_device, validate
from .potentials.threads import one_at_a_time
from .potentials.trace import Model, read_layout
from .speed import CapturingEvaluator

Shared = Literal["sample"]


@one_at_a_time
@gradients
def bind(
    model: Model,
    *data: Any,
    mask: Any = None,
    context: Any = None,
    example_plate: str | None = None,
    shared: Shared | None = None,
    compile: bool = False,
    capture: bool | None = None,
    **more: Any,
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
    shared : "sample", optional
        Take the whole model as one example, as :func:`sample_posterior` does: the potential has
        n = 1, ``potential.repeated(c)`` is that of c chains.
    compile : bool, default False
        Compile steps of a kernel, and energies that are evaluated often, by TorchInductor: seconds
        for each shape.
    capture : bool, optional
        Whether energies are evaluated by a graph of tensor operations that is captured from the
        model, which saves Pyro's handlers. By default after some evaluations, and only for models
        made of torch's and this library's own modules: whatever changes in those is seen. With
        True at once and for any model; then a change of something that the model reads elsewhere
        (a global, a closure's variable, a class attribute, an array) is seen only when the graph is
        next compared with the model, every 256 evaluations. With False never.
    **more
        Further keyword arguments that the model takes; tensors among them lead with the example.

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
    evaluator: Evaluator = PLAIN
    if capture is not False:
        trusted = bool(capture) or compile
        evaluator = CapturingEvaluator(model, compiles=compile, looks=True, trusted=trusted)
    named = keywords("bind", model, mask, context, more)
    return bound_to(model, data, named, evaluator, example_plate, shared)


def bound_to(
    model: Model,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    evaluator: Evaluator,
    example_plate: str | None = None,
    shared: Shared | None = None,
    finds: bool = False,
) -> Potential:
    """Return the potential of a model and its arguments, evaluated by an evaluator.

    With ``finds`` a model that has no latent in a plate is one example, as if ``shared`` said so.

    Raises
    ------
    ValueError
        As :func:`bind`.
    """
    if shared not in (None, "sample"):
        raise ValueError(f'shared must be "sample" or left out, got {shared!r}')
    if shared is not None and example_plate is not None:
        raise ValueError(
            f"example_plate={example_plate!r} must be left out with shared={shared!r}, which takes "
            "the whole model as one example"
        )
    data = ExampleData.shared(args, dict(kwargs), *dtype_and_device(model))
    if shared is None:
        try:
            examples = data.by_example()
            validate(model, examples)
            layout = read_layout(model, examples, example_plate)
            return Potential(model, examples, layout, evaluator=evaluator)
        except ValueError:
            if not finds or example_plate is not None or not is_global(model, data):
                raise
    validate(model, data)
    return Potential(model, data, read_joint(model, data), evaluator=evaluator)
