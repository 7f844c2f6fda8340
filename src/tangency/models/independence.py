"""Tests whether a classifier maps each image alone to logits: dependence on the batch is refused, chance averaged."""

from __future__ import annotations

import contextlib
import math
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

from tangency.autodiff import undisturbed
from tangency.errors import ModelError
from tangency.models.architectures.layers import applied
from tangency.seeding import derive_seed

DRAWS = 16
_HALF = 4  # images that stay, and as many that are exchanged
_ALONE = 3
_RARE = 8  # more passes of a network that draws random numbers, but gave the same
_TOLERANCE = 1e-4  # of the spread of the logits, in single precision; 16 roundings in lower ones
_LOW = (torch.float16, torch.bfloat16)
_RANDOM = ("rand", "randn", "randint", "bernoulli", "normal", "uniform", "rand_like", "randn_like", "multinomial")
_BATCH_NORM = "it normalises by the images of the batch (batch_norm in training mode)"
_DROPOUT = "its dropout is on in eval mode, too"


class Averaged(nn.Module):
    r"""A random classifier as the expectation of its probabilities: log p̄(y|x), p̄ = (1/K) Σₖ softmax f(x; ωₖ).

    Pass k draws its random numbers ωₖ from its own seed, the same for each image and each call, and sees one image at a
    time (vectorised by `torch.func.vmap` where possible). So it is a function of one image, and its gradient is exactly
    that of log p̄, not an average of gradients. Logits are known up to a shift of each row.

    Args:
        net: maps (N, C, H, W) to (N, classes) logits, which differ at each call.
        draws: K.
    """

    def __init__(self, net: nn.Module, draws: int = DRAWS) -> None:
        super().__init__()
        self.net, self.draws = net, draws
        self.vectorised: bool | None = None  # known after the first call

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, classes), the logarithm of mean probabilities."""
        if self.vectorised is None:
            self.vectorised = self._maps(x[:1].detach().clone().requires_grad_())
        seeds = [derive_seed("random classifier", k) for k in range(self.draws)]
        # Each pass is repeated, to its end, for its gradients, so that only one graph is held at a time.
        parts = [
            checkpoint(self._pass, x, seed, use_reentrant=False, preserve_rng_state=False, early_stop=False)
            for seed in seeds
        ]
        return torch.stack([part.log_softmax(1) for part in parts]).logsumexp(0) - math.log(self.draws)

    def _pass(self, x: Tensor, seed: int) -> Tensor:
        with seeded(seed, x.device):
            if not len(x):
                return applied(self.net, x)
            if self.vectorised:
                return self._mapped(x)
        return torch.cat([self._alone(image[None], seed) for image in x])

    def _mapped(self, x: Tensor) -> Tensor:
        return torch.func.vmap(lambda image: applied(self.net, image[None])[0], randomness="same")(x)

    def _alone(self, image: Tensor, seed: int) -> Tensor:
        with seeded(seed, image.device):
            return applied(self.net, image)

    def _maps(self, x: Tensor) -> bool:
        """Whether vmap takes the network and its backward pass; TorchScript's optimiser fails after some calls."""
        if any(isinstance(part, torch.jit.ScriptModule) for part in self.net.modules()):
            return False
        try:
            with seeded(0, x.device), torch.enable_grad():
                torch.autograd.grad(self._mapped(x).sum(), x, materialize_grads=True)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, TypeError, NotImplementedError):
            return False
        return True


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Random numbers of torch, Python and NumPy from a seed; their states are restored afterwards."""
    numpy = sys.modules.get("numpy")
    states = random.getstate(), None if numpy is None else numpy.random.get_state()
    cuda = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=cuda):
            torch.default_generator.manual_seed(seed)
            for one in cuda:
                with torch.cuda.device(one):
                    torch.cuda.manual_seed(seed)
            random.seed(seed)
            if numpy is not None:
                numpy.random.seed(seed % 2**32)
            yield
    finally:
        random.setstate(states[0])
        if numpy is not None:
            numpy.random.set_state(states[1])


@dataclass
class _Seen:
    """What a pass over a network showed."""

    batch: str = ""
    random: str = ""
    coarsest: float = 0.0


class _Watch(TorchFunctionMode):
    """Notes statistics of the batch, dropout, random numbers, and the coarsest precision on the way."""

    def __init__(self, seen: _Seen) -> None:
        super().__init__()
        self.seen = seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").partition(".")[0].strip("_")
        named = kwargs or {}
        trains = named.get("training", named.get("train")) is True
        if "batch_norm" in name and (trains or any(value is True for value in args[3:6])):
            self.seen.batch = _BATCH_NORM
        elif "dropout" in name and (trains or any(value is True for value in args[2:3])):
            self.seen.random = _DROPOUT
        elif name in _RANDOM and not self.seen.random:
            self.seen.random = f"it draws random numbers (torch.{name})"
        if isinstance(out, Tensor) and out.dtype in _LOW:
            self.seen.coarsest = max(self.seen.coarsest, torch.finfo(out.dtype).eps)
        return out


def check_independent(net: nn.Module, images: Tensor, name: str, way: str, allow_random: bool = False) -> bool:
    """Whether a network is random; raises unless its logits of an image depend on that image (and chance) alone.

    Tested on at most 8 images, in eval mode, in about a dozen passes: twice; with other images beside them and the same
    random numbers; with other random numbers; in another order; alone. A difference larger than rounding (1e-4 of the
    spread of the logits; 16 units of the last place where it computes in half precision, bfloat16 or TensorFloat-32) is
    reported with its likely reason.

    Args:
        net: maps (N, C, H, W) to (N, classes) logits; left unchanged.
        images: (N, C, H, W), at least 8 different ones.
        name: of the network, for errors.
        way: how a caller allows random networks, for errors; empty where they cannot be allowed.
        allow_random: whether a random network passes.

    Raises:
        ModelError: it depends on the other images or their number, or is random where that is not allowed.
    """
    x, seen = images[: 2 * _HALF], _Seen()
    others = torch.cat([x[:_HALF], (images[2 * _HALF :] if len(images) >= 3 * _HALF else 1 - x)[:_HALF]])
    with undisturbed(net), torch.no_grad():
        with _Watch(seen):
            first, drawn = _run(net, x, 0)
        # Batches of one size go through the same kernels, in which a row is rounded as it was before.
        limit, same = _limit(first, seen, net, 16), _limit(first, seen, net, 1)
        gap = _gap(first[:_HALF], _run(net, others, 0)[0][:_HALF])
        if gap > same and _gap(first, _run(net, x, 0)[0]) > same:
            raise ModelError(
                f"{name}: gives other logits for the same images ({_share(gap, first)}) though the random numbers of "
                "torch, NumPy and Python are the same, so its rows could not be repeated. Look for a state that its "
                "forward changes, or for a random generator of its own."
            )
        if gap > same:
            raise _dependent(name, _share(gap, first), _batch_reason(net, seen))
        gap = max(_gap(first, _run(net, x, seed)[0]) for seed in range(1, 1 + (_RARE if drawn else 1)))
        if gap > limit:
            if not allow_random:
                raise _random(name, _share(gap, first), seen.random or _scripted(net)[1], way)
            if reason := _batch_reason(net, seen):
                raise _dependent(name, _share(gap, first), reason)
            return True
        gap = max(
            _gap(first, _run(net, x.flip(0), 0)[0].flip(0)),
            _gap(first[:_ALONE], torch.cat([_run(net, x[i : i + 1], 0)[0] for i in range(_ALONE)])),
        )
        if gap > limit:
            raise _dependent(name, _share(gap, first), _batch_reason(net, seen))
    return False


def _run(net: nn.Module, x: Tensor, seed: int) -> tuple[Tensor, bool]:
    """Logits, and whether random numbers were drawn."""
    with seeded(seed, x.device):
        before = _state(x.device)
        logits = applied(net, x.clone())
        return logits.double(), any(not torch.equal(a, b) for a, b in zip(before, _state(x.device), strict=True))


def _state(device: torch.device) -> list[Tensor]:
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def _spread(logits: Tensor) -> float:
    """Largest distance of a logit from the mean of its row."""
    return float((logits - logits.mean(1, keepdim=True)).abs().nan_to_num(0, 0, 0).max())


def _limit(logits: Tensor, seen: _Seen, net: nn.Module, units: int) -> float:
    """Difference that rounding can make: relative to the spread, and at least the rounding of the logits themselves."""
    scripts = [part for part in net.modules() if isinstance(part, torch.jit.ScriptModule)]  # whose steps are hidden
    low = [torch.finfo(p.dtype).eps for part in scripts for p in part.parameters() if p.dtype in _LOW]
    coarsest = max([seen.coarsest, *low])
    if logits.device.type == "cuda":
        coarsest = max(coarsest, 2.0**-11)  # TensorFloat-32, cuDNN's default for convolutions
    relative = max(_TOLERANCE, units * coarsest)
    return max(relative * _spread(logits), 16 * 2.0**-23 * float(logits.abs().nan_to_num(0, 0, 0).max()))


def _gap(a: Tensor, b: Tensor) -> float:
    """Largest difference; NaN beside a number is infinite."""
    apart = (a - b).abs()
    same = (a == b) | (a.isnan() & b.isnan())
    return float(apart.masked_fill(same, 0.0).nan_to_num(torch.inf, torch.inf).max())


def _batch_reason(net: nn.Module, seen: _Seen) -> str:
    for path, part in net.named_modules():
        kind = getattr(part, "original_name", type(part).__name__)
        lacks = getattr(part, "running_mean", 0) is None and "InstanceNorm" not in kind
        if "BatchNorm" in kind and lacks:
            named = path.removeprefix("module.").removeprefix("net.")
            return f"'{named}' ({kind}) keeps no running statistics (track_running_stats=False)"
    return seen.batch or _scripted(net)[0]


def _scripted(net: nn.Module) -> tuple[str, str]:
    """Why the graph of a TorchScript module depends on the batch, and why it is random."""
    part = next((part for part in net.modules() if isinstance(part, torch.jit.ScriptModule)), None)
    if part is None:
        return "", ""
    graph: Any = part.inlined_graph.copy()
    torch._C._jit_pass_constant_propagation(graph)

    def on(kind: str, place: int) -> bool:
        return any(node.inputsAt(place).toIValue() is True for node in graph.findAllNodes(f"aten::{kind}"))

    return _BATCH_NORM * on("batch_norm", 5), _DROPOUT * on("dropout", 2)


def _share(gap: float, logits: Tensor) -> str:
    return f"by {gap / max(_spread(logits), 1e-30):.1%} of the spread of its logits"


def _dependent(name: str, share: str, reason: str) -> ModelError:
    return ModelError(
        f"{name}: what it says of an image depends on the other images of the batch ({share})"
        f"{': ' if reason else ''}{reason}. Its numbers would change with the batch size. Give its BatchNorm layers "
        "running statistics (track_running_stats=True and a pass over training images), or export it in eval mode "
        "(net.eval() before torch.export, torch.jit.trace, torch.onnx.export)."
    )


def _random(name: str, share: str, reason: str, way: str) -> ModelError:
    average = (
        f", or average: with {way} the logarithm of its mean softmax over {DRAWS} passes with fixed random numbers is "
        f"measured, at {DRAWS} times the cost"
    ) * bool(way)
    return ModelError(
        f"{name}: gives other logits at each call for the same images ({share}){': ' if reason else ''}{reason}. "
        f"Switch that off (eval mode){average}."
    )


def averaged_note(draws: int = DRAWS) -> str:
    """The note of a random network that is averaged."""
    return (
        f"it is random: its logits are the logarithm of its mean softmax over {draws} passes with fixed random "
        "numbers, as allowed"
    )
