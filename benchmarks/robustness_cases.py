"""Robustness: what is measured, against the passes through the network that it cannot do without, and against peers.

The peers live in an environment of their own, since one pins old packages: `python -m venv PEERS`, then
`PEERS/bin/pip install torchattacks foolbox adversarial-robustness-toolbox torch torchvision packaging safetensors`, and
TANGENCY_PEERS=PEERS/bin/python.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.attack_peers import BATCH, EPSILON, STEPS, bare_gradients, setting
from benchmarks.case import Case, SkippedError, interleaved
from tangency.attacks import pgd
from tangency.autodiff import undisturbed
from tangency.measures import MeasureConfig
from tangency.measures.comparison.frames import Frame
from tangency.measures.robustness.changes import changes
from tangency.models import build
from tangency.numerics import unit
from tangency.objectives.losses import InnerAttack, pgd_l2
from tangency.seeding import Draw
from tangency.tangents import TangentSpace

RANK, IMAGES = 128, 16
CONFIG = MeasureConfig(epsilons=(1.438, 2.637, 4.833, 8.859), directions=1)  # the paper's


def on_off() -> Case:
    """On/off changes of 16 images at the paper's setting, directions included, against the 9 forward passes alone."""
    model = build("resnet18", (3, 32, 32), 10, seed=0).eval()
    ids = torch.arange(IMAGES)
    x = Draw(0, ids, "images").uniform((3, 32, 32))
    jacobian = torch.randn(IMAGES, 3072, RANK, generator=torch.Generator().manual_seed(0))
    space = TangentSpace(torch.linalg.qr(jacobian)[0], torch.full((IMAGES,), RANK))
    noise = Draw(0, ids, "noise").normal((3, 32, 32))
    ends = [x, *(x + e * unit(noise) for e in CONFIG.epsilons for _ in range(2))]

    def ours() -> Tensor:
        drawn = Draw(0, ids, "direction 0").normal(x.shape[1:])
        frame = Frame("", space, {}, space.on_direction(drawn)[None], unit(space.reject(drawn))[None])
        with undisturbed(model), torch.no_grad():
            columns = changes(model, model(x), x, frame, CONFIG)
        return torch.stack([columns[f"change_{side}.eps=1.438"] for side in ("on", "off")])

    def bare() -> Tensor:
        with torch.no_grad():
            return torch.stack([model(end).sum(1) for end in ends])[:2]

    def published() -> Tensor:
        """One image at a time, its basis by SVD, a pass for each step, with the graph that nobody needs."""
        rows = []
        for i in range(4):
            u = torch.linalg.svd(jacobian[i], full_matrices=False)[0]
            z = torch.randn(3072, generator=torch.Generator().manual_seed(i))
            along = u @ (u.T @ z)
            for v in (along, z - along):
                for epsilon in CONFIG.epsilons:
                    moved = x[i] + epsilon * (v / v.norm()).reshape(3, 32, 32)
                    rows.append((model(moved[None]).softmax(1) - model(x[i][None]).softmax(1)).abs().sum(1).detach())
        return torch.stack(rows)

    def more(_: float) -> dict[str, float]:
        seconds = interleaved({"ours": ours, "bare": bare, "published": published}, 3)
        times = seconds["published"] * IMAGES / 4 / seconds["bare"]
        return {"ours over bare passes": seconds["ours"] / seconds["bare"], "published loop over bare passes": times}

    what = f"on/off changes of {IMAGES} images, 4 lengths, k = 128, ResNet-18: the bare forward passes / ours"
    return Case(what, ours, bare, torch.inf, more, at_least=1 / 1.15)


def pgd_bare() -> Case:
    """PGD-10 against the ten input gradients that it consists of."""
    model, x, y = setting()
    draw = Draw(0, torch.arange(BATCH), "attack")
    return Case(
        f"PGD-{STEPS} (l2) of {BATCH} images of 3×32×32, ResNet-18: the bare input gradients / ours",
        lambda: pgd(model, x, y, EPSILON, steps=STEPS, draw=draw).images,
        lambda: bare_gradients(model, x, y),
        torch.inf,
        at_least=1 / 1.05,
    )


def pgd_peers() -> Case:
    """The same attack by torchattacks, foolbox and ART, all in their interpreter, one after the other in turn."""
    peers = os.environ.get("TANGENCY_PEERS", "")
    if not peers:
        raise SkippedError("TANGENCY_PEERS names no interpreter with torchattacks, foolbox and ART")
    root = Path(__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}", "OMP_NUM_THREADS": "1"}
    command = [peers, "-m", "benchmarks.attack_peers"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SkippedError(f"{peers} failed: {done.stderr.strip().splitlines()[-1]}")
    results = json.loads(done.stdout.strip().splitlines()[-1])
    model, x, y = setting()
    draw = Draw(0, torch.arange(BATCH), "attack")
    return Case(
        f"PGD-{STEPS} (l2) in the peers' interpreter: seconds over those of the bare input gradients, and losses",
        lambda: pgd(model, x, y, EPSILON, steps=STEPS, draw=draw).images,
        lambda: bare_gradients(model, x, y),
        torch.inf,
        lambda _: results,
    )


def pgd_training() -> Case:
    """A PGD-10 training step: ours against the published one, whose inner loop also makes parameter gradients."""
    model = build("resnet18", (3, 32, 32), 10, seed=0).train()
    x, y = Draw(0, torch.arange(BATCH), "images").uniform((3, 32, 32)), torch.arange(BATCH) % 10
    draw = Draw(0, torch.arange(BATCH), "train")

    def finished(losses: Tensor) -> Tensor:
        losses.mean().backward()
        model.zero_grad()
        return losses.detach()

    def ours() -> Tensor:
        return finished(pgd_l2(model, x, y, draw, EPSILON, attack=InnerAttack(steps=STEPS)))

    def published() -> Tensor:
        return finished(F.cross_entropy(model(_published_attack(model, x, y)), y, reduction="none"))

    what = f"PGD-{STEPS} training step of {BATCH} images of 3×32×32, ResNet-18: published / ours"
    return Case(what, ours, published, torch.inf, at_least=1.4)


def _published_attack(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """utils/regularized_loss.py of tml-tuebingen/pags: `backward` to the parameters too, in train mode."""
    delta = torch.rand_like(x)
    delta = delta / delta.norm() * EPSILON / 2
    for _ in range(STEPS):
        delta = delta.detach().requires_grad_(True)
        F.cross_entropy(model(x + delta), y).backward()
        assert delta.grad is not None
        delta = delta.detach() + 2 * EPSILON / STEPS * delta.grad / delta.grad.norm()
        if delta.norm() > EPSILON:
            delta = delta / delta.norm() * EPSILON
    return (x + delta).detach()


CASES = {"on_off": on_off, "pgd_bare": pgd_bare, "pgd_peers": pgd_peers, "pgd_training": pgd_training}
