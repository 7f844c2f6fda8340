"""The page of a study in headless Chromium: it does what it says, and its numbers are those of the run's files.

Usage: page.py RUN, a finished run. Prints "page: ran", or "page: skipped: why". Where this is root and apt answers,
Debian's Chromium is installed first. A second run with markup in its names, several seeds and a comparison is made for
the test. What fails ends it with exit code 1.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
MARKUP = "<script>window.injected=1</script><img src=x onerror=window.injected=1>"
INSTALLING = 240  # seconds that apt may take


def browser() -> str | None:
    """The path of a Chromium, installed where it can be; None after saying why there is none."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None and hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["update"], ["install", "--yes", "--no-install-recommends", "chromium"]):
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(["apt-get", "-qq", *command], capture_output=True, timeout=INSTALLING, check=False)
        found = shutil.which(BROWSERS[0])
    if found is None:
        print("page: skipped: there is no Chromium, and none can be installed (not root, or apt does not answer)")
    return found


def axe_source() -> str | None:
    """axe-core as text, from the packages of web/; None after saying why there is none."""
    file = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
    if not file.exists() and shutil.which("npm"):
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=ROOT / "web", capture_output=True, timeout=INSTALLING, check=False)
    if file.exists():
        return file.read_text(encoding="utf-8")
    print("page: axe-core skipped: npm is not there, or could not install it")
    return None


def hostile_run(folder: Path) -> Path:
    """A made-up run of three seeds whose names hold markup."""
    sys.path.insert(0, str(ROOT / "tests"))
    import polars as pl
    from safetensors.numpy import load_file, save_file

    from report.synthetic_run import CLASSES, build_run

    run = build_run(folder / "hostile", seeds=(0, 1, 2), second=0.9)
    name, evil = "noise_augmentation", f"noise_{MARKUP}"
    text = (run / "summary.json").read_text().replace(name, json.dumps(evil)[1:-1])
    text = text.replace(json.dumps(CLASSES[1]), json.dumps(f"{CLASSES[1]} {MARKUP}"))
    summary = json.loads(text)
    summary["name"] = summary["data"]["name"] = MARKUP
    (run / "summary.json").write_text(json.dumps(summary))
    rows = pl.read_parquet(run / "rows.parquet")
    rows.with_columns(pl.col("trial").str.replace(name, evil, literal=True)).write_parquet(run / "rows.parquet")
    pictures = run / "artefacts" / "pictures.safetensors"
    save_file({own.replace(name, evil): values for own, values in load_file(pictures).items()}, pictures)
    return run


def written(run: Path, against: Path | None = None) -> Path:
    """The page of a run with its exported numbers, without the figures of a whole report."""
    from tangency.report.page.html import compact_json
    from tangency.report.page.study import exported, render_study
    from tangency.report.read.run import read_run

    own = read_run(run)
    page = run / "report" / "index.html"
    page.parent.mkdir(exist_ok=True)
    page.write_text(render_study(own, read_run(against) if against else None), encoding="utf-8")
    (page.parent / "run.json").write_text(compact_json(exported(own)), encoding="utf-8")
    return page


@contextlib.contextmanager
def opened(chromium: Any, page_file: Path, problems: list[str]) -> Iterator[Any]:
    """The page in a context of its own; errors of its script and its requests are collected."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.on("console", lambda said: problems.append(f"console: {said.text}") if said.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(f"script: {error}"))
    page.on("request", lambda sent: problems.append(f"request: {sent.url}") if sent.url.startswith("http") else None)
    page.goto(page_file.resolve().as_uri())
    page.wait_for_function("globalThis.tangency !== undefined")
    yield page
    context.close()


def main(run: Path) -> None:
    """Check the page of a run, and that of a made-up one."""
    if importlib.util.find_spec("playwright") is None:
        print("page: skipped: the package playwright is not installed (pip install 'tangency[test]')")
        return
    path = browser()
    if path is None:
        return
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        hostile = hostile_run(Path(folder))
        pages = [written(run), written(hostile, against=run)]
        start = time.perf_counter()
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        axe = axe_source()
        failed = examine(chromium, run, pages[0], hostile / "report" / "run.json", axe)
        failed += examine(chromium, hostile, pages[1], run / "report" / "run.json", None)
        chromium.close()
    if failed:
        sys.exit("page: failed:\n" + "\n".join(failed))
    print(f"page: ran ({time.perf_counter() - start:.0f} s)")


def examine(chromium: Any, run: Path, page_file: Path, other: Path, axe: str | None) -> list[str]:
    """What is wrong with one page, by every check."""
    import page_checks as checks
    from page_accessible import check_accessible

    held, problems = checks.Held.of(run), []
    plain: list[Callable[..., None]] = [
        checks.check_slider, checks.check_pickers, checks.check_sorting, checks.check_dialog, checks.check_downloads,
        checks.check_thresholds, checks.check_curves, checks.check_all_numbers, checks.check_numbers_by_image,
        checks.check_narrow, checks.check_steering, checks.check_paper,
    ]  # fmt: skip
    with opened(chromium, page_file, problems) as page:
        for check in plain:
            attempt(check, problems, page, held)
        attempt(checks.check_comparison, problems, page, held, other)
        if axe is not None:
            attempt(check_accessible, problems, page, axe)
        if page.evaluate("globalThis.injected !== undefined"):
            problems.append("markup in a name was run")
    return [f"{run.name}: {problem}" for problem in dict.fromkeys(problems)]


def attempt(check: Callable[..., None], problems: list[str], *arguments: Any) -> None:
    """One check, timed; what it finds joins the problems."""
    from playwright.sync_api import Error

    start = time.perf_counter()
    try:
        check(*arguments)
    except (AssertionError, Error) as problem:
        problems.append(f"{check.__name__}: {problem}")
    if os.environ.get("PAGE_TIMES"):
        print(f"  {check.__name__} {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
