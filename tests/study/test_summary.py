"""Rows to summary, on made-up rows: baselines, guessing, seeds, chance levels, strict JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import digamma

from study_support import tiny_spec, write_data
from tangency.data import load
from tangency.evaluate.numbers import trial_numbers
from tangency.statistics import PairedBootstrap
from tangency.study import parse_spec
from tangency.study.plan import measured_images, plan_trials
from tangency.study.summary.summarise import summarise

pytestmark = pytest.mark.processes  # Python asks `uname` for the platform that a summary names, once in a process

N, D = 60, 64
MAIN = "margin.bayes_gradient.sigma=0.5"


def columns(accuracy: float = 0.9, fraction: float = 0.2, cosine: float = 0.3, noise: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(noise)
    f = fraction * rng.uniform(0.8, 1.2, N)
    made = {
        "accuracy": (np.arange(N) < accuracy * N).astype(float),
        "radius": rng.uniform(0.5, 1.5, N) * (1 + fraction),
        "tangent_rank": np.full(N, 3.0),
        "tangent_fraction.margin": f,
        "tangent_fraction.margin.phase": 0.5 * f,
        "change_on.eps=2": rng.uniform(0.1, 0.2, N),
        f"alignment_cosine.{MAIN}": cosine + 0.01 * rng.normal(size=N),
        f"alignment_cosine.{MAIN}.shuffled": 0.01 * rng.normal(size=N),
    }
    for control in ("shuffled", "shuffled_class", "dct", "pca"):
        made |= {f"tangent_fraction.margin.{control}": 0.5 * f, f"tangent_overlap.{control}": np.full(N, 0.4)}
    return made


def summary(
    folder: Path, made: dict[str, dict[str, np.ndarray] | None], slack: float | None = 0.0, **changes: object
) -> dict:
    """The summary of a study whose rows are `made`, by the start of a trial's name."""
    spec = parse_spec(tiny_spec(write_data(folder), **{"measured": 30, **changes}), "test")
    data = load(spec.data)
    planned = plan_trials(spec, data)
    rows = {t.id: next((made[start] for start in made if t.id.startswith(start)), columns()) for t in planned}
    rows = {name: own for name, own in rows.items() if own is not None}  # None for a network that diverged
    outcomes = {t.id: {"outcome": "ok", "seconds": 0.0, "epochs": 1, "slack": slack} for t in planned}
    found = summarise(spec, data, planned, outcomes, rows, {})
    return json.loads(json.dumps(found, allow_nan=False))


def test_a_collapsed_standard_trial_is_no_baseline(tmp_path: Path) -> None:
    found = summary(tmp_path, {"standard": columns(accuracy=0.1)})
    by_name = {t["objective"]: t for t in found["trials"]}
    assert by_name["standard"]["outcome"] == "collapsed"
    assert by_name["gradient_norm"]["outcome"] == "ok"
    assert by_name["gradient_norm"]["regime"] == "undetermined"
    assert "no baseline" in by_name["gradient_norm"]["verdict"]["reason"]
    assert found["headline"] is None


def test_always_answering_the_largest_class_is_a_collapse(tmp_path: Path) -> None:
    """Of the measured images: those are what accuracy is of."""
    data = load(f"npz:{write_data(tmp_path)}")
    spec = parse_spec(tiny_spec(tmp_path / "tiny.npz"), "test")
    labels = data.test.labels[[i for shard in measured_images(spec, data) for i in shard]]
    share = int(labels.bincount().max()) / len(labels)
    assert len(labels) == 12
    assert share != int(data.test.labels.bincount().max()) / len(data.test)
    found = summary(tmp_path, {"gradient_norm": columns(accuracy=share)}, measured=12)
    assert found["regimes"]["constant"] == share
    assert {t["objective"]: t["outcome"] for t in found["trials"]}["gradient_norm"] == "collapsed"


def test_correlations_are_within_seeds_and_only_their_differences_to_controls_have_intervals(tmp_path: Path) -> None:
    strengths = [0.1, 0.2, 0.3, 0.4, 0.5]
    sweep = [{"objective": "standard"}, {"objective": "gradient_norm", "strengths": strengths}]
    made = {
        f"gradient_norm-{t:g}-s{seed}": columns(fraction=0.2 + t, cosine=0.3 + t, noise=int(100 * t) + seed)
        | {"radius": np.random.default_rng([seed, int(100 * t)]).uniform(0.5, 1.5, N)}
        for t in strengths
        for seed in range(5)
    }
    summed = summary(tmp_path, made, sweep=sweep, seeds=list(range(5)))
    (entry,) = summed["correlations"]
    assert (entry["x"], entry["y"]) == ("log_kappa.margin", f"alignment_cosine.{MAIN}")
    assert entry["plain"] == pytest.approx(-1)  # over cells of each seed: any two monotone curves correlate
    assert (entry["seeds"] <= 5, entry["cells"]) == (True, 6)
    assert set(entry["controls"]) == {"shuffled", "dct"}
    assert all({"difference", "low", "high", "p_holm"} <= set(each) for each in entry["controls"].values())
    flat = entry["controls"]["shuffled"]  # noise about 0 at every strength
    assert flat["withheld"].startswith("the control is flatter over strengths than y within seeds")
    assert (flat["low"], flat["high"], flat["p"], flat["p_holm"]) == (None, None, None, None)
    assert "withheld" not in entry["controls"]["dct"]


def test_extreme_gradients_leave_strict_json_with_right_counts(tmp_path: Path) -> None:
    with np.errstate(divide="ignore"):
        off = columns() | {"tangent_fraction.margin": np.zeros(N), "log_kappa.margin": np.full(N, np.inf)}
    found = summary(tmp_path, {"gradient_norm": off})
    trial = {t["objective"]: t for t in found["trials"]}["gradient_norm"]
    for key in ("kappa.margin", "log_kappa.margin"):
        entry = trial["measures"][key]
        assert (entry["mean"], entry["n"], entry["degenerate"]) == (None, 0, N), key
    assert trial["measures"]["tangent_fraction.margin"]["n"] == N
    assert trial["verdict"]["manifold"][""]["status"] == "not"  # F² at chance is floored, and beaten by k/d
    assert trial["regime"] == "weak"  # its cosines are the standard network's


def test_chance_of_log_kappa_is_the_mean_over_ranks() -> None:
    ranks = np.repeat([2.0, 22.0, 0.0], N // 3)
    made = columns() | {"tangent_rank": ranks, "log_kappa.margin": np.where(ranks > 0, 0.0, np.nan)}
    chance = trial_numbers(made, PairedBootstrap(N, 20), D, 3).chance["log_kappa.margin"]
    each = [digamma((D - k) / 2) - digamma(k / 2) + np.log(k / (D - k)) for k in (2, 22)]
    assert chance == pytest.approx(np.mean(each))


def test_images_that_answer_to_the_signal_alone_count_in_the_relative_noise() -> None:
    """The most robust images have no change under noise on the distractor; leaving them out would favour the others."""
    columns = {
        "accuracy": np.ones(4),
        "tangent_rank": np.full(4, 2.0),
        "noise_signal.sigma=0.5": np.array([0.4, 0.2, 0.6, 0.0]),
        "noise_distractor.sigma=0.5": np.array([0.0, 0.1, 0.2, 0.0]),
    }
    found = trial_numbers(columns, PairedBootstrap(4, 200), 8, 2).estimates["relative_noise.sigma=0.5"]
    assert found.mean == pytest.approx(1.2 / 0.3)
    assert (found.n, found.degenerate) == (3, 1)


def sweep_of(levels: dict[str, float], seeds: int, noise: float = 0.002) -> dict[str, dict[str, np.ndarray]]:
    """Rows in which a cell's cosine with both Bayes directions is its level, up to a network's own shift."""
    made = {}
    for place, (name, level) in enumerate(levels.items()):
        for seed in range(seeds):
            shift = noise * np.random.default_rng([place, seed]).normal()
            own = columns(cosine=level + shift, fraction=0.2 + level / 10, noise=7)  # images are shared
            network = {key.replace("bayes", "network_bayes"): values for key, values in own.items() if "bayes" in key}
            made[f"{name}-s{seed}"] = own | network
    return made


STRENGTHS = [0.1, 0.3, 1.0, 3.0]
RISE = {"gradient_norm-0.1": 0.3, "gradient_norm-0.3": 0.32, "gradient_norm-1": 0.5, "gradient_norm-3": 0.4}
LEVELS = {"standard-0": 0.3, "filtered": 0.34, "filtered_network": 0.34, "untrained": 0.0} | RISE


def regimes_summary(folder: Path, seeds: int, levels: dict[str, float] = LEVELS, **changes: object) -> dict:
    alignments = [["margin", "bayes_gradient"], ["margin", "network_bayes_gradient"]]
    content = {
        "sweep": [{"objective": "standard"}, {"objective": "gradient_norm", "strengths": STRENGTHS}],
        "measures": {**tiny_spec(Path())["measures"], "alignments": alignments},
        "network_score": "edm-fashion-mnist",
    }
    return summary(folder, sweep_of(levels, seeds), **content, seeds=list(range(seeds)), **changes)


def test_networks_are_the_unit_of_cells_and_images_of_one_network(tmp_path: Path) -> None:
    summed = regimes_summary(tmp_path, seeds=5)
    cells = {cell["id"]: cell for cell in summed["cells"]}
    assert {name: cell["regime"] for name, cell in cells.items() if name in RISE} == {
        "gradient_norm-0.1": "weak",
        "gradient_norm-0.3": "weak",
        "gradient_norm-1": "bayes_aligned",
        "gradient_norm-3": "excessive",
    }
    assert cells["filtered"]["verdict"]["reference"]
    own = cells["gradient_norm-1"]
    assert (own["verdict"]["unit"], own["verdict"]["networks"], own["seeds"]) == ("networks", 5, [0, 1, 2, 3, 4])
    measure = own["measures"][f"alignment_cosine.{MAIN}"]
    assert (measure["unit"], len(measure["each"])) == ("networks", 5)
    assert measure["mean"] == pytest.approx(np.mean(measure["each"]))
    trials = {trial["id"]: trial for trial in summed["trials"]}
    alone = trials["gradient_norm-1-s2"]
    assert alone["verdict"]["unit"] == "images"
    assert "not of other seeds" in alone["verdict"]["reason"]
    width = {
        unit: v["aligned"]["bayes_gradient"]["alignment"]
        for unit, v in (("n", own["verdict"]), ("i", alone["verdict"]))
    }
    assert width["n"]["low"] < width["n"]["mean"] < width["n"]["high"]
    assert width["i"]["images"] == N


def test_one_seed_claims_nothing_of_recipes(tmp_path: Path) -> None:
    summed = regimes_summary(tmp_path, seeds=1)
    assert {cell["verdict"]["unit"] for cell in summed["cells"]} == {"images"}
    assert {m["unit"] for cell in summed["cells"] for m in cell["measures"].values()} == {"images"}
    (curve,) = summed["curves"]
    for direction in curve["directions"].values():
        assert not direction["peak"]["shown"]
        assert direction["peak"]["p"] is None
        assert "network" in direction["peak"]["reason"]
        assert (direction["t1"]["low"], direction["t1"]["high"]) == (None, None)
    assert (summed["headline"]["unit"], summed["headline"]["networks"]) == ("images", 1)


def test_a_sweep_has_its_peak_change_points_and_thesis(tmp_path: Path) -> None:
    (curve,) = regimes_summary(tmp_path, seeds=5)["curves"]
    assert curve["cells"] == ["standard-0", *RISE]
    assert curve["strengths"] == [0, *STRENGTHS]
    level = curve["directions"]["network_bayes_gradient"]
    assert [each["mean"] for each in level["levels"]] == pytest.approx([0.3, *RISE.values()], abs=0.01)
    assert level["peak"]["shown"]
    assert level["peak"]["peak"]["strength"] == 1
    assert level["t1"]["low"] <= level["t1"]["estimate"] <= level["t1"]["high"]
    assert 0.3 < level["t1"]["estimate"] < 1
    assert 1 < level["t2"]["estimate"] < 3
    assert curve["t2_accuracy"]["estimate"] == "not reached"
    assert curve["thesis"]["best"] == dict.fromkeys(["bayes_gradient", "network_bayes_gradient"], "gradient_norm-1")


def test_a_collapsed_cell_is_no_point_of_the_common_curve(tmp_path: Path) -> None:
    other = {"noise_augmentation-0.1": 0.3, "noise_augmentation-0.3": 0.35}
    sweep = [{"objective": "standard"}, {"objective": "gradient_norm", "strengths": STRENGTHS}]
    sweep.append({"objective": "noise_augmentation", "strengths": [0.1, 0.3]})
    made = sweep_of(LEVELS | other, 3)
    for folder, dead in (("all", {}), ("dead", {f"gradient_norm-3-s{s}": columns(accuracy=0.05) for s in range(3)})):
        (tmp_path / folder).mkdir()
        curves = summary(tmp_path / folder, made | dead, sweep=sweep, seeds=[0, 1, 2])["common_curves"]
        assert [curve["cells"] for curve in curves] == 2 * [7 - bool(dead)]
        assert all(curve["r2"] is not None for curve in curves)


def test_a_curve_from_a_collapsed_standard_network_claims_nothing(tmp_path: Path) -> None:
    strengths = {f"{name}-s{seed}": own for name in RISE for seed in range(3) for own in (columns(cosine=RISE[name]),)}
    sweep = [{"objective": "standard"}, {"objective": "gradient_norm", "strengths": STRENGTHS}]
    for accuracy, claimed in ((0.1, False), (0.9, True)):
        (folder := tmp_path / str(accuracy)).mkdir()
        made = strengths | {"standard": columns(accuracy=accuracy)}
        summed = summary(folder, made, sweep=sweep, seeds=[0, 1, 2])
        (curve,) = summed["curves"]
        assert curve["directions"]["bayes_gradient"]["t1"]["estimate"] is not None
        assert ("withheld" not in curve) == claimed
        if not claimed:
            assert curve["withheld"].startswith("The standard network is collapsed, so that there is no baseline")
            assert {cell["regime"] for cell in summed["cells"] if cell["id"] in RISE} == {"undetermined"}


def test_a_lost_network_is_said_of_every_label_and_curve_that_misses_it(tmp_path: Path) -> None:
    """Of a strong cell: its label and the curve. Of the standard one, diverged or collapsed: all but single trials."""
    cases = {
        "none": ({}, set()),
        "strong": ({"gradient_norm-3-s1": None}, {"gradient_norm-3"}),
        "diverged": ({"standard-0-s1": None}, {"standard-0", "untrained", *RISE}),
        "collapsed": ({"standard-0-s1": columns(accuracy=0.7)}, {"standard-0", "untrained", *RISE}),
    }
    sweep = [{"objective": "standard"}, {"objective": "gradient_norm", "strengths": STRENGTHS}]
    for name, (changes, missing) in cases.items():
        (folder := tmp_path / name).mkdir()
        summed = summary(folder, sweep_of(LEVELS, 5) | changes, sweep=sweep, seeds=list(range(5)))
        without = {cell["id"] for cell in summed["cells"] if cell.get("withheld")}
        assert without - {"filtered"} == missing, name
        assert ("withheld" in summed["curves"][0]) == bool(missing), name
        assert bool((summed["headline"] or {}).get("regime")) == (len(missing) < 2), name
        assert not any(trial.get("withheld") for trial in summed["trials"]), name


GRADIENT_NORM = [{"objective": "standard"}, {"objective": "gradient_norm", "strengths": STRENGTHS}]


@pytest.mark.parametrize(
    ("lost", "seeds", "words"),
    [
        ("3", 3, "strength 3: all 3 networks diverged; the curve ends before it"),
        ("0.3", 3, "strength 0.3: all 3 networks diverged; the curve has no point there"),
        ("3", 1, "strength 3: its one network diverged; the curve ends before it"),
    ],
)
def test_a_cell_whose_networks_all_diverged_is_named(lost: str, seeds: int, words: str, tmp_path: Path) -> None:
    dead = {f"gradient_norm-{lost}-s{seed}": None for seed in range(seeds)}
    summed = summary(tmp_path, sweep_of(LEVELS, seeds) | dead, sweep=GRADIENT_NORM, seeds=list(range(seeds)))
    (curve,) = summed["curves"]
    assert curve["strengths"] == [0, *(t for t in STRENGTHS if t != float(lost))]
    assert curve["lacks"] == [words]
    assert summed["absent"] == [f"gradient_norm, {words}."]
    whole = summary(tmp_path, sweep_of(LEVELS, seeds), sweep=GRADIENT_NORM, seeds=list(range(seeds)))
    assert (whole["absent"], whole["curves"][0]["lacks"]) == ([], [])


def test_an_objective_that_shares_no_seed_with_the_standard_recipe_has_no_curve_and_this_is_said(
    tmp_path: Path,
) -> None:
    dead = {"standard-0-s0": None} | {f"gradient_norm-{t:g}-s1": None for t in STRENGTHS}
    summed = summary(tmp_path, sweep_of(LEVELS, 2) | dead, sweep=GRADIENT_NORM, seeds=[0, 1])
    assert summed["curves"] == []
    assert summed["absent"] == [
        f"gradient_norm has no curve: no seed is shared by the networks of standard-0, {', '.join(RISE)}."
    ]


def test_the_headline_is_the_largest_alignment_among_the_aligned_with_its_worst_estimator(tmp_path: Path) -> None:
    headline = regimes_summary(tmp_path, seeds=3)["headline"]
    assert (headline["recipe"], headline["regime"], headline["baseline"]) == (
        "gradient_norm-1",
        "bayes_aligned",
        "standard-0",
    )
    assert headline["trials"] == [f"gradient_norm-1-s{seed}" for seed in range(3)]
    assert headline["estimator"] == headline["claims"][0]["name"] == "mfa"
    (tmp_path / "weak").mkdir()
    weak = regimes_summary(tmp_path / "weak", 3, {**LEVELS, "gradient_norm-1": 0.33, "gradient_norm-3": 0.31})
    assert weak["headline"]["recipe"] == "gradient_norm-1"
    assert weak["headline"]["regime"] == "weak"
    assert weak["headline"]["rule"].startswith("no recipe is Bayes-aligned")


def test_an_unknown_slack_is_no_slack_of_zero(tmp_path: Path) -> None:
    summed = regimes_summary(tmp_path, seeds=3, slack=None)
    own = {cell["id"]: cell for cell in summed["cells"]}["gradient_norm-1"]
    assert own["regime"] == "undetermined"
    assert own["verdict"]["aligned"]["bayes_gradient"]["beyond_filter"] is None
    assert sum(each.startswith("L beyond the filter under ") for each in own["verdict"]["missing"]) == 2


def test_labels_of_the_former_rule_have_no_headline_and_no_verdicts(tmp_path: Path) -> None:
    summed = summary(tmp_path, {"gradient_norm": columns(fraction=0.4)}, rule="kappa", seeds=[0, 1])
    assert (summed["regimes"]["rule"], summed["headline"], summed["curves"]) == ("kappa", None, [])
    trained = [trial for trial in summed["trials"] if trial["objective"] == "gradient_norm"]
    assert all(trial["regime"] and trial["regime_bands"] and "verdict" not in trial for trial in trained)
    assert {cell["id"]: bool(cell["regime"]) for cell in summed["cells"]} == {
        "untrained": False,
        "standard-0": True,
        "gradient_norm-0.1": True,
    }
