"""Mutants of one format, each loaded in a process forked from this one, which has loaded all libraries already.

    python -m fuzz.worker FORMAT COUNT SEED

prints one line of JSON for each mutant: {"mutant", "magic", "outcome": "read", "refused" or what went wrong, "message",
"memory": bytes above those at the fork}. The valid file comes first, as mutant −1.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

CPU_SECONDS = 60
WALL_SECONDS = 900  # a last resort: a mutant that waits without computing
ADDRESS_SPACE = 12 << 30  # above the present one; what is taken is measured, this only saves the machine
CODE = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "pickle.find_class", "socket.connect")


def preload() -> None:
    """Import what loaders import, without starting threads, which a fork does not copy."""
    import platform

    import accelerate  # noqa: F401
    import matplotlib.figure  # noqa: F401
    import onnx.checker
    import onnx.inliner
    import onnx.version_converter  # noqa: F401
    import onnxruntime  # noqa: F401
    import PIL.Image
    import polars  # noqa: F401
    import safetensors.torch  # noqa: F401
    import torch
    import torchvision  # noqa: F401
    import yaml  # noqa: F401
    from diffusers import UNet2DModel  # noqa: F401

    import tangency.cli.app
    import tangency.models
    import tangency.report
    import tangency.score
    import tangency.study
    import tangency.worlds  # noqa: F401

    PIL.Image.init()
    platform.processor()  # asks a program, once
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")


def peak() -> int:
    """Bytes of memory that this process has held at most since `forget_peak`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM")


def in_child(work: Callable[[], object], watched: bool = True) -> dict[str, Any]:
    """What came of `work` in a forked process: read, refused, or what must never be."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _child(work, writer, watched)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        ended = signal.Signals(os.WTERMSIG(status))
        names = {signal.SIGXCPU: f"over {CPU_SECONDS} s of CPU", signal.SIGALRM: f"over {WALL_SECONDS} s"}
        return {"outcome": names.get(ended, f"killed by {ended.name}"), "message": "", "memory": 0}
    return json.loads(told) if told else {"outcome": f"left with {status}", "message": "", "memory": 0}


def _child(work: Callable[[], object], writer: int, watched: bool) -> None:
    """Never returns."""
    from tangency.errors import TangencyError

    def tell(outcome: str, message: str) -> None:
        found = {"outcome": outcome, "message": message[:2000], "memory": peak() - before}
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(json.dumps(found).encode())
        os._exit(0)

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if watched and event in CODE:
            tell(f"ran code: {event}", repr(arguments) + "".join(traceback.format_stack()[-8:]))

    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before = peak()
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + ADDRESS_SPACE, size + ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(WALL_SECONDS)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what C++ prints of it
    sys.addaudithook(watch)
    try:
        work()
    except TangencyError as error:
        tell("refused", str(error))
    except BaseException:  # that is what is looked for
        tell("crashed", traceback.format_exc()[-2000:])
    tell("read", "")


def mutants(name: str, count: int, seed: int) -> None:
    """Make, mutate and load."""
    from fuzz.run_folder import RUN_FOLDERS
    from fuzz.subjects import SUBJECTS

    subject = (SUBJECTS | RUN_FOLDERS)[name]
    with tempfile.TemporaryDirectory() as temporary:
        valid, folder = Path(temporary, "valid"), Path(temporary, "mutant")
        valid.mkdir()
        made = in_child(lambda: subject.make(valid), watched=False)
        files = sorted(
            path.relative_to(valid) for path in valid.rglob(subject.files) if path.is_file() and path.stat().st_size
        )
        if not files:
            raise SystemExit(f"{name}: no valid file was made: {made}")
        for number in range(-1, count):
            rng = random.Random(f"{name} {seed} {number}")
            shutil.copytree(valid, folder)
            chosen = folder / files[rng.randrange(len(files))]
            original = chosen.read_bytes()
            changed = original if number < 0 else rng.choice(subject.kinds)(original, rng)
            chosen.write_bytes(changed)
            before = sorted(path for path in folder.rglob("*"))
            found = in_child(lambda: subject.load(folder))
            if not subject.writes and before != sorted(path for path in folder.rglob("*")):
                found["outcome"] = "left files behind"
            about = {
                "mutant": number,
                "file": chosen.name,
                "same": changed == original,
                "magic": subject.magic(changed),
            }
            print(json.dumps(about | found), flush=True)
            shutil.rmtree(folder)


if __name__ == "__main__":
    preload()
    mutants(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
