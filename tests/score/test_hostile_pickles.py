"""Hostile and broken files under the name of a network of EDM: each is refused in one paragraph and leaves no trace.

What runs code makes the file `ran`. Where the standard library would run it the test shows so, lest a harmless file
pass for a refused one.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import os
import pickle
import random
import runpy
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from processes import until
from score.edm_fixture import edm_bytes, run_by_the_standard_library
from score.hostile_files import ACTIVE, FOREIGN, GOOD, STORAGES, TENSORS, call, ema, named, text
from score.hostile_layouts import LAYOUTS, VP, asked, changed, network, tuple_bomb
from tangency.errors import TangencyError
from tangency.formats.unpickle import read_pickle
from tangency.score.edm.pickle_file import load_edm_pickle
from tangency.score.edm.records import edm_table

CORPUS: dict[str, Any] = {**ACTIVE, **STORAGES, **TENSORS, **LAYOUTS, **FOREIGN}
TRAPS = [(os, ("system", "popen", "mkdir", "execv")), (subprocess, ("Popen",)), (runpy, ("run_path",))]
TRAPS += [(pickle, ("load", "loads", "Unpickler")), (torch, ("load",)), (torch.hub, ("load",))]
TRAPS += [(importlib, ("import_module",)), (builtins, ("eval", "exec"))]


def refusal(path: Path, name: str) -> str:
    """The message with which a file is refused; anything that code in it could call fails the test."""
    with pytest.MonkeyPatch.context() as patch:
        for module, names in TRAPS:
            for each in names:
                patch.setattr(module, each, lambda *args, each=each, **kwargs: pytest.fail(f"{each} was called"))
        if not name.startswith("tensor_"):  # these are refused on their values, so only once they are read
            patch.setattr(nn.Module, "to_empty", lambda *args, **kwargs: pytest.fail("memory was taken"))
        try:
            with bounded_work(path):
                load_edm_pickle(path)
        except TangencyError as error:
            return str(error)
    pytest.fail("the file was read")


@contextlib.contextmanager
def bounded_work(path: Path) -> Iterator[None]:
    """Calls of Python functions are no more than a constant and a multiple of the file's size: seconds, anywhere."""
    calls = [0]

    def count(frame: object, event: str, argument: object) -> None:
        calls[0] += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(None)
        assert calls[0] <= 1_000_000 + 50 * (path.stat().st_size if path.is_file() else 0)


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", CORPUS)
def test_it_is_refused_in_one_paragraph_and_leaves_no_trace(tmp_path: Path, name: str) -> None:
    content = CORPUS[name]
    path = tmp_path / "net.pkl"
    path.write_bytes(content if isinstance(content, bytes) else content())
    before = dict(vars(nn.Module))
    message = refusal(path, name)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    assert len(message) < 1000 + len(str(path))
    assert message.rstrip().endswith((".", "…"))
    assert [each.name for each in tmp_path.iterdir()] == ["net.pkl"]
    assert dict(vars(nn.Module)) == before


@pytest.mark.processes
@pytest.mark.parametrize("name", ACTIVE)
def test_the_standard_library_would_run_it(tmp_path: Path, name: str) -> None:
    with contextlib.suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it may fail afterwards: what counts is the trace
        run_by_the_standard_library(ACTIVE[name])
    # Some do not wait for their command. A case that is not hostile to the standard library would prove nothing.
    until((tmp_path / "ran").exists, f"{name} runs code")


def test_there_is_no_file_or_a_folder(tmp_path: Path) -> None:
    assert "there is no such file" in refusal(tmp_path / "none.pkl", "missing")
    assert "this is a folder" in refusal(tmp_path, "folder")


def test_the_building_blocks_of_the_corpus_are_sound(tmp_path: Path) -> None:
    """The corpus must fail for its abuse, not for a slip of the pen: without it the files are read."""
    path = tmp_path / "net.pkl"
    path.write_bytes(edm_bytes(network()))
    assert load_edm_pickle(path).settings.options["model_channels"] == 4
    path.write_bytes(asked(**VP))
    assert load_edm_pickle(path).settings.prediction == "vp"
    assert read_pickle(GOOD, edm_table(len(GOOD)))["ema"].shape == (2, 3)
    for row in ("torch.float32", "torch.int64"):
        module, name = row.split(".")
        assert read_pickle(ema(named(module, name)), edm_table(99)) == {"ema": row}
    for kind in ("ModuleDict", "Sequential"):
        made = ema(named("torch.nn.modules.container", kind) + b")\x81}b")
        assert read_pickle(made, edm_table(99)) == {"ema": {"class_name": kind, "state": {}}}
    size = ema(call("torch", "Size", b"K\x02K\x03\x86"))
    device = ema(call("torch", "device", text("cuda"), b"K\x01"))
    assert [read_pickle(each, edm_table(99))["ema"] for each in (size, device)] == [(2, 3), "cuda:1"]


def test_the_corpus_is_large_and_without_doubles() -> None:
    contents = [each if isinstance(each, bytes) else each() for each in CORPUS.values()]
    assert len(CORPUS) == sum(map(len, (ACTIVE, STORAGES, TENSORS, LAYOUTS, FOREIGN))) >= 180
    assert len(set(contents)) == len(contents)


def test_an_error_does_not_quote_a_bomb(tmp_path: Path) -> None:
    """Sixty tuples, each twice in the next, are small in memory and endless in print."""
    path = tmp_path / "net.pkl"
    path.write_bytes(changed(model_channels=tuple_bomb(60)))
    assert "'model_channels': got (a tuple, a tuple)" in refusal(path, "bomb")


def test_changed_bytes_are_read_or_refused(tmp_path: Path) -> None:
    """Of files with a few bytes changed, lost or doubled none ends in another error; some change only a weight."""
    path, good, generator = tmp_path / "net.pkl", edm_bytes(network()), random.Random(0)
    messages = []
    for _ in range(60):
        data = bytearray(good)
        for _ in range(generator.choice([1, 1, 3])):
            at, length = generator.randrange(len(data)), generator.randrange(1, 20)
            put = generator.choice([b"", generator.randbytes(1), data[:length]])
            data[at : at + generator.choice([1, 0, length])] = put
        path.write_bytes(data)
        with contextlib.suppress(TangencyError):
            load_edm_pickle(path)
            continue
        messages.append(refusal(path, "tensor_"))
    assert 30 < len(messages) < 60
    assert all(message.isprintable() for message in messages)
