"""The script of a study's page: built from web/, and its own tests pass. Both need npm."""

import shutil
import subprocess
from pathlib import Path

import pytest

import tangency

ROOT = Path(__file__).parents[2]
BUNDLE = Path(tangency.__file__).parent / "report" / "page" / "bundle"


def run(command, folder):
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    """The sources with their packages, which npm installs by the lock file."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("no npm on this machine: the script of the page is not built anew")
    if (ROOT / "web" / "node_modules" / "esbuild").is_dir():
        return ROOT / "web"
    folder = shutil.copytree(ROOT / "web", tmp_path_factory.mktemp("web") / "web")
    installed = run(["npm", "ci", "--no-audit", "--no-fund"], folder)
    if installed.returncode:
        pytest.skip(f"npm ci failed, so the script of the page is not built anew: {installed.stderr.strip()[-300:]}")
    return folder


@pytest.mark.processes
def test_the_bundle_is_what_its_sources_build(web, tmp_path):
    built = run(["node", "build.js", str(tmp_path)], web)
    assert built.returncode == 0, built.stderr
    for name in ("explorer.js", "player.js", "NOTICE-explorer.txt"):
        same = (tmp_path / name).read_bytes() == (BUNDLE / name).read_bytes()
        assert same, f"{name} is not that of web/: run `npm ci && npm run build` in web/ and commit it"


@pytest.mark.processes
def test_the_scripts_own_tests_pass(web):
    tested = run(["node", "--test"], web)
    assert tested.returncode == 0, tested.stdout[-3000:]


def test_no_script_reads_data_as_html():
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "web" / "src").rglob("*.js")]
    assert len(sources) > 20
    forbidden = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(")
    for text in sources:
        assert not any(word in text for word in forbidden)
        assert len(text.splitlines()) < 200


@pytest.mark.parametrize("name", ["explorer.js", "player.js"])
def test_a_bundle_cannot_end_its_element(name):
    assert "</script" not in (BUNDLE / name).read_text(encoding="utf-8").lower()
