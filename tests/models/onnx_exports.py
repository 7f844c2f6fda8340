"""Classifiers of timm and torchvision, exported by torch.onnx, beside what ONNX's own runtime and torch say of them.

    python -m models.onnx_exports RESULTS.jsonl [LIBRARY/NAME …]

goes through the list (or some of it) and adds one line of JSON for each export that is not in the file yet.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.onnx_list import EXPORTERS, OPSETS, TIMM, TORCHVISION
from tangency.errors import TangencyError
from tangency.models.onnx.graph import read_graph
from tangency.models.onnx.network import load_onnx
from tangency.models.onnx.reading import naming

LOGITS, GRADIENTS = 1e-5, 1e-4
CLASSES = 10


def newest(exporter: str) -> int:
    """The newest opset that an exporter of this torch writes."""
    from torch.onnx import _constants

    return int(_constants.ONNX_TORCHSCRIPT_EXPORTER_MAX_OPSET if exporter == "legacy" else _constants.ONNX_MAX_OPSET)


def made(library: str, name: str, **options: Any) -> nn.Module:
    """A network in eval mode whose biases, scales and running statistics are no zeros and ones."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if library == "timm":
            import timm

            net = timm.create_model(name, pretrained=False, num_classes=CLASSES, **options)
        else:
            import torchvision

            # Their own initialisation is so small that images would be lost in rounding.
            more = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
            net = torchvision.models.get_model(name, weights=None, num_classes=CLASSES, **more, **options)
    with torch.no_grad():
        for value in (*net.parameters(), *net.buffers()):
            if value.dim() == 1 and value.is_floating_point():
                value.add_(torch.rand(value.shape) * 0.3 + 0.1)
            elif value.is_floating_point() and not value.any():
                value.normal_(std=0.02)  # a head that begins at zero has no gradient
    return net.eval()


def images(size: int, count: int = 3) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def export(net: nn.Module, path: Path, exporter: str, opset: int, size: int, **options: Any) -> None:
    """As by default: weights beside the graph where the exporter puts them, the batch of the example fixed."""
    batch = 1 if exporter == "legacy" else 2
    with quiet():
        torch.onnx.export(
            net, (images(size, batch),), path, dynamo=exporter == "dynamo", opset_version=opset, **options
        )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def by_runtime(path: Path, x: Tensor) -> Tensor:
    """onnxruntime's outputs, in batches of the file's own size, whose last one is filled up."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    size = given.shape[0] if isinstance(given.shape[0], int) else len(x)
    parts = [np.resize(part.numpy(), (size, *x.shape[1:])) for part in x.split(size)]
    return torch.from_numpy(np.concatenate([session.run(None, {given.name: part})[0] for part in parts])[: len(x)])


def gradient(net: nn.Module, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    weights = torch.randn(CLASSES, generator=torch.Generator().manual_seed(2)).to(x.dtype)
    (found,) = torch.autograd.grad((net(x) @ weights).sum(), x)
    return found


def apart(found: Tensor, wanted: Tensor) -> float:
    """Largest difference, relative to the largest value."""
    return float((found - wanted).abs().max() / wanted.abs().max())


def judged(net: nn.Module, path: Path, size: int) -> dict[str, Any]:
    """How far logits are from onnxruntime's, and input gradients from the network's own; or why it does not load."""
    x = images(size)
    try:
        with naming(path):
            found, _, notes = load_onnx(read_graph(path), (3, size, size))
    except TangencyError as error:
        return {"loads": False, "why": str(error)[:400]}
    with torch.no_grad():
        logits = apart(found(x), by_runtime(path, x))
    batch = next(line for line in notes if line.startswith("its batch"))
    return {"loads": True, "logits": logits, **gradients(net, found, x), "batch": batch}


def gradients(net: nn.Module, found: nn.Module, x: Tensor) -> dict[str, float]:
    """How far input gradients are from the network's own: the median over images, in double precision.

    In single precision a deep network's own gradient is known to 1e-2 of the largest only: a unit at the kink of a
    ReLU, or a tie of a maximum, goes to the other side by rounding. Exporters round as well, where they multiply batch
    normalisation into convolutions, so that an image may lie on another side even so.
    """
    own = gradient(copy.deepcopy(net).double(), x.double())
    got = gradient(copy.deepcopy(found).double(), x.double())
    gaps = sorted(apart(a, b) for a, b in zip(got, own, strict=True))
    return {"gradients": gaps[len(gaps) // 2], "worst": gaps[-1]}


def one(library: str, name: str, exporter: str, opset: int, folder: Path, **options: Any) -> dict[str, Any]:
    """What came of one network, exporter and opset."""
    size = options.get("img_size", 224)
    net, path = made(library, name, **options), folder / f"{name}.onnx"
    try:
        export(net, path, exporter, opset, size)
    except Exception as error:  # of the exporter, which is not on trial here
        return {"exported": False, "why": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    return {"exported": True, **judged(net, path, size)}


def cases() -> Iterator[tuple[str, str, str, int]]:
    for wanted in OPSETS:
        for exporter in EXPORTERS:
            opset = newest(exporter) if wanted == "newest" else int(wanted)
            for library, names in (("timm", TIMM), ("torchvision", TORCHVISION)):
                for name in names:
                    if wanted != "newest" or opset not in OPSETS:
                        yield library, name, exporter, opset


def main() -> None:
    results, wanted = Path(sys.argv[1]), sys.argv[2:]
    lines = results.read_text().splitlines() if results.exists() else []
    done = {tuple(json.loads(line)["case"]) for line in lines}
    for case in cases():
        if case in done or (wanted and not any(part in "/".join(map(str, case)) for part in wanted)):
            continue
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            found = one(*case, Path(folder))
        with results.open("a") as file:
            file.write(json.dumps({"case": case, "seconds": round(time.monotonic() - start, 1), **found}) + "\n")


if __name__ == "__main__":
    main()
