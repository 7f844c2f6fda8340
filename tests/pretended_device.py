"""A CUDA device that is only pretended: what is computed on it is computed on the CPU, and mistakes are errors.

Tensors stay CPU tensors; a place, "cuda", is written on the storages of those that stand for tensors of the device, and
`Tensor.device` reports it. A TorchFunctionMode sees what names a device (`.to`, factories, generators, numpy), a
TorchDispatchMode every operation, those of the backward pass too, and refuses what CUDA refuses. (FakeTensorMode has no
backward pass for CUDA without a GPU.)
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import one_hot
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

import tangency

DEVICE = torch.device("cuda:0")
CPU, CUDA, FREE = "cpu", "cuda", "free"  # free: made within torch itself, which would have chosen the device
_PACKAGE = str(Path(tangency.__file__).parent)
_OWN_CPU_KERNELS = ("for_cpu", "mkldnn", "_cpu")  # of operations that have another name on CUDA
# Operations on tensors of two devices that CUDA allows, and those that take a CPU tensor as an index.
_COPIES = {"copy_", "_foreach_copy_"}
_INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}
# Beside pointwise operations, those that take a CPU tensor without dimensions as a number.
_SCALARS = {"where", "masked_fill", "masked_fill_", "index_fill", "index_fill_", "lerp", "lerp_"}
_PRODUCTS = {"mm", "bmm", "addmm", "baddbmm", "mv", "addmv", "dot", "vdot", "convolution"}  # no CUDA kernel of integers
_LIKE = ("_like", "new_")


class DeviceMistake(BaseException):
    """What CUDA would refuse; no `except Exception` of the package hides it."""


def place(tensor: Tensor) -> str:
    """ "cpu", "cuda", or "free" for what torch made itself; another type of device where the tensor is of that."""
    with torch._C.DisableTorchFunction():
        while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
            tensor = torch._C._functorch.get_unwrapped(tensor)
        if tensor.device.type != CPU or tensor.layout != torch.strided:
            return tensor.device.type
        return getattr(tensor.untyped_storage(), "place", CPU)


def put(tensor: Tensor, where: str) -> None:
    """Write a place on the storage of a tensor."""
    with torch._C.DisableTorchFunction():
        while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
            tensor = torch._C._functorch.get_unwrapped(tensor)
        if tensor.device.type == CPU and tensor.layout == torch.strided:
            tensor.untyped_storage().place = where  # type: ignore[attr-defined]


class _Move(Function):
    """A copy at another place, whose gradient goes back."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, where: str) -> Tensor:
        moved = x.clone()
        put(moved, where)
        return moved

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, str], output: Tensor) -> None:
        ctx.home = place(inputs[0])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return _Move.apply(gradient, ctx.home), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:  # type: ignore[override]
        return tangent.clone()


def _tensors(values: object) -> list[Tensor]:
    return [value for value in tree_iter(values) if isinstance(value, Tensor)]


def _source() -> str:
    """The innermost line of the package that is being run."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.startswith(_PACKAGE):
            name = Path(frame.f_code.co_filename).relative_to(_PACKAGE).as_posix()
            return f"{name}:{frame.f_code.co_qualname}"
        frame = frame.f_back  # type: ignore[assignment]
    return "outside"


class PretendedCuda(TorchFunctionMode):
    """Within it "cuda" is a device; `transfers` counts what went over, by (kind, function of the package).

    Kinds: "to cuda", "to cpu" (asked for), "wait" (one number read: `.item()`, `float`, `bool`) and "hidden" (a CPU
    index of a tensor on the device).
    """

    def __init__(self) -> None:
        super().__init__()
        self.transfers: Counter[tuple[str, str]] = Counter()
        self.pinned = 0  # tensors that were copied to page-locked memory
        self._operations = _Operations(self.transfers)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> PretendedCuda:
        self._stack.enter_context(_pretended_functions())
        self._stack.enter_context(self._operations)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._stack.close()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        own = dict(kwargs or {})
        if (answer := _ANSWERS.get(func)) is not None:
            return answer(self, func, args, own)
        if "device" in own:
            return self._made(func, args, own)
        return self._settled(func(*args, **own), args, own)

    def _settled(self, result: Any, args: Any, own: Mapping[str, Any]) -> Any:
        """What torch made itself is where the arguments are."""
        free = [t for t in _tensors(result) if place(t) == FREE]
        if free:
            home = CUDA if any(place(t) == CUDA for t in _tensors((args, own))) else CPU
            for tensor in free:
                put(tensor, home)
        _check_generator(result, own.get("generator"))
        return result

    def _made(self, func: Any, args: Any, own: dict[str, Any]) -> Any:
        """The result of a function that was given a device."""
        where = own["device"] if own["device"] is None else _type(own["device"])
        if where not in (None, CPU, CUDA):
            return func(*args, **own)
        if where is None and not func.__name__.endswith(_LIKE[0]) and not func.__name__.startswith(_LIKE[1]):
            where = CPU if not _tensors(args) else None
        own["device"] = None if own["device"] is None else CPU
        if func.__name__ in ("as_tensor", "asarray", "tensor") and isinstance(args[0], Tensor):
            del own["device"]
            return self.move(func(*args, **own), where or place(args[0]))
        result = func(*args, **own)
        for tensor in _tensors(result) if where else ():
            put(tensor, where)
        return self._settled(result, args, own)

    def move(self, tensor: Tensor, where: str) -> Tensor:
        """The tensor at a place: itself, or a copy."""
        home = place(tensor)
        if where == home:
            return tensor
        if home == FREE:
            put(tensor, where)
            return tensor
        self.transfers[f"to {where}", _source()] += 1
        moved: Tensor = _Move.apply(tensor, where)
        return moved

    def to(self, func: Any, args: Any, own: dict[str, Any]) -> Any:
        """`Tensor.to` in all its forms."""
        given, tensor, (first, second, *_) = dict(own), args[0], (*args[1:], None, None)
        where, other = own.pop("device", None), own.pop("other", None)
        if isinstance(first, Tensor):
            other = first
        elif isinstance(first, torch.dtype):
            own["dtype"] = first
        elif first is not None:
            where, own["dtype"] = first, own.get("dtype", second if isinstance(second, torch.dtype) else None)
        if other is not None:
            where, own["dtype"] = place(other), other.dtype
        kind = None if where is None else _type(where)
        if kind not in (None, CPU, CUDA):
            return func(*args, **given)
        own.pop("non_blocking", None)
        changed = tensor.to(**{name: value for name, value in own.items() if value is not None}) if own else tensor
        return changed if kind is None else self.move(changed, kind)

    def read(self, func: Any, args: Any, own: dict[str, Any]) -> Any:
        """`Tensor.numpy` and what calls it."""
        if place(args[0]) == CUDA:
            raise DeviceMistake("can't convert cuda:0 device type tensor to numpy; use Tensor.cpu() first")
        return func(*args, **own)

    def uncounted(self, func: Any, args: Any, own: dict[str, Any]) -> Any:
        """A function that looks at numbers on a CPU, and not on CUDA."""
        kept = self.transfers.copy()
        result = self._settled(func(*args, **own), args, own)
        self.transfers.clear()
        self.transfers.update(kept)
        return result

    def listed(self, func: Any, args: Any, own: dict[str, Any]) -> Any:
        """`Tensor.tolist`, which copies to the CPU."""
        if place(args[0]) == CUDA:
            self.transfers["wait", _source()] += 1
        return func(*args, **own)

    def copied(self, func: Any, args: Any, own: dict[str, Any]) -> Any:
        """`copy.deepcopy` of a tensor."""
        result = func(*args, **own)
        put(result, place(args[0]))
        return result

    def with_gradient(self, func: Any, args: Any, own: dict[str, Any]) -> Any:
        """`tensor.grad = …`."""
        tensor, gradient = args
        if isinstance(gradient, Tensor) and {place(tensor), place(gradient)} == {CPU, CUDA}:
            raise DeviceMistake("assigned grad has data located on a different device")
        return func(*args, **own)

    def pin(self, tensor: Tensor) -> Tensor:
        """`Tensor.pin_memory`."""
        if place(tensor) != CPU:
            raise DeviceMistake("cannot pin 'torch.cuda.FloatTensor': only dense CPU tensors can be pinned")
        self.pinned += 1
        return tensor.clone()


def _type(device: Any) -> str:
    if type(device) is int:
        return CUDA
    return str(device) if str(device) in (CPU, CUDA) else torch.device(device).type


_ANSWERS: dict[Any, Any] = {
    Tensor.to: PretendedCuda.to,
    Tensor.cpu: lambda mode, _, args, own: mode.move(args[0], CPU),
    Tensor.cuda: lambda mode, _, args, own: mode.move(args[0], CUDA),
    Tensor.device.__get__: lambda mode, func, args, own: DEVICE if place(args[0]) == CUDA else func(*args),
    Tensor.is_cuda.__get__: lambda mode, func, args, own: place(args[0]) == CUDA,
    Tensor.is_cpu.__get__: lambda mode, func, args, own: place(args[0]) == CPU,
    Tensor.get_device: lambda mode, func, args, own: 0 if place(args[0]) == CUDA else -1,
    Tensor.numpy: PretendedCuda.read,
    Tensor.__array__: PretendedCuda.read,
    Tensor.tolist: PretendedCuda.listed,
    one_hot: PretendedCuda.uncounted,
    Tensor.__deepcopy__: PretendedCuda.copied,
    Tensor.grad.__set__: PretendedCuda.with_gradient,
    Tensor.pin_memory: lambda mode, func, args, own: mode.pin(args[0]),
}


def _check_generator(result: object, generator: torch.Generator | None) -> None:
    if generator is not None and any(place(t) == CUDA for t in _tensors(result)):
        raise DeviceMistake("Expected a 'cuda' device type for generator but found 'cpu'")


class _Operations(TorchDispatchMode):
    """Every operation: refuses tensors of two places, and what has no kernel on CUDA; writes the place of results."""

    def __init__(self, transfers: Counter[tuple[str, str]]) -> None:
        super().__init__()
        self.transfers = transfers

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        own = dict(kwargs or {})
        where = self._checked(func, args, own)
        if where == CUDA:
            _check_kernel(func, _tensors((args, own)), own)
        result = func(*args, **own)
        returned = result if len(func._schema.returns) > 1 else (result,)
        for value, returns in zip(returned, func._schema.returns, strict=False):
            if returns.alias_info is None:
                for tensor in _tensors(value):
                    put(tensor, where)
        if where == CUDA:
            _check_generator(result, own.get("generator"))
        return result

    def _checked(self, func: Any, args: Any, own: Mapping[str, Any]) -> str:
        """The place of the operation."""
        name, values = func.overloadpacket.__name__, _tensors((args, own))
        places = [place(value) for value in values]
        if CUDA not in places:
            return CPU if CPU in places else FREE if set(places) <= {FREE} else places[0]
        if name == "_local_scalar_dense":
            self.transfers["wait", _source()] += 1
        if CPU not in places:
            return CUDA
        if name in _COPIES:
            self.transfers[f"to {places[0]}", _source()] += 1
            return places[0]
        if name in _INDEXED:
            return self._indexed(name, args)
        numbers = torch.Tag.pointwise in func.tags or name in _SCALARS or name.startswith("_foreach_")
        changed = func._schema.is_mutable
        for number, (value, here) in enumerate(zip(values, places, strict=True)):
            if here == CPU and not (numbers and value.dim() == 0 and not (changed and number == 0)):
                raise _mixed(name, values, places)
        return CUDA

    def _indexed(self, name: str, args: Any) -> str:
        home = place(args[0])
        indices = [place(index) for index in args[1] if index is not None]
        if home != CUDA and CUDA in indices:
            raise DeviceMistake("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
        if home == CUDA and CPU in indices:
            self.transfers["hidden", _source()] += 1
        if len(args) > 2 and isinstance(args[2], Tensor) and {place(args[2]), home} == {CPU, CUDA} and args[2].dim():
            raise _mixed(name, [args[0], args[2]], [home, place(args[2])])
        return home


def _mixed(name: str, values: Iterable[Tensor], places: Iterable[str]) -> DeviceMistake:
    shapes = ", ".join(f"{tuple(value.shape)} on {here}" for value, here in zip(values, places, strict=True))
    return DeviceMistake(f"Expected all tensors to be on the same device: {name} in {_source()} of {shapes}")


@functools.cache
def _has_kernel(name: str) -> bool:
    return any(part in name for part in _OWN_CPU_KERNELS) or torch._C._dispatch_has_computed_kernel_for_dispatch_key(
        name, "CUDA"
    )


def _check_kernel(func: Any, values: list[Tensor], own: Mapping[str, Any]) -> None:
    name = func.overloadpacket.__name__
    if torch.version.cuda and not _has_kernel(func.name()):
        raise DeviceMistake(f"{name} in {_source()} has no kernel on CUDA")
    if name in _PRODUCTS and not (values[0].is_floating_point() or values[0].is_complex()):
        raise DeviceMistake(f"{name} in {_source()}: not implemented for '{values[0].dtype}' on CUDA")
    if name == "linalg_lstsq" and own.get("driver") not in (None, "gels"):
        raise DeviceMistake(f"linalg.lstsq in {_source()}: only the driver gels is on CUDA")


def _grouped(function: Any, lists: Any, with_indices: bool) -> Any:
    """Tensors by device and type, as optimisers take them; their own devices would be the CPU."""
    groups = function(lists, with_indices)
    homes = ((key, [t for part in values[0] for t in part if t is not None]) for key, values in groups.items())
    where = {key: DEVICE if tensors and place(tensors[0]) == CUDA else key[0] for key, tensors in homes}
    return {(where[key], key[1]): values for key, values in groups.items()}


def _for_package(function: Any, answer: Any) -> Any:
    """What the package is answered; others, such as accelerate, would go on to use the device."""
    return answer if sys._getframe(1).f_code.co_filename.startswith(_PACKAGE) else function()


@contextlib.contextmanager
def _pretended_functions() -> Iterator[None]:
    """The functions of torch.cuda that a path asks, answered for a device with a gigabyte free."""
    answers: dict[str, Any] = {
        "mem_get_info": lambda device=None: (1 << 30, 1 << 30),
        "device": lambda device: contextlib.nullcontext(),
        "manual_seed": lambda seed: None,
        "synchronize": lambda device=None: None,
        "get_rng_state": lambda device=None: torch.zeros(16, dtype=torch.uint8),
        "set_rng_state": lambda state, device=None: None,
        "is_available": functools.partial(_for_package, torch.cuda.is_available, True),
        "device_count": functools.partial(_for_package, torch.cuda.device_count, 1),
    }
    with contextlib.ExitStack() as stack:
        for name, answer in answers.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, answer))
        grouped = torch._C._group_tensors_by_device_and_dtype
        stack.enter_context(mock.patch.object(torch._C, grouped.__name__, functools.partial(_grouped, grouped)))
        yield
