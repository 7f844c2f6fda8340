"""Files that are no network of EDM and would run code, or are damaged: name to content."""

from __future__ import annotations

import io
import json
import pickle
import zipfile

import torch

from score.edm_fixture import Persistent, edm_bytes, precond
from score.hostile_layouts import network

COMMAND = "touch ran"
CODE = "__import__('os').system('touch ran')"


def text(value: str) -> bytes:
    return b"X" + len(value.encode()).to_bytes(4, "little") + value.encode()


def binary(value: bytes) -> bytes:
    return b"B" + len(value).to_bytes(4, "little") + value


def integer(value: int) -> bytes:
    return pickle.dumps(value, 2)[2:-1]


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def call(module: str, name: str, *arguments: bytes) -> bytes:
    return named(module, name) + b"(" + b"".join(arguments) + b"tR"


def ema(content: bytes) -> bytes:
    """A file that holds `content` where the network should be."""
    return b"\x80\x04}" + text("ema") + content + b"s."


SHELL, CODE_TEXT = text(COMMAND), text(CODE)
SYSTEM, CALL_SYSTEM = named("os", "system"), call("os", "system", SHELL)
BYTE = call("numpy", "dtype", text("u1"), b"\x89", b"\x88") + b"(K\x03" + text("|") + b"NNNK\x01K\x01K\x00tb"
IMPORT_OS = call("importlib", "import_module", text("os"))
MAP = named("builtins", "map") + SYSTEM + SHELL + b"\x85\x86"  # a class and its arguments, yet to be made
CANARY = text("ran") + text("w")

# The standard library runs these.
ACTIVE: dict[str, bytes] = {
    "global_reduce": ema(SYSTEM + SHELL + b"\x85R"),
    "stack_global": ema(text("os") + text("system") + b"\x93" + SHELL + b"\x85R"),
    "stack_global_from_memo": ema(text("os") + b"\x940" + text("system") + b"\x940h\x00h\x01\x93" + SHELL + b"\x85R"),
    "inst": ema(b"(" + SHELL + b"ios\nsystem\n"),
    "obj": ema(b"(" + SYSTEM + SHELL + b"o"),
    "newobj": ema(named("builtins", "tuple") + MAP + b"\x81\x85\x81"),
    "newobj_ex": ema(named("builtins", "tuple") + MAP + b"}\x92\x85}\x92"),
    "posix": ema(call("posix", "system", SHELL)),
    "popen": ema(call("os", "popen", SHELL)),
    "subprocess": ema(call("subprocess", "getoutput", SHELL)),
    "eval": ema(call("builtins", "eval", CODE_TEXT)),
    "exec": ema(call("builtins", "exec", CODE_TEXT)),
    "exec_python2": ema(call("__builtin__", "exec", CODE_TEXT)).replace(b"\x80\x04", b"\x80\x02"),
    "compile": ema(call("builtins", "exec", call("builtins", "compile", CODE_TEXT, text("x"), text("exec")))),
    "import": ema(
        call("builtins", "getattr", call("builtins", "__import__", text("os")), text("system")) + SHELL + b"\x85R"
    ),
    "import_module": ema(call("builtins", "getattr", IMPORT_OS, text("system")) + SHELL + b"\x85R"),
    "dotted_name": ema(text("os") + text("path.os.system") + b"\x93" + SHELL + b"\x85R"),
    "dotted_torch": ema(text("torch") + text("os.system") + b"\x93" + SHELL + b"\x85R"),
    "partial": ema(call("functools", "partial", SYSTEM, SHELL) + b")R"),
    "os_open": ema(call("os", "open", text("ran"), integer(0o102))),
    "map": ema(call("builtins", "list", call("builtins", "map", SYSTEM, SHELL + b"\x85"))),
    "attrgetter": ema(call("operator", "attrgetter", text("system")) + IMPORT_OS + b"\x85R" + SHELL + b"\x85R"),
    "methodcaller": ema(call("operator", "methodcaller", text("system"), SHELL) + IMPORT_OS + b"\x85R"),
    "pickle_in_pickle": ema(call("_pickle", "loads", binary(CALL_SYSTEM + b"."))),
    "run_string": ema(call("numpy.testing._private.utils", "runstring", CODE_TEXT, b"}")),
    "profile": ema(call("cProfile", "runctx", CODE_TEXT, b"}", b"}")),
    "open_for_writing": ema(call("io", "open", CANARY)),
    "codecs_open": ema(call("codecs", "open", CANARY)),
    "dropped": b"\x80\x04" + CALL_SYSTEM + b"0N.",
    "beside_the_network": b"\x80\x04}(" + text("ema") + b"N" + text("loss_fn") + CALL_SYSTEM + b"u.",
    "as_a_key": b"\x80\x04}" + CALL_SYSTEM + b"Ns.",
    "nested": ema(call("builtins", "list", b"]" + CALL_SYSTEM + b"a")),
    "in_the_meta": ema(call("torch_utils.persistence", "_reconstruct_persistent_obj", CALL_SYSTEM)),
    "in_an_ordered_dict": ema(call("collections", "OrderedDict", b"](](" + text("a") + CALL_SYSTEM + b"ee")),
    "build_of_setstate": ema(
        named("torch.nn", "Module") + b")\x81}" + text("__setstate__") + SYSTEM + b"sb" + SHELL + b"b"
    ),
    "source_of_an_unknown_class": edm_bytes(Persistent("Trojan", {"x": 1})),
    "source_of_an_unknown_network": edm_bytes(precond(Persistent("Trojan", {"_init_args": (), "_init_kwargs": {}}))),
    "source_beside_the_network": edm_bytes(None, augment_pipe=Persistent("AugmentPipe", {"p": 0.12})),
}


def torch_bytes(value: object, zipped: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def hostile_zip() -> bytes:
    """torch's new format around a pickle that runs a command."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + CALL_SYSTEM + b".")
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def storage(count: int = 6, **replaced: bytes) -> bytes:
    """The bytes of a storage in torch's old format, part by part."""
    parts = {
        "magic": b"\x80\x02" + integer(0x1950A86A20F9469CFC6C) + b".",
        "protocol": b"\x80\x02" + integer(1001) + b".",
        "system": b"\x80\x02}" + text("little_endian") + b"\x88s.",
        "reference": reference(integer(count)),
        "keys": b"\x80\x02]" + text("7") + b"a.",
        "length": count.to_bytes(8, "little", signed=True),
        "values": bytes(4 * max(count, 0)),
    }
    return b"".join({**parts, **replaced}.values())


def reference(count: bytes, kind: str = "FloatStorage", rest: bytes = b"N", tag: str = "storage") -> bytes:
    return b"\x80\x02(" + text(tag) + named("torch", kind) + text("7") + text("cpu") + count + rest + b"tQ."


def tensor(size: bytes, stride: bytes, offset: bytes = b"K\x00", data: bytes | None = None) -> bytes:
    """A file with a tensor of that layout over six numbers."""
    held = call("torch.storage", "_load_from_bytes", binary(storage() if data is None else data))
    return ema(call("torch._utils", "_rebuild_tensor_v2", held, offset, size, stride, b"\x89", b"}"))


def held(data: bytes) -> bytes:
    """A file with a tensor of one number whose storage is `data`."""
    return tensor(b"K\x01\x85", b"K\x01\x85", data=data)


ONE, HUGE, MINUS = b"K\x01", integer(2**62), integer(-1)
GOOD = tensor(b"K\x02K\x03\x86", b"K\x03K\x01\x86")

# What runs in a storage's bytes if torch reads them as any pickle.
STORAGES: dict[str, bytes] = {
    "storage_runs": held(b"\x80\x02" + CALL_SYSTEM + b"." + storage()),
    "storage_runs_for_magic": held(storage(magic=b"\x80\x02" + CALL_SYSTEM + b".")),
    "storage_runs_for_system": held(storage(system=b"\x80\x02}" + text("little_endian") + CALL_SYSTEM + b"s.")),
    "storage_runs_in_reference": held(storage(reference=b"\x80\x02(" + text("storage") + CALL_SYSTEM + b"tQ.")),
    "storage_runs_in_keys": held(storage(keys=b"\x80\x02]" + CALL_SYSTEM + b"a.")),
    "storage_holds_torch_source": held(
        storage(reference=b"\x80\x02(" + text("module") + SYSTEM + SHELL + SHELL + b"tQ.")
    ),
    "storage_is_a_zip": held(torch_bytes(torch.zeros(6), zipped=True)),
    "storage_is_a_hostile_zip": held(hostile_zip()),
    "storage_is_a_tensor": held(torch_bytes(torch.zeros(6))),
    "storage_is_text": tensor(b"K\x01\x85", b"K\x01\x85").replace(binary(storage()), text("abc")),
    "storage_is_empty": held(b""),
    "storage_of_wrong_magic": held(storage(magic=b"\x80\x02K\x07.")),
    "storage_of_wrong_protocol": held(storage(protocol=b"\x80\x02K\x07.")),
    "storage_of_big_endian": held(storage(system=b"\x80\x02}" + text("little_endian") + b"\x89s.")),
    "storage_of_two": held(storage(keys=b"\x80\x02](" + text("7") + text("8") + b"e.")),
    "storage_of_other_key": held(storage(keys=b"\x80\x02]" + text("8") + b"a.")),
    "storage_of_unknown_type": held(storage(reference=reference(integer(6), "BFloat16Storage"))),
    "storage_of_a_view": held(storage(reference=reference(integer(6), rest=text("7") + b"K\x00K\x06\x87"))),
    "storage_of_other_tag": held(storage(reference=reference(integer(6), tag="module"))),
    "storage_of_fewer_numbers": held(storage(values=bytes(23))),
    "storage_of_more_bytes": held(storage(values=bytes(25))),
    "storage_of_other_count": held(storage(count=6).replace(b"K\x06N", b"K\x05N")),
    "storage_of_negative_count": held(storage(-6)),
    "storage_of_huge_count": held(storage(reference=reference(HUGE), length=(2**62).to_bytes(8, "little"))),
    "storage_of_fractional_count": held(storage(reference=reference(b"G\x40\x18" + bytes(6)))),
    "storage_cut_in_the_header": held(storage()[:90]),
    "storage_cut_in_the_count": held(storage()[:-27]),
    "storage_bare": ema(call("torch.storage", "_load_from_bytes", binary(storage()))),
    "storage_read_often": ema(
        binary(storage(5000)) + b"\x940](" + call("torch.storage", "_load_from_bytes", b"h\x00") * 3 + b"e"
    ),
}
TENSORS: dict[str, bytes] = {
    "stride_beyond_the_storage": tensor(b"K\x02K\x03\x86", b"K\x04K\x01\x86"),
    "offset_beyond_the_storage": tensor(b"K\x02\x85", b"K\x01\x85", b"K\x05"),
    "offset_negative": tensor(b"K\x02\x85", b"K\x01\x85", MINUS),
    "offset_huge": tensor(b"K\x02\x85", b"K\x01\x85", HUGE),
    "size_negative": tensor(MINUS + b"\x85", b"K\x01\x85"),
    "sizes_negative": tensor(MINUS + MINUS + b"\x86", b"K\x01K\x01\x86"),
    "size_huge": tensor(HUGE + b"\x85", b"K\x01\x85"),
    "size_expanded": tensor(b"J\xff\xff\xff\x7f\x85", b"K\x00\x85"),
    "size_zero": tensor(b"K\x00" + HUGE + b"\x86", b"K\x01K\x01\x86"),
    "size_of_axes": tensor(b"(" + ONE * 70 + b"t", b"(" + ONE * 70 + b"t"),
    "size_fractional": tensor(b"G\x40\x00" + bytes(6) + b"\x85", b"K\x01\x85"),
    "size_list": tensor(b"]K\x02a", b"K\x01\x85"),
    "size_of_a_million_digits": tensor(integer(10**5000) + b"\x85", b"K\x01\x85"),
    "stride_negative": tensor(b"K\x02\x85", MINUS + b"\x85"),
    "stride_huge": tensor(b"K\x02\x85", HUGE + b"\x85"),
    "stride_of_other_length": tensor(b"K\x02\x85", b"K\x01K\x01\x86"),
    "tensor_of_no_storage": ema(call("torch._utils", "_rebuild_tensor_v2", b"}", b"K\x00", b")", b")", b"\x89", b"}")),
    "tensor_of_few_arguments": ema(named("torch._utils", "_rebuild_tensor_v2") + b")R"),
    "parameter_of_text": ema(call("torch._utils", "_rebuild_parameter", text("x"), b"\x88", b"}")),
    "tensor_for_a_network": GOOD,
}


LONG = edm_bytes(network())

# Other files under the same name, and damaged ones.
FOREIGN: dict[str, bytes] = {
    "empty": b"",
    "web_page": b"<!DOCTYPE html><html><head><title>429 Too many requests</title></head></html>",
    "xml": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
    "json": json.dumps({"ema": [1, 2]}).encode(),
    "text": b"edm-cifar10-32x32-uncond-vp.pkl\n",
    "git_lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "gzip": b"\x1f\x8b\x08\x00" + bytes(20),
    "torch_zip": torch_bytes({"ema": torch.zeros(3)}, zipped=True),
    "hostile_zip": hostile_zip(),
    "torch_old_format": torch_bytes({"ema": torch.zeros(3)}),
    "safetensors": (64).to_bytes(8, "little") + json.dumps({"w": {"dtype": "F32", "shape": [1]}}).encode().ljust(64),
    "zeros": bytes(1000),
    "newobj_of_popen": ema(named("subprocess", "Popen") + b"](" + text("touch") + text("ran") + b"e\x85\x81"),
    "newobj_of_a_module_with_arguments": ema(named("torch.nn.modules.container", "ModuleDict") + SHELL + b"\x85\x81}b"),
    "build_of_a_module_with_a_call": ema(
        named("torch.nn.modules.container", "ModuleDict") + b")\x81}" + text("__setstate__") + SYSTEM + b"sb"
    ),
    "build_of_slots": ema(named("dnnlib.util", "EasyDict") + b")\x81N}" + text("__class__") + SYSTEM + b"s\x86b"),
    "bare_module": ema(named("torch.nn.modules.container", "ModuleDict") + b")\x81"),
    "ext1": ema(b"\x82\x01"),
    "ext2": ema(b"\x83\x01\x00"),
    "ext4": ema(b"\x84\x01\x00\x00\x00"),
    "persistent_id": b"\x80\x04}" + text("ema") + b"Pos.system\ns.",
    "binary_persistent_id": ema(text("storage") + SYSTEM + b"\x86Q"),
    "out_of_band_buffer": ema(b"\x97"),
    "torch_load": ema(call("torch.serialization", "load", text("net.pkl"))),
    "torch_hub": ema(call("torch.hub", "load", text("owner/repository"), text("model"))),
    "run_path": ema(call("runpy", "run_path", text("net.pkl"))),
    "dtype_is_called": ema(call("torch", "float32", text("x"))),
    "device_of_code": ema(call("torch", "device", CALL_SYSTEM)),
    "size_of_text": ema(call("torch", "Size", text("abc"))),
    "easydict_of_a_list": ema(call("dnnlib.util", "EasyDict", b"]")),
    "shape_bomb": ema(call("numpy.core.numeric", "_frombuffer", b"C\x01a", BYTE, b")" + b"2\x86" * 60, text("C"))),
    "global_named_by_a_bomb": ema(b")" + b"\x94h\x00\x86" + b"2\x86" * 60 + text("x") + b"\x93"),
    "global_named_in_lines": ema(text("os\n\n\x1b[2J") + text("system") + b"\x93"),
    "number_of_a_million_letters": ema(b"F" + b"x" * 1_000_000 + b"\n"),
    "names_in_a_line": ema(b"cos\nsystem\nx\n" + SHELL + b"\x85R"),
    "holds_itself": ema(b"]q\x00h\x00a"),
    "nested_very_deep": ema(b"]" * 100_000 + b"a" * 99_999),
    "many_copies_of_a_text": ema(
        text("x" * 100_000)
        + b"\x940]("
        + (named("_codecs", "encode") + b"h\x00" + text("latin1") + b"\x86R") * 40
        + b"e"
    ),
    "memo_missing": ema(b"h\x63"),
    "length_of_text_huge": ema(b"\x8d" + (2**60).to_bytes(8, "little") + b"x"),
    "length_of_bytes_huge": ema(b"\x8e" + (2**63 - 1).to_bytes(8, "little") + b"x"),
    "length_of_bytearray_huge": ema(b"\x96" + (2**50).to_bytes(8, "little") + b"x"),
    "length_of_a_number_huge": ema(b"\x8b\xff\xff\xff\x7f"),
    "length_negative": ema(b"\x8b\xff\xff\xff\xff"),
    "frame_huge": b"\x80\x04\x95" + (2**60).to_bytes(8, "little") + b"N.",
    "digits_without_end": ema(b"I" + b"9" * 10_000 + b"\n"),
    "trailing_bytes": LONG + b"more",
    "second_pickle": LONG + b"\x80\x02" + CALL_SYSTEM + b".",
    **{f"cut_at_{part}": LONG[: len(LONG) * part // 1000] for part in (1, 50, 250, 500, 750, 950, 999)},
}
