"""What the report shows of a few images: gradients, scores, tangent spaces and answers, stored in little space."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from tangency.autodiff import input_gradient, undisturbed
from tangency.evaluate.pictures import closed_pictures
from tangency.measures.keys import MARGIN
from tangency.study.layout import PICTURES_SCHEMA
from tangency.study.plan import Trial
from tangency.study.work.bench import Workbench
from tangency.tangents import TangentEstimator
from tangency.tensors import write_tensors

_AT_ONCE = 8  # images, whose gradients large networks need memory for
_LARGEST = 1 << 24  # bytes of the tangent spaces of one estimator that are kept; larger ones no page could hold
_HALF, _BYTE = torch.float16, torch.int8


def draw_pictures(bench: Workbench, trials: Sequence[Trial], path: Path) -> None:
    """Write the pictured images with what scores and trials say of them.

    A picture is float16, divided by its largest |value|, which stands under "scale.NAME"; the directions of a tangent
    space are int8, divided likewise. Of each trial there are "gradient.ID", p(y|x) as "probability.ID" and the class
    that it answers as "answer.ID"; "measured" and "measured_labels" are the indices and labels of all measured images.

    Args:
        bench: of the study.
        trials: whose gradients are taken.
        path: of the file.
    """
    ids, working = torch.tensor(bench.plan.pictured), bench.plan.working
    own, y = bench.data.test.images(ids).to(bench.device), bench.data.test.labels[ids].to(bench.device)
    x, sigma = working.reduce(own), max(bench.plan.measures.sigmas)
    pictures = _in_parts(lambda x, y: closed_pictures(bench.estimators[0], x, y, sigma), x, y)
    pictures |= _in_parts(lambda x, y: _network_pictures(bench, x, y, sigma), x, y)
    answers: dict[str, Tensor] = {}
    for trial in trials:
        network = bench.classifier(trial)
        gradient = input_gradient(network, own, y, MARGIN, batch_size=_AT_ONCE).direction
        pictures[f"gradient.{trial.id}"] = working.gradient(gradient)
        answers |= _answers(trial, network, own, y)
    measured = torch.tensor([image for shard in bench.plan.shards for image in shard])
    tensors = {"image": x, "labels": y, "ids": ids, "measured": measured}
    tensors |= {"measured_labels": bench.data.test.labels[measured], **answers}
    for name, picture in pictures.items():
        tensors |= halved(name, picture)
    for frame in bench.source.frames:
        tensors |= kept_tangents(f"tangents.{frame.label}", frame.estimator, x, ids.to(bench.device))
    header = {
        "schema": PICTURES_SCHEMA,
        "sigma": sigma,
        "scalar": MARGIN,
        "ids": ids.tolist(),
        "measure_hashes": [trial.measure_hash for trial in trials],
    }
    write_tensors(path, tensors, header)


def halved(name: str, picture: Tensor) -> dict[str, Tensor]:
    """Pictures (N, C, H, W) as float16, each divided by its largest |value|, which stands beside them.

    Example:
        >>> halved("score", torch.tensor([[[[1e-9, -2e-9]]]]))["score"].tolist()
        [[[[0.5, -1.0]]]]
    """
    return _scaled(name, picture, 1.0, _HALF)


def kept_tangents(name: str, estimator: TangentEstimator, x: Tensor, ids: Tensor) -> dict[str, Tensor]:
    """Tangent spaces at x (N, C, H, W) as int8 (N, k, d), rows √w·u for P = U diag(w) Uᵀ; nothing for too large ones.

    Args:
        name: of the tensor.
        estimator: whose spaces they are.
        x, ids: the images, and their places in their data set (N,).
    """
    if x.numel() * estimator.max_rank > _LARGEST:
        return {}
    bases = []
    for part in torch.split(torch.arange(len(x), device=x.device), _AT_ONCE):
        space = estimator.at(x[part], ids[part])
        weights = torch.ones_like(space.basis[:, 0]) if space.weights is None else space.weights.to(space.basis)
        rows = space.basis.mT * weights.sqrt()[..., None]
        bases.append(nn.functional.pad(rows, (0, 0, 0, estimator.max_rank - rows.shape[1])))
    return _scaled(name, torch.cat(bases), 127.0, _BYTE)


def _scaled(name: str, values: Tensor, top: float, kind: torch.dtype) -> dict[str, Tensor]:
    """Values (N, …) over their largest |value|, times `top`; of int8 (N, k, d), of each row of the last axis."""
    axes = tuple(range(1, values.dim())) if kind == _HALF else (-1,)
    scale = values.float().nan_to_num(0.0, 0.0, 0.0).abs().amax(axes)
    whole = scale.reshape(*scale.shape, *[1] * (values.dim() - scale.dim()))
    shares = values.float() / whole.where(whole > 0, 1.0) * top
    return {name: (shares.round() if kind == _BYTE else shares).to(kind), f"scale.{name}": scale}


def _answers(trial: Trial, network: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """p(y|x) and the answered class of each image, (N,) each."""
    with undisturbed(network), torch.no_grad():
        p = torch.cat([network(part) for part in torch.split(x, _AT_ONCE)]).double().softmax(1)
    return {
        f"probability.{trial.id}": p.gather(1, y[:, None].long())[:, 0].float(),
        f"answer.{trial.id}": p.argmax(1),
    }


def _in_parts(make: Callable[[Tensor, Tensor], Mapping[str, Tensor]], x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """What is made of images, a few at a time."""
    parts = [make(*part) for part in zip(torch.split(x, _AT_ONCE), torch.split(y, _AT_ONCE), strict=True)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _network_pictures(bench: Workbench, x: Tensor, y: Tensor, sigma: float) -> dict[str, Tensor]:
    """What the trained score says of images, by target."""
    score = bench.network
    if score is None:
        return {}
    made: dict[str, Callable[[], Tensor]] = {
        "network_bayes_gradient": lambda: score.bayes_direction(x, y, sigma).direction,
        "network_score_y": lambda: score.score(x, sigma, y),
        "network_score": lambda: score.score(x, sigma),
    }
    return {name: make() for name, make in made.items() if name in bench.spec.measures.network_targets}
