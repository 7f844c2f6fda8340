"""Run by an interpreter that has robustness and robustbench: their own networks, weights and logits, into a folder.

OWNERS/bin/python tests/models/owners.py FOLDER NAME...; a NAME is robustness:DATASET:ARCH or a network of RobustBench,
with DATASET a class of robustness.datasets. Images are read from FOLDER/images.npy; FOLDER/NAME.ckpt and
FOLDER/NAME.npy are written.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn


def spread(module: nn.Module) -> nn.Module:
    """Every parameter and statistic drawn anew, so that none may be lost unseen."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in module.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                value.copy_(torch.rand(value.shape, generator=generator) * 0.5 + 0.5 * name.endswith("var"))
        for value in module.parameters():
            if value.dim() == 1:
                value.copy_(torch.rand(value.shape, generator=generator) * 0.5 + 0.5)
    return module.eval()


def stand_in(module: str, **held: object) -> None:
    """A module that the packages import and that is not needed here."""
    made = types.ModuleType(module)
    made.__dict__.update(held)
    sys.modules.setdefault(module, made)


def of_robustness(dataset: str, architecture: str, images: Tensor) -> tuple[object, Tensor]:
    """A checkpoint as robustness' `train_model` writes it, and the logits of its `AttackerModel`."""
    stand_in("torchvision.models.utils", load_state_dict_from_url=None)  # torchvision has dropped it
    from robustness import datasets
    from robustness.attacker import AttackerModel

    data = getattr(datasets, dataset)("")  # what `make_and_restore_model` does, which wants a GPU
    model = AttackerModel(data.get_model(architecture, False), data)
    spread(model)
    logits, _ = model(images)
    state = {f"module.{name}": value for name, value in model.state_dict().items()}  # it trains under DataParallel
    return {"model": state, "optimizer": {"state": {}}, "schedule": None, "epoch": 1, "amp": None}, logits


def of_robustbench(name: str, images: Tensor) -> tuple[object, Tensor]:
    """The state_dict of a network of RobustBench's CIFAR-10 table, and its logits."""
    for module in ("autoattack", "autoattack.state"):  # on GitHub only
        stand_in(module, AutoAttack=None, EvaluationState=None)
    from robustbench.model_zoo.cifar10 import linf

    model = spread(linf[name]["model"]())
    own = {key: value for key, value in model.state_dict().items() if key not in ("mu", "sigma", "mean", "std")}
    return {"state_dict": own}, model(images)


def made(names: list[str], images: Tensor) -> Iterator[tuple[str, object, Tensor]]:
    for name in names:
        owner, *rest = name.split(":")
        yield name, *(of_robustness(*rest, images) if owner == "robustness" else of_robustbench(name, images))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with torch.no_grad():
        for name, checkpoint, logits in made(sys.argv[2:], torch.from_numpy(np.load(folder / "images.npy"))):
            torch.save(checkpoint, folder / f"{name.replace(':', '-')}.ckpt")
            np.save(folder / f"{name.replace(':', '-')}.npy", logits.numpy())
