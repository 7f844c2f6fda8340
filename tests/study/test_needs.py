"""What tasks need of their worker: never less than they take, more for larger networks, and a share of a GPU."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from processes import run
from study_support import tiny_spec, write_data
from tangency.engines import EngineConfig, Resources
from tangency.measures.batching import TRANSIENT, kept_bytes
from tangency.models import build
from tangency.objectives import make
from tangency.seeding import Draw
from tangency.study import parse_spec
from tangency.study.layout import Layout
from tangency.study.preflight import checked_plan
from tangency.study.work.jobs import study_jobs
from tangency.study.work.needs import _GRAPHS, _GRAPHS_AT_MOST, Needs
from tangency.study.work.tasks import Task
from tangency.worlds import load_dataset

WORLD = "world:linear?rank=2&classes=2&shape=3x32x32&train=60&test=10"
SWEEP = [{"objective": "standard"}, {"objective": "gradient_norm", "strengths": [0.1]}]
LOCAL = EngineConfig()


def needs_of(config: EngineConfig = LOCAL, **changes: object) -> Needs:
    content = {"data": WORLD, "score": "exact", "sweep": SWEEP, "untrained": False, "measured": 6} | changes
    spec = parse_spec(content, "spec")
    data = load_dataset(spec.data)
    return Needs.of(checked_plan(spec, data), data, config)


def memory(needs: Needs, kind: str = "train", index: int = 0) -> float:
    """GB."""
    return needs.resources(Task(kind, index)).memory / 1e9


def test_large_networks_and_batches_ask_for_more() -> None:
    convnet, resnet = needs_of(), needs_of(model={"architecture": "resnet18"})
    standard, penalised = 0, 1
    assert memory(convnet) == memory(convnet, index=penalised) == 1.0
    # A pass of ResNet-18 keeps 4.7 MB an image, its weights are 44.7 MB: 1.25 · 256 · 4.7 MB + 6 · 44.7 MB + 0.6 GB.
    (network,) = resnet.networks.values()
    assert network.kept == pytest.approx(4.7e6, rel=0.01)
    assert network.weights == pytest.approx(44.7e6, rel=0.01)
    assert memory(resnet, index=standard) == 2.5
    assert memory(resnet, index=penalised) == 4.0  # 512 passes of an image are kept at once, in place of 256
    wide = needs_of(model={"architecture": "resnet18"}, train={"batch_size": 1024})
    assert memory(wide, index=standard) == 7.0
    assert memory(resnet, "measure") < memory(resnet)


def test_a_recipe_of_an_entry_counts_with_its_own_network_and_batch() -> None:
    large = {"objective": "standard", "model": {"architecture": "resnet18"}}
    wide = large | {"train": {"batch_size": 1024}}
    mixed, alone = needs_of(sweep=[*SWEEP, large, wide]), needs_of(model={"architecture": "resnet18"})
    assert [memory(mixed, index=i) for i in (2, 3)] == [2.5, 7.0]  # as of a study of such networks alone
    assert memory(mixed, index=0) < 2.5
    assert mixed.read == 5 * max(network.weights for network in mixed.networks.values())
    assert memory(mixed, "measure") >= memory(alone, "measure")


def test_no_task_asks_for_less_than_measuring_so_that_workers_stay() -> None:
    many = needs_of(model={"architecture": "resnet18"}, seeds=list(range(12)))
    measuring = memory(many, "measure")
    assert measuring >= (24 * 44.7e6 * 22 / 24 + 0.6e9) / 1e9  # it holds a gigabyte of networks
    assert all(memory(many, kind) >= measuring for kind in ("score", "filter", "pictures", "train"))


@pytest.mark.parametrize("name", [*_GRAPHS, "gradient_norm"])
@pytest.mark.parametrize("architecture", ["convnet", "resnet18"])
def test_a_loss_keeps_no_more_than_is_counted(name: str, architecture: str) -> None:
    """The slow way: every storage that is kept for a backward pass, as long as it is."""
    network, batch = build(architecture, (3, 16, 16), 2, seed=0), 8
    own = {t.untyped_storage().data_ptr() for t in (*network.parameters(), *network.buffers())}
    kept, most = Counter[tuple[int, int]](), [0]

    class Kept:
        def __init__(self, tensor: torch.Tensor) -> None:
            self.tensor = tensor
            self.storage = tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes()
            kept[self.storage] += self.storage[0] not in own
            most[0] = max(most[0], sum(size for (_, size), count in kept.items() if count))

        def __del__(self) -> None:
            kept[self.storage] -= self.storage[0] not in own

    options = {"steps": 2} if name.startswith("pgd") else {}
    objective = make(name, 0.0 if name == "standard" else 0.1, **options)
    x, y = torch.rand(batch, 3, 16, 16), torch.arange(batch) % 2
    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda held: held.tensor):
        losses = objective.losses(network.train(), x, y, Draw(0, torch.arange(batch)))
    assert losses.requires_grad
    counted = batch * kept_bytes(network, x[:1]) * _GRAPHS.get(name, _GRAPHS_AT_MOST)
    assert 0.5 * counted < most[0] < TRANSIENT * counted


MEASURED = """
import json, sys
from pathlib import Path
from tangency.study import load_spec
from tangency.study.forecast import foresee
kinds = foresee(load_spec(sys.argv[1]), Path(sys.argv[1]).parent / "run").forecast.kinds
print(json.dumps({kind.kind: kind.memory for kind in kinds}))
"""


@pytest.mark.slow
@pytest.mark.processes
def test_what_is_asked_for_covers_what_the_calibration_measures(tmp_path: Path) -> None:
    """`study plan` watches the memory of the same tasks, in a process of its own."""
    content = tiny_spec(write_data(tmp_path), device="cpu")
    path = tmp_path / "spec.yaml"
    path.write_text(json.dumps(content))
    said = run([sys.executable, "-c", MEASURED, str(path)], {"OMP_NUM_THREADS": "1"})
    measured = {kind: bytes_ for kind, bytes_ in json.loads(said.stdout).items() if bytes_}
    assert {"train standard", "train gradient_norm", "score", "measure"} <= set(measured)
    spec = parse_spec(content, "tiny")
    data = load_dataset(spec.data)
    needs = Needs.of(checked_plan(spec, data), data, LOCAL)
    for kind, taken in measured.items():
        assert taken <= needs.resources(Task(kind.split()[0], 1)).memory <= 3 * taken


def test_jobs_carry_what_they_need_and_its_cores(tmp_path: Path) -> None:
    needs = needs_of(threads=3)
    (job,) = study_jobs([Task("train", 0)], needs, Layout(tmp_path))
    assert job.resources == needs.resources(Task("train", 0)) == Resources(3, 0.0, 1_000_000_000)
    other = dataclasses.replace(needs, process=5 * needs.process)
    (same,) = study_jobs([Task("train", 0)], other, Layout(tmp_path))
    assert same.id == job.id  # a need is no part of the identity
    assert same.resources.memory > job.resources.memory


def test_on_a_gpu_its_memory_is_what_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    sizes = [SimpleNamespace(total_memory=size) for size in (24_000_000_000, 16_000_000_000)]
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: sizes[number])
    ray, wide = EngineConfig(kind="ray"), {"model": {"architecture": "resnet18"}, "train": {"batch_size": 1024}}
    needs = needs_of(ray, **wide)
    (network,) = needs.networks.values()
    computing = 6 * network.weights + 1.25 * 1024 * network.kept
    resources = needs.resources(Task("train", 0))
    assert resources.gpus == pytest.approx((0.6e9 + computing) / 16e9, abs=0.01)  # of the smallest
    assert resources.memory == 3_500_000_000  # the process; what is computed lies on the GPU
    assert needs_of(ray, **wide).resources(Task("train", 1)).gpus == 1.0  # more than there is: a whole one
    on_cpu = needs_of(ray, **wide, device="cpu").resources(Task("train", 0))
    assert (on_cpu.gpus, on_cpu.memory) == (0.0, 7_000_000_000)
    slurm = needs_of(EngineConfig(kind="slurm"), **wide).resources(Task("train", 0))
    assert slurm == on_cpu  # its jobs have the GPUs that are asked for, and here none are
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    login = needs_of(EngineConfig(kind="slurm", gpus_per_task=1), **wide).resources(Task("train", 0))
    assert (login.gpus, login.memory) == (0.0, 3_500_000_000)  # the size of the GPUs is not known here
