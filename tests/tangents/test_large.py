"""Ten thousand images: storing them survives kills, streaming them takes no more memory than a few."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from processes import run
from tangency.tangents import StoredTangents
from tangency.worlds import load_dataset

WORLD = "world:linear?shape=1x28x28&rank=32&train=2000&test=10000"
STORE = f"""
import torch
from tangency.tangents import Ground, open_tangents, store_tangents
from tangency.worlds import load_dataset
data = load_dataset("{WORLD}")
store_tangents(open_tangents("local-pca?rank=32&neighbours=64", Ground(data)), data.test, "FOLDER")
"""
STREAM = """
import json, sys
import torch
from tangency.tangents import AutoencoderTangents, ConvAutoencoder
torch.manual_seed(0)
estimator = AutoencoderTangents(ConvAutoencoder((1, 28, 28), latent=32, widths=(8, 16)), (1, 28, 28), rank=32)
total, n = 0.0, int(sys.argv[1])
for start in range(0, n, 100):
    x = torch.rand(100, 1, 28, 28, generator=torch.Generator().manual_seed(start))
    total += float(estimator.at(x).fraction(torch.ones_like(x)).sum())
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))  # ru_maxrss has the parent's
print(json.dumps({"mean": total / n, "resident": int(peak.split()[1]) * 1024}))
"""


@pytest.mark.slow
@pytest.mark.processes
def test_a_large_computation_survives_kills(tmp_path: Path) -> None:
    folder, journal = tmp_path / "stored", tmp_path / "journal"
    program = STORE.replace("FOLDER", str(folder))

    def stored_until(kill: str) -> tuple[int, int]:
        """Exit code, and the shards that were begun."""
        journal.unlink(missing_ok=True)
        environment = {"TANGENCY_JOURNAL": str(journal), "TANGENCY_KILL": kill, "OMP_NUM_THREADS": "1"}
        code = run([sys.executable, "-c", program], environment, check=False).returncode
        return code, journal.read_text().splitlines().count("tangents.shard")

    begun = 0
    for kill in ("tangents.shard#2", "rename:00003.safetensors#1", "tangents.shard#2"):
        code, shards = stored_until(kill)
        assert code == -9
        begun += shards
    code, shards = stored_until("")
    assert code == 0
    whole = len(list(folder.glob("[0-9]*.safetensors")))
    assert whole == 8
    assert begun + shards == whole + 3  # each kill cost one shard
    data = load_dataset(WORLD).test
    stored = StoredTangents(folder, data)
    for ids in torch.arange(10_000).split(1000):
        space = stored.at(data.images(ids), ids)
        gram = space.basis.double().mT @ space.basis.double()
        assert float((gram - torch.eye(32, dtype=torch.float64)).abs().max()) < 2e-3  # half precision


@pytest.mark.slow
@pytest.mark.processes
def test_memory_is_flat_in_the_number_of_images() -> None:
    found = {}
    for n in (500, 10_000):
        found[n] = json.loads(run([sys.executable, "-c", STREAM, str(n)]).stdout)
    assert 0 < found[10_000]["mean"] < 1
    assert found[10_000]["resident"] < 2e9
    assert found[10_000]["resident"] < 1.2 * found[500]["resident"]
