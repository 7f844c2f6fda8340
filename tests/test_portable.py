"""What Linux, macOS and Windows have in common is enough: modules, files, folders, locks, ends of processes."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from processes import PATIENCE, Processes, run
from tangency.errors import RunError
from tangency.files import write_json
from tangency.study.layout import Layout

SOURCE = Path(__file__).parent.parent / "src" / "tangency"
MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "tty")
FUNCTIONS = ("fork", "forkpty", "killpg", "getuid", "geteuid", "getsid", "setsid", "mkfifo", "sysconf", "fchmod")
FUNCTIONS += ("sched_getaffinity", "getloadavg")
SIGNALS = ("SIGKILL", "SIGHUP", "SIGUSR1", "pthread_sigmask", "setitimer")
ELSEWHERE = f"""
import importlib, os, pkgutil, signal, sys
# Other packages choose by the platform what they import, and this one is neither macOS nor Windows.
import filelock, jinja2, multiprocessing.connection, numpy, psutil, pydantic, rich.console, safetensors.torch, torch
import typer, yaml

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in {MODULES}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

for name in {MODULES}:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Absent())
for module, names in ((os, {FUNCTIONS}), (signal, {SIGNALS})):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
import tangency
found = [module.name for module in pkgutil.walk_packages(tangency.__path__, "tangency.")]
for name in found:
    if name != "tangency.__main__":  # which is the command line
        importlib.import_module(name)
print(len(found))
"""
HOLD = """
import sys
from pathlib import Path
from tangency.study.layout import Layout
with Layout(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.processes
def test_every_module_imports_without_what_only_unix_has() -> None:
    done = run([sys.executable, "-c", ELSEWHERE])
    files = [path for path in SOURCE.rglob("*.py") if path.name != "__init__.py"]
    assert int(done.stdout) >= len(files)


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_text_files_name_their_encoding(path: Path) -> None:
    """Windows takes another one, and cannot write a σ in it."""
    assert unnamed(path.read_text(encoding="utf-8")) == []


def test_the_check_of_encodings_can_fail() -> None:
    assert unnamed("path.write_text('σ')") == [1]
    assert unnamed("path.read_text()\nopen(path)\nopen(path, 'w')") == [1, 2, 3]
    assert unnamed("open(path, 'rb')\nopen(path, encoding='utf-8')\nImage.open(path)\nos.open(path, flags)") == []


def unnamed(source: str) -> list[int]:
    """Lines that open a text file in whatever encoding the system has."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or any(word.arg == "encoding" for word in node.keywords):
            continue
        binary = any(isinstance(a, ast.Constant) and isinstance(a.value, str) and "b" in a.value for a in node.args[1:])
        opens = isinstance(node.func, ast.Name) and node.func.id == "open" and not binary
        if opens or (isinstance(node.func, ast.Attribute) and node.func.attr in ("read_text", "write_text")):
            found.append(node.lineno)
    return found


def test_a_system_that_opens_no_folders_writes_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def windows(path: str | Path, *arguments: int, **options: int) -> int:
        if Path(path).is_dir():
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", windows)
    write_json(tmp_path / "a.json", [1])
    assert (tmp_path / "a.json").read_text() == "[\n 1\n]\n"


@pytest.mark.processes
def test_a_lock_holds_while_its_process_lives_and_not_longer(tmp_path: Path, processes: Processes) -> None:
    run_folder = tmp_path / "run"
    holder = processes.start(
        [sys.executable, "-c", HOLD, str(run_folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(RunError, match="another process is working on it"), Layout(run_folder).locked():
        pytest.fail("two hold one folder")
    holder.kill()
    assert holder.wait(PATIENCE) == -signal.SIGKILL
    with Layout(run_folder).locked():
        assert (run_folder / ".lock").exists()
    assert (run_folder / ".lock").exists()  # which tells a run of ours from a folder of somebody else's


def test_a_folder_is_held_once_in_a_process_too(tmp_path: Path) -> None:
    with (
        Layout(tmp_path / "run").locked(),
        pytest.raises(RunError, match="another process"),
        Layout(tmp_path / "run").locked(),
    ):
        pytest.fail("held twice")
    with Layout(tmp_path / "run").locked():
        pass


@pytest.mark.processes
@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_console_without_greek_letters_gets_its_answer(encoding: str) -> None:
    done = run(
        [sys.executable, "-m", "tangency", "worlds", "--help"], {"PYTHONIOENCODING": encoding}, encoding=encoding
    )
    assert "distractor" in done.stdout
    assert done.stderr == ""
