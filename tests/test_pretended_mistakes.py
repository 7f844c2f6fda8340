"""The pretended device refuses what CUDA refuses: each rule, and mistakes planted in copies of the package's files."""

from __future__ import annotations

import copy
import importlib
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretended_device import CPU, CUDA, DEVICE, DeviceMistake, PretendedCuda, place
from tangency.models import build
from tangency.objectives import losses, make
from tangency.seeding import Draw
from tangency.training import TrainConfig, train
from tangency.types import LabelledImages

NAME, SHAPE, CLASSES = str(DEVICE), (1, 8, 8), ("a", "b", "c")


@pytest.fixture
def pretended() -> Iterator[PretendedCuda]:
    with PretendedCuda() as mode:
        yield mode


def here(*shape: int) -> Tensor:
    return torch.rand(shape or (4, 3))


def there(*shape: int) -> Tensor:
    return here(*shape).to(NAME)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


MISTAKES: dict[str, Callable[[], Any]] = {
    "sum": lambda: there() + here(),
    "cat": lambda: torch.cat([there(), here()]),
    "a number in cat": lambda: torch.stack([there()[0, 0], torch.tensor(1.0)]),
    "product": lambda: there() @ here(3, 2),
    "mask": lambda: there().masked_fill(here() > 0.5, 0.0),
    "where": lambda: torch.where(there() > 0.5, there(), here()),
    "gather": lambda: there().gather(1, torch.zeros(4, 1, dtype=torch.int64)),
    "index of the CPU": lambda: here()[there()[:, 0].long()],
    "into the CPU": lambda: here().add_(there()),
    "a number into the CPU": lambda: torch.zeros(()).add_(there().sum()),
    "values at places": lambda: there().index_put_((torch.tensor([0]),), here(1, 3)),
    "numpy": lambda: there().numpy(),
    "array": lambda: importlib.import_module("numpy").asarray(there()),
    "generator of a factory": lambda: torch.rand(3, device=NAME, generator=generator()),
    "generator of a change": lambda: there().normal_(generator=generator()),
    "generator of a choice": lambda: there().multinomial(1, generator=generator()),
    "weights": lambda: nn.Linear(3, 2)(there()),
    "labels": lambda: F.cross_entropy(there(), torch.zeros(4, dtype=torch.int64)),
    "product of integers": lambda: there().long() @ there(3, 2).long(),
    "pinned": lambda: there().pin_memory(),
    "gradient": lambda: setattr(here().requires_grad_(), "grad", there()),
    "a function under jvp": lambda: torch.func.jvp(lambda v: v * here(), (there(),), (there(),)),
    "a function under vmap": lambda: torch.func.vmap(lambda v: v * torch.ones(3))(there()),
    "no kernel": lambda: torch.histogram(there(), 3),
}
RIGHT: dict[str, Callable[[], Any]] = {
    "a number": lambda: there() * torch.tensor(2.0),
    "a number of its own": lambda: there() * there().mean() + 1,
    "an index of the CPU": lambda: there()[torch.tensor([0, 1])],
    "like": lambda: torch.zeros_like(there()) + there().new_zeros(3),
    "factory": lambda: torch.arange(3, device=there().device) + there(),
    "copied": lambda: there().copy_(here()),
    "moved as another": lambda: here().to(there()) + there(),
    "deep copy": lambda: copy.deepcopy(nn.Linear(3, 2).to(NAME))(there()),
    "without gradient": lambda: there().detach().clone().double().float().contiguous(),
    "as_tensor": lambda: torch.as_tensor(here(), device=NAME),
    "back and forth": lambda: there().cpu().to(NAME),
    "pinned": lambda: here().pin_memory().to(NAME, non_blocking=True),
    "eigenvectors": lambda: torch.linalg.eigh(there(3, 3)).eigenvectors,
    "under vmap": lambda: torch.func.vmap(lambda v: v * 2)(there()),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_refused(name: str, pretended: PretendedCuda) -> None:
    with pytest.raises(DeviceMistake):
        MISTAKES[name]()


@pytest.mark.parametrize("name", RIGHT)
def test_allowed(name: str, pretended: PretendedCuda) -> None:
    result = RIGHT[name]()
    assert place(result) == CUDA
    assert result.device == DEVICE


def test_gradients_go_home(pretended: PretendedCuda) -> None:
    """Through a move the gradient comes back; double backward passes stay on the device."""
    weights, x = here(3, 2).requires_grad_(), there().requires_grad_()
    loss = (x @ weights.to(NAME)).square().sum()
    (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
    gradient.square().sum().backward()
    assert weights.grad is not None
    assert (place(gradient), place(weights.grad)) == (CUDA, CPU)


def test_transfers_are_counted(pretended: PretendedCuda) -> None:
    x = there()
    float(x.sum())
    x[torch.tensor([0])].cpu().tolist()
    counted = Counter({"to cuda": 1, "wait": 1, "hidden": 1, "to cpu": 1})
    assert Counter(kind for kind, _ in pretended.transfers.elements()) == counted


def planted(module: ModuleType, right: str, wrong: str) -> Any:
    """A copy of a module of the package with a mistake in it."""
    source = inspect.getsource(module)
    assert right in source
    made = ModuleType(f"{module.__name__}_planted")
    sys.modules[made.__name__] = made  # dataclasses look their module up
    exec(compile(source.replace(right, wrong), made.__name__, "exec"), made.__dict__)
    return made


def trained(classifier: Any, folder: Path) -> None:
    data = LabelledImages(here(20, *SHAPE), torch.arange(20) % 3, CLASSES)
    config = TrainConfig(epochs=1, batch_size=10, validation_fraction=0.2)
    train(classifier, data, make("standard"), config, folder, device=NAME)


def network() -> nn.Module:
    return build("convnet", SHAPE, CLASSES, seed=0, channels=(4, 4, 4))


def test_a_planted_cpu(pretended: PretendedCuda) -> None:
    wrong = planted(losses, "return cross_entropy(model(x), y)", "return cross_entropy(model(x).cpu(), y)")
    x, y = there(5, *SHAPE), torch.zeros(5, dtype=torch.int64).to(NAME)
    arguments = network().to(NAME), x, y, Draw(0, torch.arange(5).to(NAME)), 0.0
    assert place(losses.standard(*arguments)) == CUDA
    with pytest.raises(DeviceMistake, match="same device"):
        wrong.standard(*arguments)


def test_a_planted_generator(pretended: PretendedCuda) -> None:
    module = importlib.import_module("tangency.smoothing.smoothed")
    right = 'Draw(self.seed, counter, f"smoothing {purpose}").normal(x.shape[1:], x.dtype)'
    generated = "torch.randn((len(counter), *x.shape[1:]), generator=torch.Generator(), device=x.device)"
    wrong, x, ids = planted(module, right, generated), there(3, *SHAPE), torch.arange(3).to(NAME)
    assert place(module.Smoothed(network().to(NAME), 0.2).predict(x, ids, n=20)) == CUDA
    with pytest.raises(DeviceMistake, match="generator"):
        wrong.Smoothed(network().to(NAME), 0.2).predict(x, ids, n=20)


def test_a_planted_buffer(pretended: PretendedCuda, tmp_path: Path) -> None:
    module = importlib.import_module("tangency.models.classifier")
    right = 'self.register_buffer("scale", ((high - low) / std).float().to(where), persistent=False)'
    wrong = planted(module, right, "self.scale = ((high - low) / std).float().to(where)")
    for made, folder in ((module, "right"), (wrong, "wrong")):
        classifier = made.Classifier.wrap(network().module, SHAPE, CLASSES, mean=(0.5,), std=(0.2,))  # type: ignore[attr-defined]
        if folder == "right":
            trained(classifier, tmp_path / folder)
        else:
            with pytest.raises(DeviceMistake, match="same device"):
                trained(classifier, tmp_path / folder)
