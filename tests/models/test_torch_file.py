"""Checkpoints of torch.save come back tensor for tensor; hostile ones are refused and run nothing."""

import argparse
import io
import os
import pickle
import warnings
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from tangency.errors import DataError
from tangency.formats.plain import Inert
from tangency.formats.torch_file import read_torch

FORMATS = [True, False]


def saved(path, content, zipped=True):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls its typed storages old
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


DTYPES = (
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.bool,
    torch.complex64,
    torch.uint16,
    torch.float8_e4m3fn,
)


@pytest.mark.parametrize("zipped", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tensors_of_every_kind(tmp_path, dtype, zipped):
    whole = (torch.arange(30) % 7).to(dtype)
    content = {"t": whole.view(5, 6).t(), "part": whole[3:9], "scalar": whole[2].clone(), "empty": whole[:0].view(0, 3)}
    found = read_torch(saved(tmp_path / "a.pt", content, zipped))
    for name, tensor in content.items():
        assert found[name].dtype == dtype
        assert found[name].shape == tensor.shape
        assert torch.equal(
            found[name].view(torch.uint8) if dtype.itemsize == 1 else found[name],
            tensor.contiguous().view(torch.uint8) if dtype.itemsize == 1 else tensor,
        )


@pytest.mark.parametrize("zipped", FORMATS)
def test_what_stands_beside_the_weights_is_inert(tmp_path, zipped):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    content = {
        "model": net.state_dict(),
        "whole": net,
        "optimizer": torch.optim.Adam(net.parameters()).state_dict(),
        "args": argparse.Namespace(lr=0.1),
        "function": os.path.join,
        "numpy": np.float64(2.5),
        "size": net[0].weight.shape,
        "device": torch.device("cuda:0"),
        "dtype": torch.float16,
        "parameter": nn.Parameter(torch.ones(2)),
    }
    found = read_torch(saved(tmp_path / "a.ckpt", content, zipped))
    assert all(torch.equal(value, found["model"][name]) for name, value in net.state_dict().items())
    assert isinstance(found["whole"], Inert)
    assert isinstance(found["args"], Inert)
    assert found["args"].state == {"lr": 0.1}
    assert isinstance(found["function"], Inert)
    assert found["numpy"] == 2.5
    assert found["size"] == (4, 3, 3, 3)
    assert found["device"] == "cuda:0"
    assert torch.equal(found["parameter"], torch.ones(2))


def with_entries(path, entries, source, compression=zipfile.ZIP_STORED):
    """A copy of a checkpoint with entries replaced (bytes), removed (None) or added."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w", compression) as new:
        left = dict(entries)
        for info in old.infolist():
            name = info.filename.split("/", 1)[1]
            data = left.pop(name) if name in left else old.read(info)
            if data is not None:
                new.writestr(info.filename, data)
        for name, data in left.items():
            new.writestr(name, data)
    return path


def test_storages_of_a_gpu_come_to_the_cpu(tmp_path):
    saved(tmp_path / "cpu.pt", {"w": torch.arange(4.0)})
    with zipfile.ZipFile(tmp_path / "cpu.pt") as archive:
        pickled = archive.read("cpu/data.pkl")
    assert pickled.count(b"X\x03\x00\x00\x00cpu") == 1
    moved = pickled.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
    with_entries(tmp_path / "gpu.pt", {"data.pkl": moved}, tmp_path / "cpu.pt")
    found = read_torch(tmp_path / "gpu.pt")["w"]
    assert found.device.type == "cpu"
    assert torch.equal(found, torch.arange(4.0))


class Runs:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("zipped", FORMATS)
def test_code_is_not_run(tmp_path, zipped):
    mark = tmp_path / "ran"
    evil = [Runs(os.system, f"touch {mark}"), Runs(eval, f"open({str(mark)!r}, 'w')")]
    content = {"state_dict": {"w": torch.ones(3)}, "schedule": evil, "more": {"hook": evil[0]}}
    found = read_torch(saved(tmp_path / "a.pt", content, zipped))
    assert torch.equal(found["state_dict"]["w"], torch.ones(3))
    assert not mark.exists()
    assert all(isinstance(thing, Inert) for thing in found["schedule"])


def dilled():
    """A pickle as dill writes it: a function from its code, and objects of cox with attributes and keywords."""
    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000"
        b"X\x06\x00\x00\x00cuda:1K\x03tQK\x00K\x03\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR"
    )
    code = (
        b"cdill._dill\n_create_function\n(cdill._dill\n_create_code\n(K\x01K\x00C\x02d\x01N)tRcbuiltins\n__dict__\n"
        b"X\x08\x00\x00\x00<lambda>NNtR}(X\x0b\x00\x00\x00__globals__}X\x03\x00\x00\x00foocos\nsystem\nsub"
    )
    cox = b"ccox.utils\nParameters\n)\x81}X\x06\x00\x00\x00paramsccox.utils\nParameters\nsb"
    exotic = b"ccox.store\nStore\n)}X\x01\x00\x00\x00aK\x01s\x92"  # NEWOBJ_EX
    return (
        b"\x80\x04}(X\x05\x00\x00\x00model}X\x01\x00\x00\x00w" + tensor + b"s"
        b"X\x08\x00\x00\x00schedule"
        + code
        + b"X\x04\x00\x00\x00args"
        + cox
        + b"X\x05\x00\x00\x00store"
        + exotic
        + b"u."
    )


def torch_zip(path, pickled, storages, **more):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)
        for name, data in more.items():
            archive.writestr(f"archive/{name}", data)
    return path


def test_extras_that_dill_wrote_are_inert(tmp_path):
    found = read_torch(torch_zip(tmp_path / "a.ckpt", dilled(), {"0": np.arange(3, dtype="<f4").tobytes()}))
    assert torch.equal(found["model"]["w"], torch.arange(3.0))
    assert found["schedule"].name == "dill._dill._create_function"
    assert isinstance(found["args"], Inert)
    assert isinstance(found["store"], Inert)


def linked(path, source):
    with_entries(path, {}, source)
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("good/data/9")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    return path


GOOD = np.arange(3, dtype="<f4").tobytes()
ZIPS = {
    "compressed": (lambda p, s: with_entries(p, {"data/0": bytes(10**6)}, s, zipfile.ZIP_DEFLATED), "compressed"),
    "short storage": (lambda p, s: with_entries(p, {"data/0": bytes(8)}, s), "8 bytes where 12"),
    "long storage": (lambda p, s: with_entries(p, {"data/0": bytes(16)}, s), "16 bytes where 12"),
    "no storage": (lambda p, s: with_entries(p, {"data/0": None}, s), "not there"),
    "no pickle": (lambda p, s: with_entries(p, {"data.pkl": None}, s), "0 pickles"),
    "two pickles": (lambda p, s: with_entries(p, {"other/data.pkl": b"N."}, s), "2 pickles"),
    "path out": (lambda p, s: with_entries(p, {"good/../../data/0": b""}, s), "leads out"),
    "absolute path": (lambda p, s: with_entries(p, {"/data/0": b""}, s), "leads out"),
    "link": (linked, "symbolic link"),
    "big endian": (lambda p, s: with_entries(p, {"byteorder": b"big"}, s), "big-endian"),
    "trailing": (lambda p, s: with_entries(p, {"data.pkl": b"N.more"}, s), "behind the end"),
    "torchscript": (lambda p, s: with_entries(p, {"good/constants.pkl": b"N."}, s), "torchscript:FILE"),
    "export": (lambda p, s: with_entries(p, {"good/archive_format": b"pt2"}, s), "export:FILE"),
    "key of a path": (
        lambda p, s: torch_zip(p, dilled().replace(b"X\x01\x00\x00\x000", b"X\x04\x00\x00\x00../0"), {"0": GOOD}),
        "not there",
    ),
    "stride out": (
        lambda p, s: torch_zip(p, dilled().replace(b"K\x03\x85K\x01\x85", b"K\x03\x85K\x02\x85"), {"0": GOOD}),
        "over 3",
    ),
    "offset out": (lambda p, s: torch_zip(p, dilled().replace(b"QK\x00K\x03", b"QK\x01K\x03"), {"0": GOOD}), "over 3"),
    "expanded": (
        lambda p, s: torch_zip(p, dilled().replace(b"K\x03\x85K\x01\x85", b"M\xff\x7f\x85K\x00\x85"), {"0": GOOD}),
        "over 3",
    ),
    "negative": (
        lambda p, s: torch_zip(p, dilled().replace(b"QK\x00K\x03", b"QJ\xff\xff\xff\xffK\x03"), {"0": GOOD}),
        "whole numbers",
    ),
    "huge storage": (
        lambda p, s: torch_zip(p, dilled().replace(b"cuda:1K\x03", b"cuda:1J\xff\xff\xff\x7f"), {"0": GOOD}),
        "larger than the file",
    ),
    "tuple for storage": (
        lambda p, s: torch_zip(p, b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(NK\x00)))tR.", {}),
        "unknown form",
    ),
}


@pytest.mark.parametrize("case", ZIPS)
def test_hostile_archives_are_refused(tmp_path, case):
    make, words = ZIPS[case]
    source = saved(tmp_path / "good.pt", {"w": torch.arange(3.0)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of names that stand twice
        path = make(tmp_path / "bad.pt", source)
    with pytest.raises(DataError, match=words) as error:
        read_torch(path)
    assert str(path) in str(error.value)


def cut(share):
    stream = io.BytesIO()
    torch.save({"w": torch.arange(1000.0)}, stream)
    return stream.getvalue()[: int(len(stream.getvalue()) * share)]


FOREIGN = {
    "empty": (b"", "empty"),
    "web page": (b"<!DOCTYPE html><html>404", "web page"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
    "gzip": (b"\x1f\x8b\x08\x00" + bytes(20), "gzip"),
    "png": (b"\x89PNG" + bytes(20), "PNG"),
    "text": (b"resnet18.pt\n", "this is text"),
    "plain pickle": (pickle.dumps({"w": [1, 2]}), "did not write"),
    "pickle of code": (pickle.dumps({"w": Runs(os.system, "true")}), "did not write"),
    "tar": (bytes(257) + b"ustar" + bytes(300), "tar archive"),
    "cut late": (cut(0.9), "damaged or truncated"),
    "cut early": (cut(0.1), "damaged or truncated"),
    "zeros": (bytes(1000), "unknown kind"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_other_files_under_the_name_of_a_checkpoint_are_named(tmp_path, case):
    data, words = FOREIGN[case]
    (tmp_path / "net.pt").write_bytes(data)
    with pytest.raises(DataError, match=words):
        read_torch(tmp_path / "net.pt")


def test_an_old_checkpoint_cut_anywhere_is_refused(tmp_path):
    whole = saved(tmp_path / "old.pt", OrderedDict(w=torch.arange(40.0)), zipped=False).read_bytes()
    for end in range(10, len(whole) - 1, 37):
        (tmp_path / "cut.pt").write_bytes(whole[:end])
        with pytest.raises(DataError):
            read_torch(tmp_path / "cut.pt")
    (tmp_path / "cut.pt").write_bytes(whole + b"x")
    with pytest.raises(DataError, match="after its last storage"):
        read_torch(tmp_path / "cut.pt")


def test_names_that_python_2_wrote_are_text():
    import lpips

    published = os.path.join(os.path.dirname(lpips.__file__), "weights", "v0.1", "alex.pth")
    found, theirs = read_torch(published), torch.load(published, map_location="cpu", weights_only=True)
    assert list(found) == list(theirs)
    assert all(torch.equal(found[name], theirs[name]) for name in theirs)
