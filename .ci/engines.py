"""A short study on a real Slurm and on a real Ray of this machine: the same rows as on local processes, to the bit.

Prints "ran" or "skipped: why" for each. Where this is root and apt answers, Debian's Slurm is installed first. A study
that fails, or rows that differ, end it with exit code 1.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

SCRIPTS = Path(__file__).parent.parent / "scripts"
SPEC = {
    "name": "engines",
    "data": "world:linear?rank=2&classes=2&shape=1x8x8&train=60&test=10",
    "score": "exact",
    "measured": 6,
    "shard": 3,
    "sweep": [{"objective": "standard"}, {"objective": "gradient_norm", "strengths": [0.1]}],
    "train": {"epochs": 1},
    "pictures": 2,
    "replicates": 100,
    "measures": {"metrics": ["cosine"], "directions": 1},
}
PATIENCE = 420  # seconds for one study


def study(folder: Path, engine: str, *options: str) -> bytes:
    """The bytes of a study's rows."""
    run = folder / engine
    command = [sys.executable, "-m", "tangency", "study", "run", str(folder / "spec.yaml"), "--out", str(run)]
    subprocess.run(
        [*command, "--engine", engine, *options, "--json"], check=True, capture_output=True, timeout=PATIENCE
    )
    return (run / "rows.parquet").read_bytes()


def started(script: str, folder: Path) -> str | None:
    """Start a cluster; what it printed last, or None after saying why there is none."""
    done = subprocess.run([sys.executable, str(SCRIPTS / script), "start", str(folder)], capture_output=True, text=True)
    name = script.partition("_")[0].capitalize()
    if done.returncode == 0:
        return done.stdout.strip().splitlines()[-1]
    if done.returncode != 3:
        sys.exit(f"{name}: failed to start: {done.stderr}")
    print(f"{name}: skipped: {done.stderr.strip().splitlines()[-1]}")
    return None


def stop(script: str, folder: Path) -> None:
    """End a cluster."""
    subprocess.run([sys.executable, str(SCRIPTS / script), "stop", str(folder)], check=True, capture_output=True)


def install_slurm() -> None:
    """Debian's packages, where this is root and apt answers; what is missing is said by the script that wants them."""
    if shutil.which("sbatch") or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    words = ["apt-get", "install", "--yes", "--quiet", "slurm-wlm", "munge"]
    subprocess.run(words, capture_output=True, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, timeout=300)


def main() -> None:
    """Both engines, one after the other."""
    install_slurm()
    with tempfile.TemporaryDirectory(prefix="te") as place:
        folder = Path(place)
        (folder / "spec.yaml").write_text(yaml.safe_dump(SPEC), encoding="utf-8")
        expected = study(folder, "local")
        for name, module, script in (("slurm", "submitit", "slurm_here.py"), ("ray", "ray", "ray_here.py")):
            if importlib.util.find_spec(module) is None:
                print(f"{name.capitalize()}: skipped: {module} is not installed")
                continue
            here = Path(tempfile.mkdtemp(prefix="te"))
            words = started(script, here)
            if words is None:
                continue
            try:
                options = ["--address", words.split()[-1]] if name == "ray" else []
                os.environ["SLURM_CONF"] = str(here / "slurm.conf")
                rows = study(folder, name, *options)
            except subprocess.CalledProcessError as error:
                sys.exit(f"{name.capitalize()}: the study failed: {error.stderr.decode()[-3000:]}")
            finally:
                stop(script, here)
            if rows != expected:
                sys.exit(f"{name.capitalize()}: its rows differ from those of local processes")
            print(f"{name.capitalize()}: ran: {len(rows)} bytes of rows, equal to those of local processes")


if __name__ == "__main__":
    main()
