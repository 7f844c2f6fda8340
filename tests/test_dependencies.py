"""What the project depends on exists, and fits together, for each Python on Linux, macOS and Windows."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path

import pytest

from processes import run

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# wheels that fit a machine, best first, and what `sys`, `os` and `platform` say there
SYSTEMS = {
    "linux": (
        [*(f"manylinux_2_{glibc}_x86_64" for glibc in range(28, 4, -1)), "manylinux2014_x86_64", "manylinux1_x86_64"],
        {"os_name": "posix", "platform_machine": "x86_64", "platform_system": "Linux", "sys_platform": "linux"},
    ),
    "macos": (
        ["macosx_14_0_arm64"],
        {"os_name": "posix", "platform_machine": "arm64", "platform_system": "Darwin", "sys_platform": "darwin"},
    ),
    "windows": (
        ["win_amd64"],
        {"os_name": "nt", "platform_machine": "AMD64", "platform_system": "Windows", "sys_platform": "win32"},
    ),
}
# pip takes the wheels of another platform, but reads "; sys_platform == …" for its own: told here for the other.
PIP = """
import json, sys
from pip._internal.cli.main import main
from pip._vendor.packaging import markers
told = json.loads(sys.argv[1])
markers.default_environment = lambda: told
sys.exit(main(sys.argv[2:]))
"""


def wanted(*names: str) -> list[str]:
    """The dependencies, and those of extras; an extra may name others."""
    found = list(PROJECT["dependencies"])
    for name in names:
        for requirement in PROJECT["optional-dependencies"][name]:
            others = re.fullmatch(r"tangency\[(.*)\]", requirement)
            found += wanted(*others[1].split(","))[len(PROJECT["dependencies"]) :] if others else [requirement]
    return found


@pytest.fixture(scope="module")
def pip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A pip that resolves without fetching what it would install: from 23.3, newer than Python 3.11 brings."""
    folder = tmp_path_factory.mktemp("pip")
    run([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), "pip>=25"])
    return str(folder)


def resolved(pip: str, system: str, python: str, requirements: list[str], folder: Path) -> dict[str, str]:
    """Names and versions of what pip would install there."""
    platforms, environment = SYSTEMS[system]
    environment = environment | {
        "implementation_name": "cpython",
        "implementation_version": f"{python}.0",
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_version": "",
        "python_full_version": f"{python}.0",
        "python_version": python,
    }
    tags = ["--implementation", "cp", "--python-version", python]
    tags += [word for abi in (f"cp{python.replace('.', '')}", "abi3", "none") for word in ("--abi", abi)]
    tags += [word for platform in platforms for word in ("--platform", platform)]
    how = ["--dry-run", "--ignore-installed", "--only-binary=:all:", "--no-cache-dir", "--use-feature=fast-deps"]
    where = ["--target", str(folder / "nowhere"), "--report", str(folder / "report.json")]
    command = [sys.executable, "-c", PIP, json.dumps(environment), "install", "--quiet", *how, *where, *tags]
    run([*command, *requirements], {"PYTHONPATH": pip})
    assert not (folder / "nowhere").exists()
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return {entry["metadata"]["name"].lower(): entry["metadata"]["version"] for entry in report["install"]}


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_dependencies_resolve_with_wheels_alone(system: str, python: str, pip: str, tmp_path: Path) -> None:
    found = resolved(pip, system, python, wanted("models"), tmp_path)
    assert {"torch", "torchvision", "filelock", "onnx", "onnxruntime", "timm", "transformers"} <= set(found)
    assert ("triton" in found) == (system == "linux")  # a dependency of torch, there alone: the markers were read so


@pytest.mark.slow
@pytest.mark.processes
def test_a_dependency_without_wheels_is_seen(pip: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="No matching distribution"):
        resolved(pip, "windows", "3.14", ["triton==3.1.0"], tmp_path)


def test_python_and_dependencies_are_declared() -> None:
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"
    assert "filelock>=4" in wanted()
    assert {"onnx>=1.16", "timm>=1.0", "transformers>=4.50"} <= set(wanted("models")) - set(wanted())
    assert "datasets>=4" in wanted("test")
