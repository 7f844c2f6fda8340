"""The restricted unpickler reads plain data of every protocol as pickle does, and can be extended by a table."""

import contextlib
import io
import pickle
import re
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data import python2
from tangency.errors import DataError
from tangency.formats import unpickle
from tangency.formats.plain import PLAIN, Global
from tangency.formats.unpickle import read_pickle

PROTOCOLS = range(6)
SIMPLE = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=9)
    | st.binary(max_size=9)
)
PLAIN_DATA = st.recursive(
    SIMPLE,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(SIMPLE, inner, max_size=4)
        | st.dictionaries(st.text(max_size=3), inner, max_size=4).map(OrderedDict)
        | st.frozensets(SIMPLE, max_size=4)
        | st.sets(SIMPLE, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(PLAIN_DATA, st.sampled_from(PROTOCOLS))
def test_plain_data_come_back(value, protocol):
    found = read_pickle(pickle.dumps(value, protocol))
    assert found == value
    assert type(found) is type(value)


ARRAYS = [
    np.arange(30, dtype=np.uint8).reshape(2, 3, 5),
    np.asfortranarray(np.arange(35, dtype=np.float32).reshape(5, 7)),
    np.arange(5, dtype=">i4"),
    np.array(["cat", "horse"]),
    np.array([b"cat", b"horse"]),
    np.array([True, False]),
    np.array(2.5),
    np.zeros((0, 3), np.int64),
    np.array([1 + 2j]),
    np.float16([0.5]),
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("index", range(len(ARRAYS)))
def test_arrays_come_back(index, protocol):
    array = ARRAYS[index]
    both = {"first": array, "again": array, "one": array.reshape(-1)[:1].copy()}
    found = read_pickle(pickle.dumps(both, protocol))
    for key, expected in both.items():
        np.testing.assert_array_equal(found[key], expected)
        assert found[key].dtype == expected.dtype
    assert found["first"] is found["again"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("scalar", [np.float32(1.5), np.int64(-3), np.bool_(True), np.str_("a")])
def test_numpy_scalars_come_back(scalar, protocol):
    found = read_pickle(pickle.dumps([scalar], protocol))[0]
    assert found == scalar
    assert type(found) is type(scalar)


def test_python2_text_comes_as_bytes():
    found = read_pickle(python2.batch(np.zeros((2, 3072), np.uint8), [7, 1]))
    assert set(found) == {b"batch_label", b"labels", b"data", b"filenames"}
    assert found[b"filenames"] == [b"0.png", b"1.png"]
    assert read_pickle(b"S'abc'\np0\n.") == b"abc"


def test_shared_objects_stay_shared_and_paths_are_read(tmp_path):
    one = [1]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([one, one, {"k": one}]))
    found = read_pickle(tmp_path / "a.pkl")
    assert found[0] is found[1] is found[2]["k"]
    with pytest.raises(DataError, match=r"none\.pkl: there is no such file"):
        read_pickle(tmp_path / "none.pkl")


def test_attributes_of_an_ordered_dict_are_dropped():
    state = torch.nn.Linear(2, 3).state_dict()
    state.clear()
    assert hasattr(state, "_metadata")
    found = read_pickle(pickle.dumps(state))
    assert type(found) is OrderedDict
    assert not vars(found)


BROKEN = {
    "empty": (b"", "the file is empty"),
    "web_page": (b"<!DOCTYPE html><title>Sign in</title>", "a web page"),
    "zip": (b"PK\x03\x04", "a zip archive"),
    "gzip": (b"\x1f\x8b\x08", "a gzip file"),
    "text": (b"hello", "not a whole pickle"),
    "truncated": (pickle.dumps([1, "abc"])[:-4], "not a whole pickle"),
    "declared_length": (b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b"x.", "not a whole pickle"),
    "memo": (b"h\x05.", "not a whole pickle"),
    "trailing": (pickle.dumps(1) + b"more", "4 bytes follow the end"),
    "nothing": (b".", "0 objects on the stack"),
    "two": (b"K\x01K\x02.", "2 objects on the stack"),
    "mark": (b"(K\x01.", "1 objects on the stack"),
    "no_mark": (b"K\x01t.", "without a mark"),
    "below_mark": (b"K\x01(0000.", "on an empty stack"),
    "append_to_dict": (b"}K\x01a.", "an operation for a list on a dict"),
    "items_to_list": (b"](K\x01K\x02u.", "an operation for a dict on a list"),
    "odd_items": (b"}(K\x01u.", "a dict key without a value"),
    "long_digits": (b"L" + b"9" * 10000 + b"L\n.", "not a whole pickle"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_pickle_is_one_sentence(tmp_path, name):
    content, sentence = BROKEN[name]
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(DataError, match=re.escape(sentence)) as caught:
        read_pickle(tmp_path / "a.pkl")
    assert str(tmp_path / "a.pkl") in str(caught.value)


@settings(max_examples=500, deadline=None)
@given(PLAIN_DATA, st.sampled_from(PROTOCOLS), st.data())
def test_changed_bytes_give_plain_data_or_a_data_error(value, protocol, data):
    content = bytearray(pickle.dumps([value, ARRAYS[0]], protocol))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DataError):
        read_pickle(bytes(content))


def test_depth_cycles_and_operations_are_limited(monkeypatch):
    deep = b"]" * 101 + b"a" * 100 + b"."
    with pytest.raises(DataError, match="nested more than 100 deep"):
        read_pickle(deep)
    assert len(read_pickle(b"]" * 100 + b"a" * 99 + b".")) == 1
    # A deep chain whose links are also held directly: the longest way counts, not the shortest.
    links = b"".join(b"]r%b0" % i.to_bytes(4, "little") for i in range(200))
    chain = b"".join(b"j%bj%ba0" % (i.to_bytes(4, "little"), (i + 1).to_bytes(4, "little")) for i in range(199))
    held = b"](" + b"".join(b"j%b" % i.to_bytes(4, "little") for i in reversed(range(200))) + b"e."
    with pytest.raises(DataError, match="nested more than 100 deep"):
        read_pickle(links + chain + held)
    with pytest.raises(DataError, match="holds itself"):
        read_pickle(b"]q\x00h\x00a.")
    very_deep = b"]" * 300_000 + b"a" * 299_999 + b"."
    with pytest.raises(DataError, match="nested more than"):
        read_pickle(very_deep)
    monkeypatch.setattr(unpickle, "MAX_OPERATIONS", 1000)
    with pytest.raises(DataError, match="more than 1000 operations"):
        read_pickle(b"N0" * 501 + b"N.")
    monkeypatch.setattr(unpickle, "MAX_BYTES", 100)
    with pytest.raises(DataError, match="expected a pickle of at most 100"):
        read_pickle(pickle.dumps(b"x" * 100))


def test_hashing_tuples_in_tuples_is_refused():
    """A key nested 2 deep may be nested 200,000 deep, which overflows the C stack in its hash."""
    with pytest.raises(DataError, match="a key or set member of type tuple"):
        read_pickle(pickle.dumps({(1, (2, 3)): 4}))
    assert read_pickle(pickle.dumps({(1, "a"): 4})) == {(1, "a"): 4}


def test_one_text_does_not_become_many_copies():
    """The same megabyte encoded 100 times would be 100 MB from a file of one."""
    big = "x" * 1_000_000
    text = b"X" + len(big).to_bytes(4, "little") + big.encode() + b"q\x000"
    call = b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R"
    assert len(read_pickle(text + b"](" + call + b"e.")[0]) == len(big)
    with pytest.raises(DataError, match="objects much larger than the file"):
        read_pickle(text + b"](" + call * 100 + b"e.")


def test_a_table_and_a_handler_extend_it_to_torch_checkpoints():
    """The design carries torch's zip format: storages by persistent id, tensors by a constructor of our own."""
    expected = {"weight": torch.arange(35, dtype=torch.float32).reshape(5, 7).T, "n": 3}
    buffer = io.BytesIO()
    torch.save(expected, buffer)
    archive = zipfile.ZipFile(buffer)
    (pickled,) = (name for name in archive.namelist() if name.endswith("data.pkl"))

    def storage(identity):
        kind, dtype, key, _device, count = identity
        assert (kind, dtype.name) == ("storage", "torch.FloatStorage")
        data = archive.read(pickled.replace("data.pkl", f"data/{key}"))
        assert len(data) == 4 * count
        return torch.from_numpy(np.frombuffer(data, np.float32).copy())

    def rebuild(arguments):
        flat, offset, size, stride = arguments[:4]
        return flat.as_strided(size, stride, offset)

    table = {
        **PLAIN,
        ("torch", "FloatStorage"): Global("torch.FloatStorage"),
        ("torch._utils", "_rebuild_tensor_v2"): Global("torch._utils._rebuild_tensor_v2", rebuild),
    }
    found = read_pickle(archive.read(pickled), table, storage)
    assert found["n"] == 3
    torch.testing.assert_close(found["weight"], expected["weight"])
    with pytest.raises(DataError, match="a reference to data outside of the pickle"):
        read_pickle(archive.read(pickled), table)
    with pytest.raises(DataError, match=r"the global torch\._utils\._rebuild_tensor_v2"):
        read_pickle(archive.read(pickled))
