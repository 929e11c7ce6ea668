"""A device that is not there: its tensors lie in the CPU's memory, and torch thinks otherwise.

``model.to("pretended")`` and all that follows go the ways of an accelerator: its tensors have a
device of their own, NumPy cannot see them, and an operation that mixes them with the CPU's is
refused as CUDA refuses it. So what is made on the CPU by mistake is found without a GPU. Each
operation is handed to the CPU's kernel by the fallback of torch's dispatch key for devices from
elsewhere.

    python -m tests.devices.pretended benchmarks.on_device --device pretended --smoke

runs a module with it. It is for a process of its own: torch cannot forget a device again.
"""

import ctypes
import os
import runpy
import sys
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_iter, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend
from torch.utils.dlpack import to_dlpack

NAME = "pretended"
_ELSEWHERE = 12  # DLPack's number of such a device

_POINTER_OF = ctypes.pythonapi.PyCapsule_GetPointer
_POINTER_OF.restype = ctypes.c_void_p
_POINTER_OF.argtypes = [ctypes.py_object, ctypes.c_char_p]

_MEMORY: dict[int, StorageWeakRef] = {}
"""Where the memory of a tensor begins: the CPU's storage that owns it."""

_COPIES = {"aten::_copy_from", "aten::_copy_from_and_resize"}
_NO_NUMBERS = {"aten::cat", "aten::stack", "aten::mm", "aten::addmm", "aten::bmm", "aten::mv"}
_TAKES_INDEX_OF_CPU = {
    "aten::index",
    "aten::index_put",
    "aten::index_put_",
    "aten::_index_put_impl_",
}


def _convolution_backward(grad: Tensor, value: Tensor, weight: Tensor, *settings: Any) -> Any:
    return torch.ops.aten.convolution_backward.default(grad, value, weight, None, *settings)


_convolution_backward._schema = torch.ops.aten.convolution_backward_overrideable.default._schema

_NAMED_FOR_OTHERS = {
    "convolution_overrideable": torch.ops.aten.convolution.default,
    "convolution_backward_overrideable": _convolution_backward,
}
"""What torch leaves to devices from elsewhere, and the operations that do it."""


class _Header(ctypes.Structure):
    """The beginning of DLPack's description of a tensor."""

    _fields_ = [("data", ctypes.c_void_p), ("device_type", ctypes.c_int32)]


def _seen_elsewhere(raw: Tensor) -> Tensor:
    """Return a tensor of the pretended device that shares a CPU tensor's memory."""
    raw = raw.resolve_conj().resolve_neg()
    capsule = to_dlpack(raw)
    _Header.from_address(_POINTER_OF(capsule, b"dltensor")).device_type = _ELSEWHERE
    made = torch._C._from_dlpack(capsule)
    if made.numel():
        storage = raw.untyped_storage()
        assert made.data_ptr() == raw.data_ptr()
        _MEMORY[made.data_ptr()] = StorageWeakRef(storage)
    return made


def _seen_here(tensor: Tensor) -> Tensor:
    """Return the CPU tensor that shares the memory of one of the pretended device."""
    place = tensor.untyped_storage(), tensor.storage_offset(), tensor.shape, tensor.stride()
    return _of_storage(tensor.dtype, *place)


def _of_storage(
    dtype: torch.dtype,
    storage: torch.UntypedStorage,
    offset: int = 0,
    size: Any = None,
    stride: Any = (),
) -> Tensor:
    """Return a CPU tensor that shares the memory of a storage of the pretended device."""
    empty = torch.empty(0, dtype=dtype)
    if not storage.nbytes():
        return empty if size is None else torch.empty_strided(size, stride, dtype=dtype)
    owner = torch.UntypedStorage._new_with_weak_ptr(_MEMORY[storage.data_ptr()].cdata)
    width = empty.element_size()
    begin = (storage.data_ptr() - owner.data_ptr()) // width
    if size is None:
        size, stride = (storage.nbytes() // width,), (1,)
    return empty.set_(owner, begin + offset, size, stride)


def _is_elsewhere(value: Any) -> bool:
    return isinstance(value, Tensor) and value.device.type == NAME


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, complex))


def _check(name: str, values: list[Any]) -> None:
    """Refuse what CUDA refuses: tensors of two devices, but for numbers and for indices."""
    if name in _COPIES:
        return
    if name in _TAKES_INDEX_OF_CPU:
        values = [values[0], *(v for v in values[1:] if v.is_floating_point())]
        if not _is_elsewhere(values[0]):
            raise RuntimeError(f"{name}: indices on {NAME} for a tensor on the CPU")
    for value in values:
        if not _is_elsewhere(value) and (value.dim() or name in _NO_NUMBERS):
            raise RuntimeError(
                f"Expected all tensors to be on the same device: {name} was given one of shape "
                f"{tuple(value.shape)} on {value.device} beside one on {NAME}"
            )


def _fallback(op: Any, *args: Any, **kwargs: Any) -> Any:
    name = op._schema.name
    given = [v for v in tree_iter((args, kwargs)) if isinstance(v, Tensor)]
    if name == "aten::set_" and isinstance(args[1], torch.UntypedStorage):
        args[0].data = _seen_elsewhere(_of_storage(args[0].dtype, *args[1:]))
        return args[0]
    if any(_is_elsewhere(value) for value in given):
        _check(name, given)
    raws: list[Tensor] = []
    tensors: list[Tensor] = []

    def here(value: Any) -> Any:
        if isinstance(value, torch.device):
            return torch.device("cpu")
        if not _is_elsewhere(value):
            return value
        raws.append(_seen_here(value))
        tensors.append(value)
        return raws[-1]

    def elsewhere(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        same = (tensor for raw, tensor in zip(raws, tensors, strict=True) if raw is value)
        found = next(same, None)
        return _seen_elsewhere(value) if found is None else found

    args_here, kwargs_here = tree_map(here, (args, kwargs))
    if name in _COPIES:
        args_here[1].copy_(args_here[0])
        return args[1]
    args_here = tuple(
        torch.tensor(value)
        if isinstance(wanted.type, torch.TensorType) and _is_number(value)
        else value
        for wanted, value in zip(op._schema.arguments, args_here, strict=False)
    )
    if name == "aten::as_strided" and len(args) > 3 and args[3] is not None:
        # Where a view begins is counted from where its own memory does.
        moved = args_here[0].storage_offset() - args[0].storage_offset()
        args_here = (*args_here[:3], args_here[3] + moved)
    result = op(*args_here, **kwargs_here)
    for raw, tensor in zip(raws, tensors, strict=True):
        if raw.shape != tensor.shape:  # an operation's out=, which was empty
            tensor.data = _seen_elsewhere(raw)
    return tree_map(elsewhere, result)


class _Module:
    """What torch asks of a device as a whole; its random numbers are drawn by the CPU's state."""

    def is_available(self) -> bool:
        return True

    is_initialized = is_available

    def current_device(self) -> int:
        return 0

    def device_count(self) -> int:
        return 1

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        """Nothing: the CPU's state is seeded beside."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]

    def get_rng_state(self, device: Any = None) -> Tensor:
        return torch.zeros(0, dtype=torch.uint8)

    def set_rng_state(self, state: Tensor, device: Any = None) -> None:
        """Nothing, as above."""


class _Generator(torch.Generator):
    """One whose numbers are those of the CPU's, for the pretended device too."""

    def __new__(cls, device: Any = "cpu") -> "_Generator":
        here = "cpu" if torch.device(device).type == NAME else device
        return super().__new__(cls, here)


def register() -> torch.device:
    """Make the device known to torch, and return it."""
    _setup_privateuseone_for_python_backend(NAME, _Module())
    library = torch.library.Library("_", "IMPL")
    library.fallback(_fallback, "PrivateUse1")
    of_torch = torch.library.Library("aten", "IMPL")
    for name, op in _NAMED_FOR_OTHERS.items():
        of_torch.impl(name, partial(_fallback, op), "PrivateUse1")
    _LIBRARIES.extend([library, of_torch])
    # Torch would ask the device for memory, as deepcopy does.
    clone = torch.UntypedStorage.clone

    def cloned(storage: torch.UntypedStorage) -> torch.UntypedStorage:
        if storage.device.type != NAME:
            return clone(storage)
        return _seen_elsewhere(_of_storage(torch.uint8, storage).clone()).untyped_storage()

    torch.UntypedStorage.clone = cloned
    # Under a tracer torch cannot make them on a device whose operations are Python's.
    made = torch.tensor

    def tensor(data: Any, *, device: Any = None, **more: Any) -> Tensor:
        return made(data, **more).to(device)

    def new_tensor(self: Tensor, data: Any, *, device: Any = None, **more: Any) -> Tensor:
        more.setdefault("dtype", self.dtype)
        return made(data, **more).to(device or self.device)

    torch.tensor, Tensor.new_tensor = tensor, new_tensor
    torch.Generator = _Generator
    return torch.device(NAME)


_LIBRARIES: list[torch.library.Library] = []


def leave(code: int) -> None:
    """End the process without torch's teardown, which may abort: it has a thread for the device."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    register()
    del sys.argv[0]
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        leave(int(end.code or 0))
    leave(0)
