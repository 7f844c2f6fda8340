"""A restricted unpickler: plain containers, text, bytes, numbers and NumPy arrays, and nothing else.

The opcodes are read by the standard library's `pickletools`, which only parses; the machine below is ours. It
imports nothing, and neither looks up nor sets an attribute by a name from the file. A global is a row of a table or
an error; a call is a call of that row's own constructor. The result is checked once more and must be plain.

Source: the opcodes' meaning is that of `pickletools` and PEP 307, 3154 and 574.
"""

from __future__ import annotations

import io
import pickletools
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from tangency.errors import DataError, quoted
from tangency.formats.opening import read_bytes, refuse_foreign
from tangency.formats.plain import PLAIN, Draft, Global, Inert, Table, brief, hashable

MAX_BYTES = 4 << 30
MAX_OPERATIONS = 5_000_000  # an object costs at least one, so this bounds memory; a CIFAR-10 batch takes 50,000
MAX_DEPTH = 100
_SPARE_BYTES = 1 << 20

_SCALARS = (type(None), bool, int, float, str, bytes, np.ndarray, Tensor, Inert)
_CONTAINERS = (list, tuple, dict, OrderedDict, set, frozenset)
_PUSHED = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "UNICODE"),
    *("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
)


class _Machine:
    """The pickle virtual machine over one stack, one list of marks and one memo."""

    def __init__(
        self, allowed: Table, persistent: Callable[[object], object] | None, budget: int, lenient: bool = False
    ) -> None:
        self.allowed = allowed
        self.lenient = lenient
        self.persistent = persistent
        self.budget = budget
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, operations: Iterable[tuple[pickletools.OpcodeInfo, Any, int | None]]) -> object:
        """Execute up to STOP and return what is then on the stack."""
        for count, (opcode, argument, _) in enumerate(operations):
            if count >= MAX_OPERATIONS:
                raise DataError(f"more than {MAX_OPERATIONS} operations")
            name = opcode.name
            if name == "STOP":
                break
            if name not in _HANDLERS:
                raise DataError(f"the operation {name}")
            _HANDLERS[name](self, argument)
        if len(self.stack) != 1 or self.marks:
            raise DataError(f"{len(self.stack)} objects on the stack at its end, where one is due")
        return self.stack[0]

    def pop(self) -> Any:
        """The top of the stack, not below the last mark."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise DataError("an operation on an empty stack")
        return self.stack.pop()

    def pop_mark(self) -> list[Any]:
        """All above the last mark."""
        if not self.marks:
            raise DataError("an operation without a mark")
        start = self.marks.pop()
        above = self.stack[start:]
        del self.stack[start:]
        return above

    def top(self, kind: type) -> Any:
        """The top of the stack, which must be a `kind` (or a subclass of it that the machine makes)."""
        top = self.pop()
        self.stack.append(top)
        if not isinstance(top, kind):
            raise DataError(f"an operation for a {kind.__name__} on a {type(top).__name__}")
        return top

    def put(self, key: int) -> None:
        """Remember the top of the stack."""
        top = self.top(object)
        self.memo[key] = top
        if isinstance(top, Draft):
            top.memo_keys.append(key)

    def find(self, module: object, name: object) -> None:
        """Push the row of the table for module.name; never import."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise DataError(f"a global named by {brief(module)} and {brief(name)}")
        row = self.allowed.get((module, name))
        if row is not None:
            self.stack.append(row if row.text is None else row.text)
        elif self.lenient:
            self.stack.append(Inert(f"{module}.{name}"[:200]))
        else:
            raise DataError(f"the global {module}.{name}"[:200].encode("unicode_escape").decode())

    def call(self, function: object, arguments: object) -> None:
        """Push the result of the table's constructor for the arguments."""
        if isinstance(function, Inert):
            self.stack.append(Inert(function.name))
            return
        if not isinstance(function, Global) or function.call is None:
            what = function.name if isinstance(function, Global) else f"a {type(function).__name__}"
            raise DataError(f"a call of {what}")
        if type(arguments) is not tuple:
            raise DataError(f"a call of {function.name} with a {type(arguments).__name__} in place of arguments")
        self.push_made(function.call(arguments))

    def push_made(self, made: object) -> None:
        """Push, and count the bytes: one text in the memo must not become a thousand copies."""
        if isinstance(made, bytes):
            self.budget -= len(made)
        elif isinstance(made, np.ndarray | np.generic):
            self.budget -= made.nbytes
        if self.budget < 0:
            raise DataError("objects much larger than the file")
        self.stack.append(made)

    def build(self) -> None:
        """Finish a draft. Attributes of an OrderedDict are dropped, any other object takes no state."""
        state, target = self.pop(), self.pop()
        if isinstance(target, Draft):
            finished = target.build(state)
            for key in target.memo_keys:
                self.memo[key] = finished
            self.push_made(finished)
        elif isinstance(target, Inert):
            target.state = state
            self.stack.append(target)
        elif type(target) is OrderedDict and type(state) is dict:
            self.stack.append(target)
        else:
            raise DataError(f"a state set on a {target.name if isinstance(target, Global) else type(target).__name__}")

    def set_items(self, parts: list[Any]) -> None:
        """Put key, value, key, value, … into the dict on top."""
        if isinstance(self.top(object), Inert):
            return
        target = self.top(dict)
        if len(parts) % 2:
            raise DataError("a dict key without a value")
        for key, value in zip(parts[::2], parts[1::2], strict=True):
            target[key if isinstance(key, Inert) else hashable(key)] = value

    def append(self, items: list[Any]) -> None:
        """Put items at the end of the list on top."""
        if not isinstance(self.top(object), Inert):
            self.top(list).extend(items)

    def add(self, items: list[Any]) -> None:
        """Put items into the set on top."""
        self.top(set).update(map(hashable, items))

    def make_dict(self) -> None:
        """Push a dict of the objects above the mark."""
        parts = self.pop_mark()
        self.stack.append({})
        self.set_items(parts)

    def take(self, count: int) -> tuple[Any, ...]:
        """The upper `count` objects, lowest first."""
        return tuple(reversed([self.pop() for _ in range(count)]))

    def call_above_mark(self) -> None:
        """OBJ: the lowest object above the mark is called with the others."""
        parts = self.pop_mark()
        self.call(parts[0] if parts else None, tuple(parts[1:]))

    def instance(self, argument: str) -> None:
        """INST: a global, called with the objects above the mark."""
        self.find(*argument.split(" ", 1))
        function = self.stack.pop()
        self.call(function, tuple(self.pop_mark()))

    def persistent_id(self, identity: object) -> None:
        """Push the object of the handler, where there is one."""
        if self.persistent is None:
            raise DataError("a reference to data outside of the pickle")
        self.stack.append(self.persistent(identity))


def _call_with_names(machine: _Machine) -> None:
    """NEWOBJ_EX: constructors of the tables take no arguments by name, so only an inert object may be called so."""
    function, _, _ = machine.take(3)
    if not isinstance(function, Inert):
        raise DataError("the operation NEWOBJ_EX")
    machine.call(function, ())


_Handler = Callable[[_Machine, Any], object]
_HANDLERS: dict[str, _Handler] = {
    **dict.fromkeys(_PUSHED, lambda m, a: m.stack.append(a)),
    **dict.fromkeys(("STRING", "BINSTRING", "SHORT_BINSTRING"), lambda m, a: m.stack.append(a.encode("latin1"))),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), lambda m, a: m.put(a)),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda m, a: m.stack.append(m.memo[a])),
    **dict.fromkeys(("PROTO", "FRAME"), lambda m, _: None),
    "MEMOIZE": lambda m, _: m.put(len(m.memo)),
    "NONE": lambda m, _: m.stack.append(None),
    "NEWTRUE": lambda m, _: m.stack.append(True),
    "NEWFALSE": lambda m, _: m.stack.append(False),
    "BYTEARRAY8": lambda m, a: m.stack.append(bytes(a)),
    "EMPTY_LIST": lambda m, _: m.stack.append([]),
    "EMPTY_DICT": lambda m, _: m.stack.append({}),
    "EMPTY_TUPLE": lambda m, _: m.stack.append(()),
    "EMPTY_SET": lambda m, _: m.stack.append(set()),
    "MARK": lambda m, _: m.marks.append(len(m.stack)),
    "LIST": lambda m, _: m.stack.append(m.pop_mark()),
    "TUPLE": lambda m, _: m.stack.append(tuple(m.pop_mark())),
    "TUPLE1": lambda m, _: m.stack.append(m.take(1)),
    "TUPLE2": lambda m, _: m.stack.append(m.take(2)),
    "TUPLE3": lambda m, _: m.stack.append(m.take(3)),
    "FROZENSET": lambda m, _: m.stack.append(frozenset(map(hashable, m.pop_mark()))),
    "DICT": lambda m, _: m.make_dict(),
    "APPEND": lambda m, _: m.append([m.pop()]),
    "APPENDS": lambda m, _: m.append(m.pop_mark()),
    "SETITEM": lambda m, _: m.set_items(list(m.take(2))),
    "SETITEMS": lambda m, _: m.set_items(m.pop_mark()),
    "ADDITEMS": lambda m, _: m.add(m.pop_mark()),
    "POP": lambda m, _: m.marks.pop() if m.marks and m.marks[-1] == len(m.stack) else m.pop(),
    "DUP": lambda m, _: m.stack.append(m.top(object)),
    "POP_MARK": lambda m, _: m.pop_mark(),
    "GLOBAL": lambda m, a: m.find(*a.split(" ", 1)),
    "STACK_GLOBAL": lambda m, _: m.find(*m.take(2)),
    "REDUCE": lambda m, _: m.call(*m.take(2)),
    "NEWOBJ": lambda m, _: m.call(*m.take(2)),
    "NEWOBJ_EX": lambda m, _: _call_with_names(m),
    "OBJ": lambda m, _: m.call_above_mark(),
    "INST": lambda m, a: m.instance(a),
    "BUILD": lambda m, _: m.build(),
    "PERSID": lambda m, a: m.persistent_id(a),
    "BINPERSID": lambda m, _: m.persistent_id(m.pop()),
}


def _is_container(node: object) -> bool:
    """True for a container, False for a plain value; anything else is refused."""
    if type(node) in _SCALARS or isinstance(node, np.generic):
        return False
    if type(node) not in _CONTAINERS:
        what = node.name if isinstance(node, Global) else type(node).__name__
        raise DataError(f"an unfinished or bare {what}")
    return True


def _members(container: Iterable[object]) -> list[object]:
    """The members of a container; the keys of a dict are simple by construction."""
    return list(container.values() if isinstance(container, dict) else container)


def _check_plain(root: object) -> None:
    """Raise unless `root` is plain throughout, holds itself nowhere, and is at most MAX_DEPTH deep."""
    heights: dict[int, int] = {}
    entered: set[int] = set()
    todo: list[tuple[Any, bool]] = [(root, False)]
    while todo:  # without recursion, since the file chooses the depth
        node, leaving = todo.pop()
        if leaving:
            entered.discard(id(node))
            heights[id(node)] = 1 + max((heights.get(id(member), 0) for member in _members(node)), default=0)
            if heights[id(node)] > MAX_DEPTH:
                raise DataError(f"containers nested more than {MAX_DEPTH} deep")
        elif id(node) in entered:
            raise DataError("a container that holds itself")
        elif id(node) not in heights and _is_container(node):
            entered.add(id(node))
            todo.append((node, True))
            todo.extend((member, False) for member in _members(node))


def next_pickle(
    stream: io.BytesIO,
    budget: int,
    allowed: Table = PLAIN,
    persistent: Callable[[object], object] | None = None,
    lenient: bool = False,
) -> Any:
    """Read the next of several pickles in a row, for a reader of another format; the stream is left after it.

    Args:
        stream: at the start of a pickle.
        budget: largest size of its objects, in bytes.
        allowed: as in `read_pickle`.
        persistent: as in `read_pickle`.
        lenient: other globals become `Inert` objects instead of an error; still nothing is imported or called.

    Raises:
        DataError: the reason of a refusal, in a few words for a longer sentence.
        ValueError, KeyError, OverflowError, MemoryError: not a whole pickle.
    """
    result = _Machine(allowed, persistent, budget, lenient).run(pickletools.genops(stream))
    _check_plain(result)
    return result


def read_pickle(
    source: Path | str | bytes,
    allowed: Table = PLAIN,
    persistent: Callable[[object], object] | None = None,
    expected: str = "a pickle of plain data",
) -> Any:
    """Read a pickle of plain data without importing or calling anything that it names.

    Args:
        source: a path, or the bytes of a pickle of any protocol; one pickle, nothing after it.
        allowed: (module, name) to `Global`, the only globals that the pickle may use.
        persistent: from a persistent identity to an object; where None, such references are refused.
        expected: what the file should be, for errors.

    Returns:
        None, bool, int, float, str, bytes, list, tuple, dict, OrderedDict, set, frozenset, NumPy array
        (read-only) or scalar, tensor (where `allowed` makes them), nested at most 100 deep. Text written by
        Python 2 comes as bytes.

    Raises:
        DataError: not a pickle, truncated, or asking for anything else.

    Example:
        >>> import pickle
        >>> read_pickle(pickle.dumps({"labels": [3, 1]}))
        {'labels': [3, 1]}
    """
    what = "pickle" if isinstance(source, bytes) else str(source)
    data = source if isinstance(source, bytes) else read_bytes(Path(source), expected)
    refuse_foreign(data[:512], what, expected)
    if len(data) > MAX_BYTES:
        raise DataError(f"{what}: {len(data)} bytes, expected a pickle of at most {MAX_BYTES}.")
    stream = io.BytesIO(data)
    try:
        result = next_pickle(stream, 2 * len(data) + _SPARE_BYTES, allowed, persistent)
    except DataError as error:
        raise DataError(
            f"{what}: the pickle asks for or holds {quoted(error)}; expected plain data and arrays. It was "
            "refused and nothing in it was run. Save the data as .npz or .safetensors where "
            "you trust the file."
        ) from error
    except (ValueError, KeyError, OverflowError, MemoryError) as error:
        raise DataError(
            f"{what}: not a whole pickle ({str(error)[:200]}), expected {expected}. Fetch it again."
        ) from error
    trailing = len(data) - stream.tell()
    if trailing:
        raise DataError(f"{what}: {trailing} bytes follow the end of the pickle, expected none.")
    return result
