"""`tangency measure` of a network at 224 × 224 pixels: its memory and seconds, beside its bare passes.

    python -m benchmarks.real_size [ten|thousand] [IMAGES] [ARCHITECTURE] [BATCH]

`ten` are ten synset folders for a network of 1,000 classes, `thousand` are 1,000 classes of four images each. Weights
are random, so that the checks of how images are fed recognise nothing and try everything. One line of JSON.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmarks.case import peak_bytes, timed

SIDE, BLOCK = 224, 32
SYNSETS = (1440764, 1443537, 1484850, 1491361, 1494475, 1496331, 1498041, 1514668, 1514859, 1518878)
KINDS = {
    "ten": ([f"n{number:08d}" for number in SYNSETS], 60, 20),
    "thousand": ([f"class {number:04d}" for number in range(1000)], 4, 1),
}


def write_folders(root: Path, classes: list[str], train: int, test: int) -> None:
    """JPEG images of a coarse pattern for each class, under coarse and fine noise."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in classes:
        pattern = rng.normal(size=(3, SIDE // BLOCK, SIDE // BLOCK))
        for split, count in (("train", train), ("val", test)):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                coarse = pattern + 0.7 * rng.normal(size=pattern.shape)
                fine = rng.normal(size=(3, SIDE, SIDE)) * 0.2
                pixels = 0.5 + 0.2 * (np.kron(coarse, np.ones((1, BLOCK, BLOCK))) + fine)
                Image.fromarray((pixels.clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)).save(
                    folder / f"{number}.jpg", quality=90
                )


class Passes:
    """Images that go through a network, without and with the graph for a gradient, in all and in the measures."""

    def __init__(self) -> None:
        self.counts = {"forward": 0, "with_graph": 0, "measures_forward": 0, "measures_with_graph": 0}
        self.measuring = False

    def seen(self, module: nn.Module, given: tuple[Any, ...]) -> None:
        """A forward pre-hook of every module, for the residual network alone."""
        if type(module).__name__ == "ResNet":
            kind = "with_graph" if torch.is_grad_enabled() and given[0].requires_grad else "forward"
            self.counts[kind] += len(given[0])
            self.counts[f"measures_{kind}"] += len(given[0]) * self.measuring

    def during(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same work, whose passes count as the measures'."""

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.measuring = True
            try:
                return work(*args, **kwargs)
            finally:
                self.measuring = False

        return counted


def bare(net: nn.Module, batch: int = 8, repeats: int = 3) -> tuple[float, float]:
    """Seconds an image of a forward pass, and of one with the gradient for the image."""
    x = torch.rand(batch, 3, SIDE, SIDE)

    def forward() -> None:
        with torch.no_grad():
            net(x)

    def both() -> Tensor:
        inputs = x.clone().requires_grad_(True)
        return torch.autograd.grad(net(inputs).sum(), inputs)[0]

    for work in (forward, both):  # to warm up
        work()
    return min(timed(forward) for _ in range(repeats)) / batch, min(timed(both) for _ in range(repeats)) / batch


def run(kind: str, images: int, architecture: str, batch: str) -> dict[str, Any]:
    """The command, in this process."""
    import torchvision

    from tangency.cli import main
    from tangency.evaluate import measure

    passes = Passes()
    measure.fill_shards = passes.during(measure.fill_shards)  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_folders(root / "data", *KINDS[kind])
        torch.manual_seed(0)
        net = torchvision.models.get_model(architecture, weights=None)
        save_file(net.state_dict(), root / "net.safetensors")
        network = f"state_dict:{root}/net.safetensors?arch=torchvision:{architecture}&mean=imagenet"
        more = ["--class-map", "imagenet"] if kind == "ten" else []
        sys.argv = ["tangency", "measure", "--model", network, "--data", f"folder:{root / 'data'}"]
        sys.argv += ["--limit", str(images), "--batch-size", batch, "--json", *more]
        hook = nn.modules.module.register_module_forward_pre_hook(passes.seen)
        started, out = time.perf_counter(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            main()
        seconds, peak = time.perf_counter() - started, peak_bytes() / 2**20
        hook.remove()
    forward, both = bare(net.eval())
    cost = passes.counts["measures_forward"] * forward + passes.counts["measures_with_graph"] * both
    summary = json.loads(out.getvalue())
    return {
        "data": kind,
        "images": images,
        "network": architecture,
        "batch": batch,
        "peak_mib": round(peak),
        "seconds": round(seconds, 1),
        "bare_seconds": round(cost, 1),
        "ratio": round(seconds / cost, 2),
        **passes.counts,
        "measures": {key: [entry["mean"], entry["n"]] for key, entry in summary["measures"].items()},
        "warnings": summary["warnings"],
    }


if __name__ == "__main__":
    given = [*sys.argv[1:], *("ten", "20", "resnet50", "auto")[len(sys.argv) - 1 :]]
    print(json.dumps(run(given[0], int(given[1]), given[2], given[3])))
