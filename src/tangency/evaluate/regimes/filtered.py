"""A standard-trained network behind the fixed linear filters that bring its gradients nearest to Bayes directions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from tangency.errors import SpecError
from tangency.evaluate.filters import BestFilters, Filtered, FilterSearch, FilterSource
from tangency.measures import MeasureConfig
from tangency.measures.config import NETWORK
from tangency.measures.keys import MARGIN
from tangency.models import prepared, probes
from tangency.score import Denoiser
from tangency.types import LabelledImages

TARGETS = ("bayes_gradient", "network_bayes_gradient")


@dataclass(frozen=True, eq=False)
class FilteredBaseline(Mapping[str, nn.Module]):
    """Bayes direction to the network behind the best filter for it, as a mapping.

    Args:
        networks: what the mapping holds.
        best: the names of the filters, and the table that they are chosen from.
    """

    networks: Mapping[str, nn.Module]
    best: BestFilters

    @property
    def slack(self) -> Mapping[str, float]:
        """Bayes direction to the L by which another filter may exceed the chosen one."""
        return self.best.slack

    def __getitem__(self, target: str) -> nn.Module:
        return self.networks[target]

    def __iter__(self) -> Iterator[str]:
        return iter(self.networks)

    def __len__(self) -> int:
        return len(self.networks)


def filtered_baseline(
    model: nn.Module,
    *,
    train_data: LabelledImages,
    score: Denoiser | None = None,
    network: Denoiser | None = None,
    config: MeasureConfig | None = None,
    images: int = 500,
    seed: int = 0,
    outputs: str | None = None,
) -> FilteredBaseline:
    """A standard-trained network f behind A, x ↦ f(A x), with A the fixed linear filter of the highest L.

    L = mean [cos(g, b) − cos(g, b′)] of the gradient g of the margin of f∘A with a Bayes direction b = ∇ log p_σ(y|x),
    b′ that of another image, on training images, which no verdict is made from. A is one of 63: the identity, PCA and
    DCT projections, Gaussian blurs, Wiener filters of the training images, and squares. It is what smoothing can do
    without training: a network is Bayes-aligned only beyond it. One forward and one backward pass a filter and image.

    Args:
        model: f, maps (N, C, H, W) in [0, 1] to (N, classes) logits, as `measure` takes it.
        train_data: images that filters are made from and chosen on.
        score: closed form, whose direction is "bayes_gradient"; from `load_score`, or a world.
        network: trained score, whose direction is "network_bayes_gradient".
        config: of `measure`: its largest σ and its working size are those of the directions.
        images: how many training images filters are chosen on, ≥ 2, a fixed random subset.
        seed: of that subset.
        outputs: as for `measure`.

    Returns:
        Mapping from direction to module, for `measure`, with `slack` for `regimes` and the table in `best`.

    Raises:
        SpecError: no score, or none that knows classes.
        NumericsError, ModelError: a model that `measure` refuses.

    Source: ours; "beyond smoothing" of the regimes. Deviation: none known to compare with.

    Example:
        >>> import tangency
        >>> world = tangency.make_world("linear?rank=3&classes=2&shape=1x8x8")
        >>> data = tangency.load_data("world:linear?rank=3&classes=2&shape=1x8x8&train=200&test=40")
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
        >>> config = MeasureConfig(metrics=("cosine",), sigmas=(0.2,))
        >>> behind = filtered_baseline(net, train_data=data.train, score=world, config=config, images=50)
        >>> list(behind), behind["bayes_gradient"](data.test.images()[:3]).shape
        (['bayes_gradient'], torch.Size([3, 2]))
    """
    config = config or MeasureConfig()
    scores = {target: one for target, one in zip(TARGETS, (score, network), strict=True) if one is not None}
    if not scores or not all(one.classes > 1 for one in scores.values()):
        raise SpecError("filtered_baseline: got no score of classes, expected score=, network=, or both.")
    if images < 2:
        raise SpecError(f"images: got {images}, expected at least 2, since the controls need another one.")
    device = next((each.device for each in model.parameters()), torch.device("cpu"))
    ready, _ = prepared(model, probes(train_data, train_data.shape, device), len(train_data.classes), outputs)
    working = config.working(train_data.shape) if config.working_size else None
    search = FilterSearch.prepared(
        scores,
        train_data,
        max(config.sigmas),
        count=images,
        seed=seed,
        device=device,
        working=None if working is None or working.whole else working,
    )
    best = search.best(ready, device=device)
    return FilteredBaseline(behind_filters(ready, best.chosen, train_data, device), best)


def behind_filters(
    net: nn.Module, chosen: Mapping[str, str], train: LabelledImages, device: str | torch.device
) -> dict[str, nn.Module]:
    """Bayes direction to a network behind the filter of a name; directions of one filter share a module."""
    source = FilterSource(train, device)
    by_name = {name: Filtered(source.named(name), net) for name in dict.fromkeys(chosen.values())}
    return {target: by_name[name] for target, name in chosen.items()}


def searched(config: MeasureConfig, score: Denoiser | None, network: Denoiser | None) -> dict[str, Denoiser]:
    """Bayes direction to the score that gives it, of those that verdicts are made from: cosines with the margin's."""
    scores = {target: network if target.startswith(NETWORK) else score for target in TARGETS}
    measured = {target for name, target in config.alignments if name == MARGIN} if "cosine" in config.metrics else set()
    return {target: one for target, one in scores.items() if one is not None and target in measured}
