"""PGD (l2) by us and by torchattacks, foolbox and ART on one network; run by the interpreter that has them, with torch.

Each gets the same images, labels, budget, step size and number of steps. Printed as JSON: seconds over those of the
bare input gradients (random starts), and the mean cross-entropy reached from the image itself and from random starts,
with the standard error of their mean. Our starts, foolbox's and ART's are uniform in the ball, and so near its surface;
those of torchattacks are uniform in distance, nearer to the image.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.case import interleaved
from tangency.attacks import pgd
from tangency.autodiff import undisturbed
from tangency.models import build
from tangency.seeding import Draw

BATCH, STEPS, EPSILON = 8, 10, 0.5
LENGTH = 2.5 * EPSILON / STEPS
STARTS = 8


def setting() -> tuple[nn.Module, Tensor, Tensor]:
    """A network in eval mode, sure of its answers, images of smooth random colours, and the classes it gives them."""
    model = build("resnet18", (3, 32, 32), 10, seed=0).eval()
    coarse = Draw(0, torch.arange(BATCH), "images").uniform((3, 4, 4))
    x = F.interpolate(coarse, scale_factor=8, mode="bilinear", align_corners=False)
    with torch.no_grad():
        next(part for part in reversed(list(model.modules())) if isinstance(part, nn.Linear)).weight.mul_(30)
        return model, x, model(x).argmax(1)


def bare_gradients(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """What no attack of so many steps can do without: that many input gradients of the loss, parameters frozen."""
    with undisturbed(model):
        for _ in range(STEPS):
            inputs = x.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(F.cross_entropy(model(inputs), y, reduction="sum"), inputs)
    return gradient


def main() -> None:
    """Measure all of them in turn."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    import foolbox
    import torchattacks
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    model, x, y = setting()
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    classifier = PyTorchClassifier(model, nn.CrossEntropyLoss(), (3, 32, 32), 10, clip_values=(0, 1), device_type="cpu")
    one_hot = np.eye(10, dtype=np.float32)[y.numpy()]
    wrong = foolbox.criteria.Misclassification(y)

    def attacks(random: bool, seed: int = 0) -> dict[str, Callable[[], Tensor]]:
        draw = Draw(seed, torch.arange(BATCH), "attack")
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (ART draws from it)
        theirs = torchattacks.PGDL2(model, eps=EPSILON, alpha=LENGTH, steps=STEPS, random_start=random)
        box = foolbox.attacks.L2PGD(abs_stepsize=LENGTH, steps=STEPS, random_start=random)
        art = ProjectedGradientDescentPyTorch(
            classifier, 2, EPSILON, LENGTH, None, STEPS, num_random_init=int(random), batch_size=BATCH, verbose=False
        )
        return {
            "tangency": lambda: pgd(model, x, y, EPSILON, steps=STEPS, draw=draw, random_start=random).images,
            "torchattacks": lambda: theirs(x, y),
            "foolbox": lambda: box.run(wrapped, x, wrong, epsilon=EPSILON),
            "ART": lambda: torch.from_numpy(art.generate(x.numpy(), one_hot)),
        }

    def loss(images: Tensor) -> float:
        model.eval()
        with torch.no_grad():
            return float(F.cross_entropy(model(images), y))

    results = {"loss clean": loss(x)}
    results |= {f"loss from the image, {name}": loss(attack()) for name, attack in attacks(False).items()}
    reached = [{name: loss(attack()) for name, attack in attacks(True, seed).items()} for seed in range(STARTS)]
    for name in reached[0]:
        losses = np.array([each[name] for each in reached])
        results[f"loss from {STARTS} random starts, {name}"] = float(losses.mean())
        results[f"standard error, {name}"] = float(losses.std(ddof=1) / STARTS**0.5)
    seconds = interleaved({"bare": lambda: bare_gradients(model, x, y), **attacks(True)}, repeats=2)
    results |= {f"{name} over bare": value / seconds["bare"] for name, value in seconds.items() if name != "bare"}
    print(json.dumps(results))


if __name__ == "__main__":
    main()
