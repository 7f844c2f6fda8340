"""Does a GPU give the numbers of the CPU, and how fast? At most five minutes; `make gpu-check` runs it.

    python scripts/gpu_check.py [--device cuda:0] [--json FILE] [--dry]

One network is trained by two objectives and measured, on the CPU and on the GPU, in float32 without TF32. Then the time
of training and measuring stands beside the bare passes that they cannot do without, and where there are two GPUs, two
processes train at once, one on each. `--dry` runs the same on the CPU against the CPU, with few images: it tests this
script. The exit code is 0 where the numbers agree, 1 where they do not, and 2 where there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.nn import functional as F

import tangency
from tangency.devices import arithmetic
from tangency.measures import MeasureConfig, Rows, measure
from tangency.models import Classifier, build
from tangency.objectives import make
from tangency.score import Denoiser
from tangency.training import TrainConfig, train
from tangency.types import Dataset

DATA, SCORE, STRENGTH = "fashion-mnist-5k", "edm-fashion-mnist", 0.3
LOSS = 2e-3  # relative, of the mean loss of a training's last epoch: rounding grows from step to step
ROWS = 1e-3  # relative, of nine in ten values of a measure; of the rest, a few images next to a boundary
NEAR, FLOOR = 0.9, 1e-4


@dataclass(frozen=True)
class Sizes:
    """How much is done.

    Args:
        train, epochs: of a training.
        measured: images.
        passes: that are timed.
        fitted, closed: training images of the closed form that gives scores and tangent spaces, and its name.
    """

    train: int
    epochs: int
    measured: int
    passes: int
    fitted: int
    closed: str


WHOLE, DRY = Sizes(2000, 2, 100, 30, 5000, "mfa"), Sizes(120, 1, 4, 2, 300, "mfa?components=1&rank=4")


@dataclass(frozen=True)
class Line:
    """One check: what was compared, the largest difference and what is allowed (None: a time, which cannot fail)."""

    what: str
    value: float
    allowed: float | None = None
    unit: str = ""

    @property
    def good(self) -> bool:
        """Whether the difference is allowed; NaN is not."""
        return self.allowed is None or self.value <= self.allowed


def trained(device: str, objective: str, sizes: Sizes, precision: str = "float32") -> tuple[Classifier, float, float]:
    """A small network trained on a device: itself, its mean loss in the last epoch, and images a second."""
    data = tangency.load_data(DATA).train.subset(slice(0, sizes.train))
    net, strength = build("convnet", data.shape, data.classes, seed=0), 0.0 if objective == "standard" else STRENGTH
    config = TrainConfig(epochs=sizes.epochs, batch_size=100, precision=precision)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        result = train(net, data, make(objective, strength), config, folder, device=device)
        seconds = time.monotonic() - begun
    return result.classifier, float(result.history[-1]["train_loss"] or "nan"), sizes.epochs * len(data) / seconds


def measured(net: Classifier, data: Dataset, score: Denoiser, sizes: Sizes, device: str) -> Rows:
    """The rows of the quickstart for some test images."""
    x, y = data.test.images(slice(0, sizes.measured)).to(device), data.test.labels[: sizes.measured].to(device)
    alignments = ("margin", "bayes_gradient"), ("margin", "network_bayes_gradient")
    config = MeasureConfig(alignments=alignments, directions=2)
    seen = data.train.subset(slice(0, sizes.fitted))
    return measure(net.to(device), x, y, train_data=seen, score=sizes.closed, config=config, network=score)


def differences(ours: Rows, theirs: Rows) -> dict[str, float]:
    """{measure: the relative difference within which nine in ten images are}; infinite where only one is NaN."""
    worst = {}
    for key, values in theirs.columns.items():
        a, b = ours[key].double().cpu(), values.double().cpu()
        gap = ((a - b).abs() - FLOOR).clamp(min=0) / b.abs().clamp(min=FLOOR)
        gap = torch.where(a.isnan() & b.isnan() | (a == b), 0.0, gap).nan_to_num(torch.inf)
        worst[key] = float(gap.quantile(NEAR, interpolation="higher"))
    return worst


def same_numbers(device: str, sizes: Sizes) -> list[Line]:
    """Training and measuring on the device against the CPU."""
    lines, data = [], tangency.load_data(DATA)
    for objective in ("standard", "gradient_norm"):
        net, expected, _ = trained("cpu", objective, sizes)
        _, got, _ = trained(device, objective, sizes)
        lines.append(Line(f"training, {objective}: loss", abs(got - expected) / abs(expected), LOSS))
    rows = []
    for place in (device, "cpu"):  # the same weights: those of the CPU
        score = tangency.load_score(SCORE, data, place)
        rows.append(measured(net, data, score, sizes, place))
    worst = differences(*rows)
    key = max(worst, key=lambda name: worst[name])
    return [*lines, Line(f"measuring, {len(worst)} measures: {key}", worst[key], ROWS)]


def seconds_of(work: Callable[[], object], device: str, repeats: int) -> float:
    """Mean time of some work, after it was done once."""
    waited = torch.cuda.synchronize if torch.device(device).type == "cuda" else lambda: None
    work()
    waited()
    begun = time.monotonic()
    for _ in range(repeats):
        work()
    waited()
    return (time.monotonic() - begun) / repeats


def speed(device: str, sizes: Sizes) -> list[Line]:
    """Images a second of training and of measuring, beside the bare passes."""
    data = tangency.load_data(DATA)
    size = min(100, sizes.train)
    x, y = data.train.images(slice(0, size)).to(device), data.train.labels[:size].to(device)
    net = build("convnet", data.train.shape, data.train.classes, seed=0).to(device).train()

    def step() -> None:
        net.zero_grad()
        F.cross_entropy(net(x), y).backward()

    with arithmetic():
        bare = size / seconds_of(step, device, sizes.passes)
    lines = [Line("bare forward and backward passes", bare, unit="images/s")]
    for precision in ("float32", "tf32", "bfloat16"):
        rate = trained(device, "standard", sizes, precision)[2]
        lines.append(Line(f"training, {precision}, with evaluation and files", rate, unit="images/s"))
    score = tangency.load_score(SCORE, data, device)
    taken = seconds_of(lambda: measured(net.eval(), data, score, sizes, device), device, 1)
    return [*lines, Line("measuring, with fitted mixtures", sizes.measured / taken, unit="images/s")]


def _trained_there(task: tuple[str, Sizes]) -> tuple[float, float]:
    _, loss, rate = trained(task[0], "standard", task[1])
    return loss, rate


def two_at_once(devices: tuple[str, str], sizes: Sizes) -> list[Line]:
    """Two processes, each with its own device: the same loss."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        (first, rate), (second, other) = pool.map(_trained_there, [(device, sizes) for device in devices], 1)
    return [
        Line(f"two processes on {' and '.join(devices)}: loss", abs(first - second) / abs(first), LOSS),
        Line("two processes: training", rate + other, unit="images/s"),
    ]


def checked(device: str, sizes: Sizes, pair: tuple[str, str] | None) -> list[Line]:
    """Every check of a device; of a pair of devices where there is one."""
    return [*same_numbers(device, sizes), *speed(device, sizes), *(two_at_once(pair, sizes) if pair else [])]


def main(arguments: list[str] | None = None) -> int:
    """Run the checks and print one line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda:0", help="a GPU: cuda:N")
    parser.add_argument("--json", type=Path, help="also write the lines to this file")
    parser.add_argument("--dry", action="store_true", help="the CPU against the CPU, with few images")
    options = parser.parse_args(arguments)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not options.dry and not count:
        print("gpu-check: this machine has no GPU that torch can use; nothing was checked.", file=sys.stderr)
        return 2
    device, sizes = ("cpu", DRY) if options.dry else (options.device, WHOLE)
    name = "CPU (dry run)" if options.dry else torch.cuda.get_device_name(device)
    print(f"{name}, torch {torch.__version__}", flush=True)
    begun = time.monotonic()
    lines = checked(device, sizes, ("cuda:0", "cuda:1") if count > 1 and not options.dry else None)
    for line in lines:
        limit = f"  of {line.allowed:g} allowed  {'ok' if line.good else 'FAILED'}" if line.allowed else ""
        print(f"{line.what}: {line.value:.3g} {line.unit}{limit}")
    print(f"{time.monotonic() - begun:.0f} s in all")
    if options.json:
        content = {"device": name, "torch": torch.__version__, "lines": [asdict(line) for line in lines]}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0 if all(line.good for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
