"""What a package index gets: notices, size, addresses, a README whose pictures are there."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LARGEST = 12_000_000  # bytes of the wheel: data, a score, LPIPS, and the pictures of pages


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel and a source distribution of these files."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.mark.processes
def test_the_wheel_is_small_and_keeps_all_notices(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    assert wheel.stat().st_size < LARGEST
    names = zipfile.ZipFile(wheel).namelist()
    kept = {name.partition(".dist-info/licenses/")[2] for name in names if ".dist-info/licenses/" in name}
    notices = {path.relative_to(ROOT).as_posix() for path in (ROOT / "src").rglob("NOTICE*")}
    assert kept == {"LICENSE", *notices}
    assert len(notices) >= 3
    assert not [name for name in names if not name.startswith(("tangency/", "tangency-"))]


@pytest.mark.processes
def test_the_source_distribution_builds_the_site(built: Path) -> None:
    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"docs/conf.py", "docs/index.md", "docs/_ext/public_names.py", "CONTRIBUTING.md", "CITATION.cff"} <= names
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")} <= names
    assert not [name for name in names if name.startswith(("docs/_build", "docs/reference", "runs/"))]


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The hook that writes README and addresses."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("package_metadata")


def test_pictures_and_links_of_the_readme_become_absolute(metadata: ModuleType) -> None:
    text = metadata.absolute((ROOT / "README.md").read_text(encoding="utf-8"), "https://example.org/it")
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    assert [target for target in targets if not target.startswith("https://")] == []
    assert "![Images" in text
    assert "](https://example.org/it/raw/main/docs/images/quickstart-pictures.png)" in text
    assert "](https://example.org/it/blob/main/docs/measure.md)" in text
    assert metadata.absolute("[a](b.md)", "") == "[a](b.md)"


def test_addresses_are_those_of_one_place(metadata: ModuleType) -> None:
    assert metadata.addresses("", "") == {"Paper": metadata.PAPER}
    assert set(metadata.addresses("https://example.org/it", "https://example.org/docs")) == {
        "Paper", "Repository", "Documentation", "Issues", "Changelog",
    }  # fmt: skip
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(project["tool"]["hatch"]["metadata"]["hooks"]["custom"]) == {"path", "repository", "documentation"}


def test_what_is_cited_is_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert f'__version__ = "{cited["version"]}"' in (ROOT / "src/tangency/__init__.py").read_text(encoding="utf-8")


def test_actions_of_workflows_are_pinned() -> None:
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        used = re.findall(r"uses: (\S+)", path.read_text(encoding="utf-8"))
        assert used
        assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) for action in used)
