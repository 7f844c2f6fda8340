"""Modules of users made functions of float32 images to logits: precision, kind of outputs, independence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tangency.autodiff import check_logits, input_gradients, undisturbed
from tangency.errors import NumericsError, TangencyError, quoted
from tangency.models.classifier import Classifier
from tangency.models.foreign.rebuilt import Adapted
from tangency.models.independence import Averaged, averaged_note, check_independent, seeded
from tangency.models.outputs import detected_outputs, logits_of, picked

_NAME = "classifier"
Kept = Callable[[int], list[int]]


class Prepared(nn.Module):
    """A module fed in a precision that it takes, with its outputs converted to logits.

    Args:
        net: maps (N, C, H, W) to (N, classes) logits or probabilities, or to something that holds them as "logits".
        outputs: as for `logits_of`.
        precision: "weights" runs it with a float32 copy of weights in half precision or bfloat16, "images" converts
            images to the precision of its weights, "" changes neither.
    """

    def __init__(self, net: nn.Module, outputs: str = "logits", precision: str = "") -> None:
        super().__init__()
        self.net, self.outputs, self.precision = net, outputs, precision

    def forward(self, x: Tensor) -> Any:
        """(N, C, H, W) to (N, classes) logits in the precision of x."""
        logits = logits_of(self.called, x, self.outputs)
        return logits.to(x.dtype) if isinstance(logits, Tensor) and logits.is_floating_point() else logits

    def called(self, x: Tensor) -> Any:
        """The module's own result for x, in its precision."""
        if self.precision == "images":
            return self.net(x.to(_precision(self.net)))
        if self.precision == "weights":
            held = [*self.net.named_parameters(), *self.net.named_buffers()]
            state = {name: value.to(x.dtype) if value.is_floating_point() else value for name, value in held}
            return torch.func.functional_call(self.net, state, (x,))
        return self.net(x)


def _precision(net: nn.Module) -> torch.dtype:
    """Precision of the first weights, float32 where there are none."""
    return next((p.dtype for p in net.parameters() if p.is_floating_point()), torch.float32)


def prepared(
    model: nn.Module,
    images: Tensor,
    classes: int,
    outputs: str | None = None,
    allow_random: bool = False,
    kept: Kept | None = None,
) -> tuple[nn.Module, tuple[str, ...]]:
    """A module that maps each image alone to logits, and what was decided, in sentences.

    Args:
        model: of a user; returned unchanged where nothing has to be done.
        images: of `probes`, on the model's device.
        classes: number of logits that it must give.
        outputs: what the model returns, one of `OUTPUTS`; detected where it is None.
        allow_random: whether a random model is averaged over passes.
        kept: from the number of its logits to the indices of those that are kept, in this order; the softmax of each
            averaged pass is over these.

    Raises:
        NumericsError: it fails on images, gives no logits of these classes, or has no gradient.
        ModelError: it is not clear what it returns, or it depends on the batch, or is random.
    """
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        model = model.module  # the same function, on one device
    x = images[:2]
    with seeded(0, images.device):  # the caller's random state stays unchanged
        plain, returned, notes = _fed(model, x)
        logits = _check_classes(picked(returned), classes if kept is None else None)
        order = None if kept is None else kept(logits.shape[1])
        kind, output_notes = _outputs(model, plain, images, outputs)
        usable: nn.Module = plain
        if kind != "logits":
            usable = Prepared(model, kind, plain.precision)
        elif not plain.precision and logits is returned and logits.dtype == x.dtype:
            usable = model
        usable = usable if order is None else Adapted(usable, order=order)
        _check_gradient(usable, x)
        notes += output_notes
        real_first = images.flip(0)
        if check_independent(usable, real_first, _NAME, "allow_random=True", allow_random):
            usable = Averaged(usable)
            check_independent(usable, real_first, _NAME, "allow_random=True")
            notes.append(averaged_note())
    return usable, tuple(notes)


def _outputs(model: nn.Module, plain: Prepared, images: Tensor, requested: str | None) -> tuple[str, list[str]]:
    if requested is None and isinstance(model, Classifier) and "outputs" in model.card.options:
        return "logits", []  # to which it converts its outputs itself
    with undisturbed(plain):
        return detected_outputs(plain.called, images, requested, _NAME, "outputs='logits' or outputs='sigmoid'")


def _fed(model: nn.Module, x: Tensor) -> tuple[Prepared, Any, list[str]]:
    """The module fed in the first precision that works, its result, and a sentence where a precision was changed."""
    own, problem = _precision(model), None
    ways = ["", *["weights"] * (own in (torch.float16, torch.bfloat16)), *["images"] * (own != x.dtype)]
    for way in ways:
        plain = Prepared(model, precision=way)
        try:
            with undisturbed(plain), torch.no_grad():
                returned = plain.called(x.clone())
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a user's forward may raise anything
            problem = problem or error
            continue
        kind = str(own).removeprefix("torch.")
        said = {"weights": f"its weights, {kind}, are taken in float32", "images": f"it is fed images in {kind}"}
        return plain, returned, [said[way]] if way else []
    assert problem is not None
    raise _fails(problem, "forward") from problem


def _fails(problem: BaseException, where: str) -> NumericsError:
    return NumericsError(
        f"classifier: its own {where} raises {type(problem).__name__} on images: {quoted(problem)}. Call it on two "
        "images, with requires_grad, to see where."
    )


def _check_classes(returned: object, classes: int | None) -> Tensor:
    logits = check_logits(returned, 2, classes or 2)
    if classes is not None and logits.shape[1] != classes:
        raise NumericsError(
            f"classifier: {logits.shape[1]} logits an image, the training data have {classes} classes; expected as "
            "many, in the order of the labels, since log p(y|x) is about all of them. Say which outputs are the data's "
            "classes with class_map=[…], one index per class, or give train_data all class names."
        )
    return logits


def _check_gradient(usable: nn.Module, x: Tensor) -> None:
    try:
        input_gradients(usable, x, torch.zeros(len(x), dtype=torch.int64, device=x.device), ["logp_y"])
    except (TangencyError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a user's backward may raise anything
        raise _fails(error, "forward or backward pass") from error
