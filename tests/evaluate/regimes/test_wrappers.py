"""On real images no fixed filter before the baseline is ever Bayes-aligned, in the bank of filters or not."""

from __future__ import annotations

from pathlib import Path

import pytest

import tangency
from tangency.evaluate.filters import Filtered, filter_named
from tangency.models import build

WRAPPERS = (
    *("pca-25", "pca-50", "pca-100", "pca-37", "dct-8x8", "dct-14x14", "dct-9x11", "blur-0.5", "blur-1", "blur-2"),
    *("blur-0.85", "wiener-0.03", "wiener-0.1", "wiener-0.3", "wiener-1", "wiener-0.6", "wiener-0.12^2"),
)


@pytest.mark.slow
def test_no_filter_before_the_baseline_is_bayes_aligned_under_two_directions(tmp_path: Path) -> None:
    data = tangency.load_data("fashion-mnist-5k")
    net = build("convnet", data.train.shape, data.train.classes)
    config = tangency.TrainConfig(epochs=2, batch_size=64)
    tangency.train(net, data.train, tangency.objective("standard", 0.0), config, tmp_path)
    measures = tangency.MeasureConfig(
        metrics=("cosine",),
        sigmas=(0.5,),
        epsilons=(),
        rho_sigmas=(),
        directions=1,
        alignments=(("margin", "bayes_gradient"), ("margin", "network_bayes_gradient")),
    )
    scores = {
        "score": tangency.load_score("mfa?components=2&rank=12", data),
        "network": tangency.load_score("edm-fashion-mnist", data),
    }
    given = {"train_data": data.train, "config": measures, **scores}
    tangents = tangency.load_tangents("local-pca?rank=12&neighbours=40", data)
    x, y = data.test.images()[:200], data.test.labels[:200]
    behind = tangency.filtered_baseline(net, **given, images=200)
    filtered = {target: tangency.measure(one, x, y, tangents=tangents, **given) for target, one in behind.items()}
    base = tangency.measure(net, x, y, tangents=tangents, **given)
    wrapped = {name: Filtered(filter_named(name, data.train), net) for name in WRAPPERS}
    rows = {name: tangency.measure(one, x, y, tangents=tangents, **given) for name, one in wrapped.items()}
    own = tangency.regimes(rows, base, y, filtered=filtered, slack=behind.slack)
    assert [name for name, verdict in own.items() if verdict.regime == "bayes_aligned"] == []
    assert all(len(verdict.aligned) == 2 for verdict in own.values())
    raised = [v for v in own.values() if all(each.over_standard.low > 0 for each in v.aligned.values())]
    assert raised  # above the baseline itself some of them are: that alone would be no rule
