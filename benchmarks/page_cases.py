"""The page of a large run in a browser: a step of its slider, and its first answer."""

from __future__ import annotations

import atexit
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from benchmarks.case import Case, SkippedError

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # which make the run
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Milliseconds from a step of the slider until the next frame is painted.
_STEP = """async () => {
    const slider = document.getElementById("strength"), start = performance.now();
    slider.value = (Number(slider.value) + 1) % (Number(slider.max) + 1);
    slider.dispatchEvent(new Event("input", {bubbles: true}));
    await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
    return performance.now() - start;
}"""


class _Opened:
    """The page of the large run in headless Chromium."""

    def __init__(self) -> None:
        path = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
        if path is None:
            raise SkippedError("there is no Chromium")
        try:
            from playwright.sync_api import sync_playwright
        except ImportError:
            raise SkippedError("the package playwright is not installed") from None
        self._folder = TemporaryDirectory()
        self.file = Path(self._folder.name) / "index.html"
        self.file.write_text(_large_page(Path(self._folder.name) / "run"), encoding="utf-8")
        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        self.page: Any = None
        atexit.register(self.close)

    def open(self) -> Tensor:
        """Open the page anew, until a first step of its slider is painted."""
        if self.page is not None:
            self.page.close()
        self.page = self._browser.new_page(viewport={"width": 1280, "height": 800})
        self.page.set_default_timeout(120_000)
        self.page.goto(self.file.as_uri())
        self.page.evaluate('() => document.getElementById("pictures").scrollIntoView()')
        self.page.evaluate(_STEP)
        return torch.zeros(1)

    def step(self) -> Tensor:
        """One step of the slider, with pictures and curves in sight."""
        self.page.evaluate(_STEP)
        return torch.zeros(1)

    def figures(self, _: float) -> dict[str, float]:
        """Milliseconds of a step as the page counts them, median and first after opening; and its megabytes."""
        steps = torch.tensor([self.page.evaluate(_STEP) for _ in range(15)])
        self.page.reload()
        first = self.page.evaluate(_STEP)
        return {"step_ms": float(steps.median()), "first_ms": first, "page_MB": self.file.stat().st_size / 1e6}

    def close(self) -> None:
        """End the browser."""
        self._browser.close()
        self._playwright.stop()
        self._folder.cleanup()


def _large_page(folder: Path) -> str:
    from report.large_run import build_large_run
    from tangency.report.page.study import render_study
    from tangency.report.read.run import read_run

    return render_study(read_run(build_large_run(folder)))


def page() -> Case:
    """Opening the page of a large run against a step of its slider."""
    opened = _Opened()
    opened.open()
    return Case(
        "the page of 1,000 images, 30 strengths and 3 seeds, opened / a step of its slider, for the process that "
        "drives the browser; what a reader waits for are step_ms and first_ms, which only a quiet machine tells",
        opened.step,
        opened.open,
        0.0,
        opened.figures,
    )


CASES = {"page": page}
