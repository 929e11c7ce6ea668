"""Captured graphs compiled to machine code by TorchInductor."""

import dataclasses
import threading
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from .agreement import OTHER_ARITHMETIC, agree, mostly_agree
from .graph import Function, Graph
from .products import for_inductor

_COMPILING = threading.Event()


def is_compiling() -> bool:
    """Return whether a graph is being compiled, which takes many seconds."""
    return _COMPILING.is_set()


class CompilationWarning(UserWarning):
    """A graph cannot be compiled, so its operations run one by one."""


def compiled(graph: Graph, varying: Sequence[Tensor], sources: Sequence[Tensor]) -> Graph:
    """Return the graph with both of its parts compiled, for inputs of these shapes and strides.

    Torch keeps what it has compiled on disk, so that the next process need not do it again.

    Parameters
    ----------
    graph : Graph
        What is compiled.
    varying : sequence of Tensor
        Arguments of its evaluation.
    sources : sequence of Tensor
        Arguments of what is prepared for it.

    Raises
    ------
    RuntimeError
        If it cannot be compiled, or gives other numbers then.
    """
    with torch.no_grad():
        prepare = _compiled(graph.preparation, sources)
        prepared = prepare(*sources)
        # With the strides that the compiled part gives.
        inputs = [*varying, *prepared]
        evaluate = _compiled(graph.module, inputs)
        if not agree(prepared, graph.prepare(*sources)):
            raise RuntimeError("compiled, its constants are other numbers")
        if not mostly_agree(evaluate(*inputs), graph.evaluate(*inputs), OTHER_ARITHMETIC):
            raise RuntimeError("compiled, it gives other numbers")
    return dataclasses.replace(graph, prepare=prepare, evaluate=evaluate)


def _compiled(module: fx.GraphModule, inputs: Sequence[Tensor]) -> Function:
    # torch.compile would check at every call what is known here to hold: a tenth of a small step.
    import torch._inductor

    if not any(node.op == "call_function" for node in module.graph.nodes):
        return module.forward
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _COMPILING.set()
        try:
            # Shapes and strides are part of what a graph is found by: no need to check them again.
            function: Function = torch._inductor.compile(
                for_inductor(module), list[Any](inputs), options={"size_asserts": False}
            )
            function(*inputs)
        except Exception as error:  # whatever a compiler and its tool chain do
            lines = str(error).strip().splitlines() or [""]
            raise RuntimeError(f"{type(error).__name__}: {lines[0]}") from error
        finally:
            _COMPILING.clear()
    return function
