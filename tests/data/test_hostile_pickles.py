"""A corpus of hostile pickles: each is a DataError, and none leaves a trace.

Every pickle tries to make the folder `canary`. Where the standard library would let it, the test shows that too, so
that a harmless pickle cannot pass for a refused one.
"""

import contextlib
import io
import os
import pickle
import subprocess

import numpy as np
import pytest

from processes import until
from tangency.errors import DataError
from tangency.formats.unpickle import read_pickle

CODE = "import os; os.makedirs('canary', exist_ok=True)"


class Call:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function, *arguments):
        self.reduced = (function, arguments)

    def __reduce__(self):
        return self.reduced


def text(value):
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


MKDIR = b"cos\nmkdir\n"
CANARY = text("canary")
EXEC = text(CODE)

# The standard library runs these.
ACTIVE = {
    "global_reduce": MKDIR + CANARY + b"\x85R.",
    "posix": b"cposix\nmkdir\n" + CANARY + b"\x85R.",
    "os_system": b"cos\nsystem\n" + text("mkdir canary") + b"\x85R.",
    "stack_global": b"\x80\x04" + text("os") + text("mkdir") + b"\x93" + CANARY + b"\x85R.",
    "inst": b"(" + CANARY + b"ios\nmkdir\n.",
    "obj": b"(" + MKDIR + CANARY + b"o.",
    "exec": b"cbuiltins\nexec\n" + EXEC + b"\x85R.",
    "exec_python2": b"c__builtin__\nexec\n" + EXEC + b"\x85R.",
    "eval": b"cbuiltins\neval\n" + text("__import__('os').mkdir('canary')") + b"\x85R.",
    "getattr": b"cbuiltins\ngetattr\ncos\npath\n"
    + text("os")
    + b"\x86R0"
    + b"cbuiltins\ngetattr\nc__main__\n__builtins__\n"
    + text("exec")
    + b"\x86R"
    + EXEC
    + b"\x85R.",
    "dotted": b"\x80\x04" + text("os") + text("path.os.mkdir") + b"\x93" + CANARY + b"\x85R.",
    "dropped": MKDIR + CANARY + b"\x85R0N.",
    "nested": b"}" + text("a") + b"](}" + text("b") + MKDIR + CANARY + b"\x85Rses.",
    "in_memo": MKDIR + b"q\x000h\x00" + CANARY + b"\x85R.",
    "as_key": b"}(" + MKDIR + CANARY + b"\x85RK\x01u.",
    "after_good_data": b"](cnumpy\ndtype\n" + text("u1") + b"\x85R" + MKDIR + CANARY + b"\x85Re.",
    "frombuffer_first": pickle.dumps([np.arange(3), Call(os.mkdir, "canary")], 5),
    "array_of_objects": pickle.dumps(np.array([Call(os.mkdir, "canary"), None], dtype=object)),
    "array_in_array": pickle.dumps(np.array([np.array([Call(os.mkdir, "canary")], dtype=object), None], dtype=object)),
    "structured": pickle.dumps(np.array([(1, Call(os.mkdir, "canary"))], dtype=[("a", "i4"), ("b", "O")])),
    **{f"call_protocol_{n}": pickle.dumps({"a": [Call(os.mkdir, "canary")]}, n) for n in range(6)},
    **{f"popen_protocol_{n}": pickle.dumps(Call(subprocess.call, ["mkdir", "canary"]), n) for n in range(6)},
}

RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
U1 = (
    b"cnumpy\ndtype\n"
    + text("u1")
    + b"\x89\x88\x87R(K\x03"
    + text("|")
    + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
)
O8 = b"cnumpy\ndtype\n" + text("O8") + b"\x89\x88\x87R"


def dtype_state(parts, order="|"):
    """The dtype u1 whose state has `parts` for subarray, names and fields."""
    return b"cnumpy\ndtype\n" + text("u1") + b"\x89\x88\x87R(K\x03" + text(order) + parts + b"K\x01K\x01K\x00tb"


def array(shape, dtype=U1, data=b"C\x03abc", fortran=b"\x89"):
    return RECONSTRUCT + b"(K\x01" + shape + dtype + fortran + data + b"tb."


# These abuse what is allowed, or opcodes that have no place in plain data; the standard library may refuse them too.
PASSIVE = {
    "build_dict_on_global": b"ccollections\nOrderedDict\n}" + text("__call__") + MKDIR + b"sb" + CANARY + b"\x85R.",
    "build_slots_on_global": b"c_codecs\nencode\nN}" + text("call") + text("x") + b"s\x86b.",
    "build_class": b"ccollections\nOrderedDict\n)RN}" + text("__class__") + text("x") + b"s\x86b.",
    "build_on_list": b"]}" + text("__class__") + text("x") + b"sb.",
    "build_on_dict": b"}}" + text("__dict__") + b"}sb.",
    "build_setstate": b"ccollections\nOrderedDict\n)R}" + text("__setstate__") + MKDIR + b"sb" + CANARY + b"b.",
    "build_twice": array(b"K\x03\x85")[:-1] + b"(K\x01K\x03\x85" + U1 + b"\x89C\x03abctb.",
    "bare_global": b"c_codecs\nencode\n.",
    "global_in_list": b"]cnumpy\nndarray\na.",
    "bare_dtype": U1 + b".",
    "unfinished_array": RECONSTRUCT + b".",
    "unfinished_in_list": b"]" + RECONSTRUCT + b"q\x05a.",
    "call_marker": b"cnumpy\nndarray\nK\x05\x85\x85R.",
    "call_text": text("os.mkdir") + CANARY + b"\x85R.",
    "call_with_list": b"ccollections\nOrderedDict\n]R.",
    "newobj": b"\x80\x02csubprocess\nPopen\n]" + text("mkdir") + b"a\x85\x81.",
    "newobj_marker": b"\x80\x02cnumpy\nndarray\nK\x05\x85\x85\x81.",
    "newobj_ex": b"\x80\x04ccollections\nOrderedDict\n)}\x92.",
    "ext1": b"\x80\x02\x82\x01.",
    "ext2": b"\x80\x02\x83\x01\x00.",
    "ext4": b"\x80\x02\x84\x01\x00\x00\x00.",
    "persistent": b"Pstorage\n.",
    "binary_persistent": text("storage") + b"Q.",
    "next_buffer": b"\x80\x05\x97.",
    "codec": b"c_codecs\nencode\n" + text("abc") + text("zlib_codec") + b"\x86R.",
    "codec_of_bytes": b"c_codecs\nencode\nC\x03abc" + text("latin1") + b"\x86R.",
    "ordered_of_text": b"ccollections\nOrderedDict\n" + text("ab") + b"\x85R.",
    "unhashable_key": b"}]K\x01s.",
    "global_key": b"}c_codecs\nencode\nK\x01s.",
    "set_of_lists": b"\x80\x04\x8f(]\x90.",
    "object_dtype": O8 + b".",
    "object_array": array(b"K\x01\x85", O8, b"]Na"),
    "record_dtype": b"cnumpy\ndtype\n" + text("V8") + b"\x89\x88\x87R.",
    "python_dtype": b"cnumpy\ndtype\n" + text("object") + b"\x85R.",
    "dtype_list": b"cnumpy\ndtype\n]" + text("u1") + b"a\x85R.",
    "dtype_fields": array(b"K\x03\x85", dtype_state(b"N" + text("f") + b"}")),
    "dtype_subarray": array(b"K\x03\x85", dtype_state(U1 + b"K\x01\x85\x86NN")),
    "dtype_order": array(b"K\x03\x85", dtype_state(b"NNN", "!")),
    "wrong_size": array(b"K\x04\x85"),
    "huge": array(b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x87"),
    "huge_empty": array(b"K\x00J\xff\xff\xff\x7f\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x87", data=b"C\x00"),
    "negative": array(b"J\xff\xff\xff\xffJ\xfd\xff\xff\xff\x86"),
    "many_axes": array(b"(" + b"K\x01" * 70 + b"t", data=b"C\x01a"),
    "shape_of_floats": array(b"G\x40\x08\x00\x00\x00\x00\x00\x00\x85"),
    "shape_of_flags": array(b"\x88\x85", data=b"C\x01a"),
    "shape_text": array(text("3")),
    "data_text": array(b"K\x03\x85", data=text("abc")),
    "data_list": array(b"K\x03\x85", data=b"](K\x01K\x02K\x03e"),
    "array_state": RECONSTRUCT + b"}b.",
    "scalar_size": b"cnumpy.core.multiarray\nscalar\n" + U1 + b"C\x02ab\x86R.",
    "scalar_object": b"cnumpy.core.multiarray\nscalar\n" + O8 + text("x") + b"\x86R.",
    "scalar_count": b"cnumpy.core.multiarray\nscalar\n" + U1 + b"\x85R.",
    "buffer_size": b"cnumpy._core.numeric\n_frombuffer\n(C\x02ab" + U1 + b"K\x03\x85" + text("C") + b"tR.",
    "buffer_order": b"cnumpy._core.numeric\n_frombuffer\n(C\x02ab" + U1 + b"K\x02\x85" + text("K") + b"tR.",
}


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.processes
@pytest.mark.parametrize("name", ACTIVE)
def test_active_pickle_is_refused_and_not_run(tmp_path, name):
    with pytest.raises(DataError, match="the pickle asks for or holds"):
        read_pickle(ACTIVE[name])
    assert list(tmp_path.iterdir()) == []
    # It may fail afterwards: what counts is the canary.
    with contextlib.suppress(pickle.UnpicklingError, TypeError, AttributeError, ValueError):
        pickle.loads(ACTIVE[name])
    # Some do not wait for their command. A case that is not hostile to the standard library would prove nothing.
    until((tmp_path / "canary").exists, f"{name} runs code")


@pytest.mark.parametrize("name", PASSIVE)
def test_abuse_of_what_is_allowed_is_refused(tmp_path, name):
    with pytest.raises(DataError, match="the pickle asks for or holds") as caught:
        read_pickle(PASSIVE[name])
    assert "nothing in it was run" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_building_blocks_of_the_corpus_are_sound():
    """The corpus must fail for its abuse, not for a slip of the pen: the same bytes without abuse are read."""
    np.testing.assert_array_equal(read_pickle(array(b"K\x03\x85")), np.frombuffer(b"abc", np.uint8))
    scalar = b"cnumpy.core.multiarray\nscalar\n" + U1 + b"C\x01a\x86R."
    assert read_pickle(scalar) == 97
    assert read_pickle(array(b"K\x03\x85", dtype_state(b"NNN"))).tolist() == [97, 98, 99]
    buffer = b"cnumpy._core.numeric\n_frombuffer\n(C\x02ab" + U1 + b"K\x02\x85" + text("C") + b"tR."
    assert read_pickle(buffer).tolist() == [97, 98]
    assert read_pickle(b"ccollections\nOrderedDict\n)R.") == {}


def test_size_and_content_of_an_array_are_compared_before_it_is_made():
    sentence = r"an array of shape \(4,\) and dtype uint8, 4 bytes, over 3 bytes"
    with pytest.raises(DataError, match=sentence):
        read_pickle(PASSIVE["wrong_size"])


def test_no_module_is_imported():
    """A global is not even looked for: naming a module that is not loaded does not load it."""
    import sys

    assert "this" not in sys.modules
    for content in (b"cthis\ns\n.", b"\x80\x04" + text("this") + text("s") + b"\x93."):
        with pytest.raises(DataError, match=r"the global this\.s"):
            read_pickle(content)
    assert "this" not in sys.modules


def test_the_constructors_keep_no_state():
    """What one pickle does to an allowed global does not reach the next one."""
    from tangency.formats.plain import PLAIN

    before = {key: (row.name, row.call) for key, row in PLAIN.items()}
    for content in (*ACTIVE.values(), *PASSIVE.values()):
        with pytest.raises(DataError):
            read_pickle(content)
    assert {key: (row.name, row.call) for key, row in PLAIN.items()} == before


def test_stream_position_does_not_matter():
    """Bytes and a file of the same bytes are refused alike."""
    buffer = io.BytesIO()
    pickle.dump(Call(os.mkdir, "canary"), buffer)
    with open("hostile.pkl", "wb") as handle:
        handle.write(buffer.getvalue())
    with pytest.raises(DataError, match=r"hostile\.pkl: the pickle asks for"):
        read_pickle("hostile.pkl")
