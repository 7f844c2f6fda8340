"""`python -m benchmarks.ledger`: where the CPU seconds of a study go, written to docs/ledger.md."""

from __future__ import annotations

import builtins
import platform
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any
from unittest import mock

PAGE = Path(__file__).parents[1] / "docs" / "ledger.md"
COPY = {"data": "fashion-mnist-5k?train=1000", "measured": 250, "workers": 1}  # a fifth, a quarter

# Passes that a study cannot do without, and everything else; the first part of a kind is the phase that it is of.
BARE = {
    "train: classifier": "training, forward and backward passes of the classifiers",
    "train: optimiser": "training, steps of the optimiser",
    "score: mixture": "fit of the mixture (EM)",
    "trust: network": "validation of the score network, its passes",
    "trust: mixture": "fit of the mixture (EM), which is a baseline of the score network too",
    "trust: LPIPS": "validation of the score network, LPIPS passes",
    "measure: classifier": "measuring, forward and backward passes of the classifiers",
    "measure: network": "measuring, passes of the score network",
    "measure: LPIPS": "measuring, LPIPS passes",
    "pictures: classifier": "pictures of the report, passes of the classifiers",
    "pictures: network": "pictures of the report, passes of the score network",
}
REST = {
    "train": "training, everything besides its passes (batches, noise, validation images, checkpoints)",
    "score": "fit of the mixture, its denoising error",
    "trust: closed": "validation of the score network, passes of closed forms",
    "trust": "validation of the score network, everything besides passes (identities, intervals)",
    "measure: closed": "measuring, scores and tangent spaces of the closed form",
    "measure": "measuring, everything besides its passes (controls, noise, similarities, rows)",
    "pictures": "pictures of the report, everything besides their passes",
    "pictures: closed": "pictures of the report, scores of the closed form",
    "imports": "imports",
    "data": "loading and hashing the data",
    "plan": "planning and refusing",
    "weights": "loading and hashing weights",
    "write": "writing files",
    "summary": "bootstrap intervals, regimes and correlations",
    "page": "drawing the page",
    "driver": "everything else",
}


class Ledger:
    """CPU seconds by kind of work; what is done inside of a piece of work counts for the inner kind alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._open, self._since = ["imports"], 0.0  # the process began with its imports

    def _switch(self) -> None:
        now = time.process_time()
        self.seconds[self._open[-1]] += now - self._since
        self._since = now

    @contextmanager
    def of(self, kind: str) -> Iterator[None]:
        """Work of a kind; of one that begins with ": ", in the phase that is open."""
        self._switch()
        phase = self._open[-1].partition(":")[0]
        self._open.append(phase + kind if kind.startswith(": ") else kind)
        try:
            yield
        finally:
            self._switch()
            self._open.pop()

    def kept(self, function: Callable[..., Any], kind: str) -> Callable[..., Any]:
        """A function whose time is of a kind."""

        def timed(*arguments: Any, **options: Any) -> Any:
            with self.of(kind):
                return function(*arguments, **options)

        return timed

    def everywhere(self, module: str, name: str, kind: str) -> None:
        """Time a function in every module that has imported it by name."""
        original = getattr(sys.modules[module], name)
        timed = self.kept(original, kind)
        for held in [m for m in list(sys.modules.values()) if getattr(m, "__name__", "").startswith("tangency")]:
            if vars(held).get(name) is original:
                setattr(held, name, timed)

    def methods(self, owner: type, names: tuple[str, ...], kind: str) -> None:
        """Time methods of a class."""
        for name in names:
            setattr(owner, name, self.kept(getattr(owner, name), kind))

    def imports(self) -> None:
        """Time imports that happen late."""
        original = builtins.__import__

        def timed(name: str, *arguments: Any, **options: Any) -> Any:
            if name in sys.modules:
                return original(name, *arguments, **options)
            with self.of("imports"):
                return original(name, *arguments, **options)

        builtins.__import__ = timed


class _Here:
    """In place of an engine: every job in this process, as one worker would do it."""

    dashboard = ""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def __call__(self, config: Any, work: Any, run: Path, workers: int, device: str) -> _Here:
        from tangency.devices import resolve_device

        self.do_job = work.open(run, resolve_device(device))
        return self

    def __enter__(self) -> _Here:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return None

    def do(self, jobs: list[Any], on_event: Callable[..., None]) -> None:
        """Do all jobs, each as a phase of its kind."""
        for job in sorted(jobs, key=lambda job: -job.cost):
            with self.ledger.of(job.payload["kind"]):
                self.do_job(job.payload, lambda share: None)


def measured() -> dict[str, float]:
    """CPU seconds by kind, of the quickstart's spec on fewer images, in one thread of one process."""
    ledger = Ledger()
    ledger.imports()
    import torch
    from torch import optim

    import tangency.report.write
    import tangency.study.run as driver
    from tangency.models import Classifier
    from tangency.perceptual.lpips import LPIPS
    from tangency.score import MixtureScore, NetworkScore
    from tangency.study import quickstart_spec
    from tangency.tangents import MixtureTangents

    torch.set_num_threads(1)
    ledger._switch()
    ledger._open = ["driver"]
    for module, name, kind in (
        ("tangency.worlds.registry", "load_dataset", "data"),
        ("tangency.study.preflight", "checked_plan", "plan"),
        ("tangency.score.references", "load_score", "weights"),
        ("tangency.models.weights", "read_classifier", "weights"),
        ("tangency.mixtures.em", "fit_mixture", ": mixture"),
        ("tangency.files", "write_json", "write"),
        ("tangency.tensors", "write_tensors", "write"),
        ("tangency.study.assemble", "assemble_rows", "write"),
        ("tangency.study.assemble", "columns_by_trial", "summary"),
        ("tangency.study.summary.summarise", "summarise", "summary"),
        ("tangency.report.write", "write_report", "page"),
    ):
        ledger.everywhere(module, name, kind)
    ledger.methods(Classifier, ("forward",), ": classifier")
    ledger.methods(NetworkScore, ("_denoise",), ": network")
    ledger.methods(LPIPS, ("embed", "pooled"), ": LPIPS")
    ledger.methods(MixtureScore, ("score", "denoise", "bayes_direction"), ": closed")
    ledger.methods(MixtureTangents, ("at",), ": closed")
    for optimiser in (optim.AdamW, optim.SGD, optim.Adam):
        ledger.methods(optimiser, ("step",), ": optimiser")
    backward = {"train": ": classifier", "measure": ": classifier", "pictures": ": classifier", "trust": ": network"}
    original, grad = torch.Tensor.backward, torch.autograd.grad

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def passed(*arguments: Any, **options: Any) -> Any:
            with ledger.of(backward.get(ledger._open[-1].partition(":")[0], ": backward")):
                return function(*arguments, **options)

        return passed

    torch.Tensor.backward, torch.autograd.grad = timed(original), timed(grad)  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(driver, "open_engine", _Here(ledger)):
        driver.run_study(quickstart_spec(**COPY), folder)
        tangency.report.write.write_report(folder)
    ledger._switch()
    return dict(ledger.seconds)


def table(seconds: dict[str, float]) -> str:
    """The page of docs/."""
    unknown = set(seconds) - set(BARE) - set(REST)
    rest = dict(REST) | {kind: kind for kind in sorted(unknown)}
    whole = sum(seconds.values())
    bare = sum(seconds.get(kind, 0.0) for kind in BARE)

    def rows(kinds: dict[str, str]) -> str:
        made = [(seconds[kind], words) for kind, words in kinds.items() if seconds.get(kind, 0.0) >= 0.005]
        return "".join(f"| {words} | {s:.2f} | {s / whole:.1%} |\n" for s, words in sorted(made, reverse=True))

    return TEXT.format(
        share=f"{bare / whole:.0%}",
        bare_rows=rows(BARE),
        rest_rows=rows(rest),
        bare=f"{bare:.1f}",
        rest=f"{whole - bare:.1f}",
        whole=f"{whole:.1f}",
        bare_share=f"{bare / whole:.1%}",
        rest_share=f"{1 - bare / whole:.1%}",
        machine=f"{platform.machine()}, Python {platform.python_version()}",
    )


TEXT = """\
# Where the time of a study goes

Drawn by `python -m benchmarks.ledger`. The quickstart's spec on 1,000 of its 5,000 training images, with 250 of its
1,000 measured images, was run once, in one thread of one process ({machine}).
The numbers are CPU seconds, so that other work on the machine does not count. Work inside of other work counts once,
for the inner kind.

**{share} of the CPU seconds are bare passes**: forward and backward passes of networks, optimiser steps and the fit of
the mixture. This ratio depends little on the machine. What a study does once, such as imports and the page, weighs more
here than in the whole quickstart, which has more images.

| Bare passes | CPU seconds | share |
| --- | ---: | ---: |
{bare_rows}| **all bare passes** | **{bare}** | **{bare_share}** |

| Everything else | CPU seconds | share |
| --- | ---: | ---: |
{rest_rows}| **everything else** | **{rest}** | **{rest_share}** |

Together {whole} CPU seconds. Each worker process adds its own imports, loads the data and the weights once, and makes
the bases of the controls; the driver alone plans and hashes files, and each fit of a mixture stands in a file that the
other processes read. `python -m benchmarks evaluations` counts how many passes of the score network and of LPIPS are
repeated.
"""


def main() -> None:
    """Measure, print and write the page."""
    page = table(measured())
    PAGE.write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
