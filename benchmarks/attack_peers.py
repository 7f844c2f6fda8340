"""PGD (l2) by us and by torchattacks, foolbox and ART on one network; run by the interpreter that has them.

Each gets the same images, labels, budget, step size and number of steps, and starts at random. Printed as JSON: seconds
over those of the bare input gradients, and the mean cross-entropy reached.
"""

from __future__ import annotations

import json
import warnings

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.attack_setting import BATCH, EPSILON, STEPS, bare_gradients, setting
from benchmarks.case import interleaved
from tangency.attacks import pgd
from tangency.seeding import Draw

LENGTH = 2.5 * EPSILON / STEPS


def main() -> None:
    """Measure all of them in turn."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    import foolbox
    import torchattacks
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    model, x, y = setting()
    theirs = torchattacks.PGDL2(model, eps=EPSILON, alpha=LENGTH, steps=STEPS, random_start=True)
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    box = foolbox.attacks.L2PGD(abs_stepsize=LENGTH, steps=STEPS, random_start=True)
    classifier = PyTorchClassifier(model, nn.CrossEntropyLoss(), (3, 32, 32), 10, clip_values=(0, 1), device_type="cpu")
    art = ProjectedGradientDescentPyTorch(
        classifier,
        norm=2,
        eps=EPSILON,
        eps_step=LENGTH,
        max_iter=STEPS,
        num_random_init=1,
        batch_size=BATCH,
        verbose=False,
    )
    draw = Draw(0, torch.arange(BATCH), "attack")
    attacks = {
        "tangency": lambda: pgd(model, x, y, EPSILON, steps=STEPS, draw=draw).images,
        "torchattacks": lambda: theirs(x, y),
        "foolbox": lambda: box.run(wrapped, x, foolbox.criteria.Misclassification(y), epsilon=EPSILON),
        "ART": lambda: torch.from_numpy(art.generate(x.numpy(), np.eye(10, dtype=np.float32)[y.numpy()])),
    }

    def loss(images: Tensor) -> float:
        model.eval()
        with torch.no_grad():
            return float(F.cross_entropy(model(images), y))

    found = {f"loss {name}": loss(attack()) for name, attack in attacks.items()}
    found["loss clean"] = loss(x)
    seconds = interleaved({"bare": lambda: bare_gradients(model, x, y), **attacks}, repeats=3)
    found |= {f"{name} over bare": seconds[name] / seconds["bare"] for name in attacks}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
