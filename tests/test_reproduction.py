"""docs/reproduction.md: every number anew from the shipped rows, by plain arithmetic; what was not run says so."""

from __future__ import annotations

import importlib
import itertools
import json
import math
import re
import shutil
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import t as student

from reproduction_support import CONTROLS, DIRECTIONS, ROWS, Sweep, Values, agrees, by_network, partial, worst
from study_support import InProcess, tiny_spec, write_data
from tangency.study import load_spec, run_study

ROOT = Path(__file__).parents[1]
CLAIMS = ROOT / "reproduction" / "claims"
FILTERS = {"mixture": "filtered", "trained score": "filtered_network"}
OBJECTIVES = {"gradient norm": "gradient_norm", "PGD ℓ₂": "pgd_l2"}


@pytest.fixture(scope="module")
def scripts() -> Any:
    """The scripts as modules."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        names = ("rows", "claims", "others", "table")
        made = {name: importlib.import_module(f"reproduction_{name}") for name in names}
        yield SimpleNamespace(**made, reproduce=importlib.import_module("reproduce"))


@pytest.fixture(scope="module")
def stated() -> dict[tuple[str, str, str], dict[str, dict[str, Any]]]:
    """(claim, part, definition) to the estimates in reproduction/claims, by name."""
    rows = [row for path in sorted(CLAIMS.glob("*.json")) for row in json.loads(path.read_text(encoding="utf-8"))]
    return {
        (row["claim"], row["part"], row["definition"]): {own["name"]: own for own in row["estimates"]} for row in rows
    }


def test_the_page_and_the_claims_are_those_of_the_rows(scripts: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert scripts.table.main(["--check"]) == 0, capsys.readouterr().out


def test_alignment_by_plain_arithmetic(stated: Any) -> None:
    sweep, own, seen = Sweep("fashion"), stated["A", "fashion", "ours"], 1
    agrees(own["accuracy of the standard networks"], sweep.values("standard-0", "accuracy"))
    for words, objective in OBJECTIVES.items():
        strengths = sweep.strengths(objective)
        level = 1 - 0.05 / len(strengths)
        for direction, filtered in FILTERS.items():
            base, behind = sweep.alignment("standard-0", direction), sweep.alignment(filtered, direction)
            slack = sweep.about["slack"]["network_bayes_gradient" if "network" in filtered else "bayes_gradient"]
            rise = 0.1 * (behind - base)
            bar = rise if rise.mean() > slack else slack
            for strength in strengths:
                at, alignment = (
                    f"{words} {strength:g}, {direction}",
                    sweep.alignment(sweep.recipe(objective, strength), direction),
                )
                if f"{at}: L − standard" in own:
                    agrees(own[f"{at}: L − standard"], alignment - base, level)
                    agrees(own[f"{at}: beyond the filter"], alignment - behind - bar, level)
                    seen += 2
    assert seen == len(own) == 9


def test_tangency_by_plain_arithmetic(stated: Any) -> None:
    sweep, own, seen = Sweep("fashion"), stated["B", "fashion", "ours"], 1
    estimators = ("", "local-pca")
    base = {estimator: sweep.ratios("standard-0", estimator) for estimator in estimators}
    for words, objective in OBJECTIVES.items():
        strengths = sweep.strengths(objective)
        level = 1 - 0.05 / len(strengths)
        for strength in (each for each in strengths if f"{words} {each:g}: − standard" in own):
            levels = {estimator: sweep.ratios(sweep.recipe(objective, strength), estimator) for estimator in estimators}
            rises = {e: {c: v - base[e][c] for c, v in each.items()} for e, each in levels.items()}
            control, numbers = min((worst(each, level) for each in levels.values()), key=lambda one: one[1][1])
            _, rise = min((worst(each, level) for each in rises.values()), key=lambda one: one[1][1])
            for name, expected in ((f"log F²/{control}", numbers), ("− standard", rise)):
                one = own[f"{words} {strength:g}: {name}"]
                assert [one["mean"], one["low"], one["high"]] == pytest.approx(expected, rel=1e-4, abs=1e-6)
                seen += 1
    assert seen == len(own) == 5


def test_correlations_by_plain_arithmetic(stated: Any) -> None:
    sweep = Sweep("fashion")
    ours, published = stated["D", "fashion", "ours"], stated["D", "fashion", "pags"]
    kappa, dct = by_network(sweep, "ln κ"), by_network(sweep, "ln κ", "dct")
    others = [by_network(sweep, "radius"), by_network(sweep, "accuracy")]
    seeds = range(len(kappa))
    for direction, column in DIRECTIONS.items():
        own, shuffled = by_network(sweep, column), by_network(sweep, f"{column}.shuffled")

        def of(x: Values, y: Values) -> Values:
            return np.array([partial(x[s], y[s], [other[s] for other in others]) for s in seeds])

        rho, to_dct = of(kappa, own), of(kappa, own) - of(dct, own)
        assert ours[f"{direction}: partial ρ of ln κ with the cosine"]["mean"] == pytest.approx(rho.mean(), abs=1e-5)
        away = ours[f"{direction}: − with another image"]["mean"]
        assert away == pytest.approx((rho - of(kappa, shuffled)).mean(), abs=1e-5)
        stated_dct = ours[f"{direction}: − with dct"]
        half = student.ppf(0.975, len(to_dct) - 1) * to_dct.std(ddof=1) / math.sqrt(len(to_dct))
        assert stated_dct["mean"] == pytest.approx(to_dct.mean(), abs=1e-5)
        assert [stated_dct["low"], stated_dct["high"]] == pytest.approx(
            [to_dct.mean() - half, to_dct.mean() + half], abs=1e-3
        )
        for words, target in (("own image", own), ("another image", shuffled)):
            plain = np.array([partial(kappa[s], target[s], []) for s in seeds])
            half = student.ppf(0.975, len(plain) - 1) * plain.std(ddof=1) / math.sqrt(len(plain))
            one = published[f"{direction}, {words}"]
            assert [one["mean"], one["low"], one["high"]] == pytest.approx(
                [plain.mean(), plain.mean() - half, plain.mean() + half], abs=1e-5
            )
    assert len(ours) == 6
    assert len(published) == 4


def crossed_at(levels: Values, strengths: list[float], level: float, past: int) -> tuple[float, float]:
    """The two strengths between which the levels cross a level, at or past a place."""
    for left, right in itertools.pairwise(range(past, len(levels))):
        if (levels[left] - level) * (levels[right] - level) <= 0:
            return strengths[left], strengths[right]
    raise AssertionError("no crossing")


def test_change_points_lie_where_the_means_cross(stated: Any) -> None:
    """t₁, t₂ lie between the strengths at which the plain means cross; their ends enclose them."""
    sweep, own = Sweep("fashion"), stated["E", "fashion", "ours"]
    for words, objective in OBJECTIVES.items():
        strengths = sweep.strengths(objective)
        names = ["standard-0", *(sweep.recipe(objective, s) for s in strengths)]
        for direction in DIRECTIONS:
            levels = np.array([sweep.alignment(name, direction).mean() for name in names])
            top = int(levels.argmax())
            for key, level, past in (("t₁", (levels[0] + levels[top]) / 2, 0), ("t₂ by L", levels[top] - 0.02, top)):
                below, above = crossed_at(levels, [0.0, *strengths], level, past)
                assert below <= own[f"{words}, {direction}: {key}"]["mean"] <= above
        accuracy = np.array([sweep.values(name, "accuracy").mean() for name in names])
        below, above = crossed_at(accuracy, [0.0, *strengths], accuracy[0] - 0.05, 0)
        assert below <= own[f"{words}: t₂ by accuracy"]["mean"] <= above
    assert len(own) == 10
    assert all(each["low"] < each["mean"] < each["high"] for each in own.values())


def test_published_steps_by_plain_arithmetic(stated: Any) -> None:
    sweep, own = Sweep("fashion"), stated["B", "fashion", "pags"]

    def steps(name: str) -> Values:
        return sweep.values(name, "change_off.eps=2") - sweep.values(name, "change_on.eps=2")

    seen = 1
    agrees(own["standard: off − on"], steps("standard-0"))
    for words, objective in OBJECTIVES.items():
        strengths = sweep.strengths(objective)
        for strength in strengths:
            if (name := f"{words} {strength:g}: off − on") in own:
                agrees(own[name], steps(sweep.recipe(objective, strength)), 1 - 0.05 / len(strengths))
                seen += 1
    assert seen == len(own) == 3


def test_foreign_networks_by_plain_arithmetic(stated: Any) -> None:
    rows = pl.read_parquet(ROWS / "foreign.parquet").to_dicts()
    cosine, fraction = "alignment_cosine.logp_y.bayes_gradient.sigma=0.5", "tangent_fraction.logp_y"
    least = [
        min(
            math.log(row[f"{fraction}{e}"] / row[f"{fraction}{e}.{c}"])
            for e in ("", ".tangents=local-pca")
            for c in CONTROLS[:4]
        )
        for row in rows
    ]
    numbers = {
        "A": [row[cosine] - row[f"{cosine}.shuffled"] for row in rows],
        "B": least,
        "κ": [-math.log(row["kappa.logp_y"]) for row in rows],
        "steps": [row["change_on.eps=2"] - row["change_off.eps=2"] for row in rows],
    }
    parted = {
        key: (
            [v for v, row in zip(own, rows, strict=True) if row["robust"]],
            [v for v, row in zip(own, rows, strict=True) if not row["robust"]],
        )
        for key, own in numbers.items()
    }
    area = {key: np.mean([a > b for a in own[0] for b in own[1]]) for key, own in parted.items()}
    published = stated["B", "foreign", "pags"]
    for letter in "AB":
        own = {name.split(": ")[-1]: each for name, each in stated[letter, "foreign", "ours"].items()}
        robust, others = parted[letter]
        assert own["robust − standard"]["mean"] == pytest.approx(np.mean(robust) - np.mean(others), rel=1e-5)
        assert own["robust"]["mean"] == pytest.approx(np.mean(robust), rel=1e-5)
        half = student.ppf(0.975, len(robust) - 1) * np.std(robust, ddof=1) / math.sqrt(len(robust))
        assert own["robust"]["high"] - own["robust"]["mean"] == pytest.approx(half, rel=1e-4)
        assert own["AUC, robust above standard"]["mean"] == pytest.approx(area[letter]) == 1
        assert own["its exact p"]["mean"] == pytest.approx(1 / math.comb(len(rows), len(robust)), rel=1e-5)
    assert published["AUC by κ"]["mean"] == area["κ"]
    assert published["AUC by on − off"]["mean"] == area["steps"]
    apart = published["on − off, ε = 2: robust − standard"]
    assert apart["mean"] == pytest.approx(np.mean(parted["steps"][0]) - np.mean(parted["steps"][1]), rel=1e-5)


def test_the_bayes_rules_of_worlds_by_plain_arithmetic(stated: Any) -> None:
    frame, own = pl.read_parquet(ROWS / "worlds.parquet"), stated["C", "worlds", "ours"]
    about = json.loads((ROWS / "worlds.json").read_text(encoding="utf-8"))["worlds"]
    for name, world in about.items():
        mine = frame.filter(pl.col("trial").cast(pl.String) == name)
        fraction, rank = (mine[c].cast(pl.Float64).to_numpy() for c in ("tangent_fraction.margin", "tangent_rank"))
        floor = 0.01 * rank.mean() / world["dimension"]

        def floored(values: Values, least: float = floor) -> Values:
            return np.log(max(values.mean(), least)) + (values - values.mean()) / max(values.mean(), least)

        ratios = {"chance": (floored(fraction) - floored(rank / world["dimension"]))[None]}
        for control in CONTROLS:
            other, overlap = mine[f"tangent_fraction.margin.{control}"].cast(pl.Float64), f"tangent_overlap.{control}"
            usable = other.is_not_null().to_numpy()
            if usable.any() and not (overlap in mine.columns and (mine[overlap].mean() or 0) >= 0.95):
                ratios[control] = (floored(fraction[usable]) - floored(other.to_numpy()[usable]))[None]
        control, numbers = worst(ratios, 0.95)
        agrees(own[f"{name}: F²"], fraction[None])
        one = own[f"{name}: log F²/{control}"]
        assert [one["mean"], one["low"], one["high"]] == pytest.approx(numbers, rel=1e-4, abs=1e-6)
    assert len(own) == 2 * len(about) == 12
    assert own["linear: F²"]["mean"] == pytest.approx(1)  # Theorem 2: one subspace for all classes
    assert own["offset: F²"]["mean"] < 1e-6  # and where it fails


def test_nothing_is_said_of_what_was_not_run(scripts: Any, tmp_path: Path) -> None:
    made = scripts.table.parts(tmp_path)
    assert made
    assert not any(part.claims for part in made)
    claims = scripts.table.claims_json(made)
    assert set(claims) == set("ABCDEFGH")
    assert not any(claims.values())
    text = scripts.table.page(claims, made, [], tmp_path)
    table = [line for line in text.splitlines() if line.startswith("| ") and "`" in line]
    assert len(table) > 40
    assert all("not run yet" in line for line in table)


def test_other_rows_give_other_verdicts(scripts: Any, tmp_path: Path) -> None:
    """Robust networks that have the standard ones' gradients and accuracy: nothing holds."""
    frame = pl.read_parquet(ROWS / "fashion.parquet").with_columns(pl.col("trial").cast(pl.String))
    standard = frame.filter(pl.col("trial") == "standard-0-s0").sort("image").drop("trial")
    alike = [
        own.sort("image").select("trial").hstack(standard) if name.startswith(("gradient_norm", "pgd_l2")) else own
        for (name,), own in frame.partition_by("trial", as_dict=True, maintain_order=True).items()
    ]
    pl.concat([own.select(frame.columns) for own in alike]).write_parquet(tmp_path / "fashion.parquet")
    shutil.copy(ROWS / "fashion.json", tmp_path)
    sweep = scripts.rows.without_gate(scripts.rows.read_study("fashion", tmp_path))
    judged = scripts.claims.Judged.of("fashion", sweep)
    assert scripts.claims.alignment_claim(judged).verdict in ("does not", "cannot be decided")
    assert scripts.claims.tangency_claim(judged).ungated == "does not"


@pytest.mark.processes
def test_the_rows_of_a_run_give_its_verdicts(scripts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small study, packed and read again: labels, thesis and gate are those of its summary."""
    monkeypatch.setattr("tangency.study.run.open_engine", InProcess)
    spec = tiny_spec(
        write_data(tmp_path), seeds=[0, 1], convergence=True, tangents=["mfa", "local-pca?rank=3&neighbours=9"]
    )
    summary = run_study(spec, tmp_path / "run")
    scripts.rows.pack_study(tmp_path / "run", "tiny", tmp_path / "rows")
    sweep = scripts.rows.read_study("tiny", tmp_path / "rows")
    judged = scripts.claims.Judged.of("tiny", sweep)
    cells = {cell["id"]: cell for cell in summary["cells"] if cell["objective"] not in ("untrained", "filtered")}
    assert set(judged.verdicts.recipes) == set(cells)
    for name, own in judged.verdicts.recipes.items():
        assert own.regime == cells[name]["verdict"]["regime"]
        assert own.on_manifold == cells[name]["verdict"]["on_manifold"]
    assert judged.verdicts.thesis["gradient_norm"].status == summary["curves"][0]["thesis"]["status"]
    assert [each.id for each in sweep.longer] == [t for each in summary["convergence"] for t in each["longer"]]
    assert ("gradient_norm" in judged.withheld) == (summary["curves"][0].get("withheld") is not None)
    claims = scripts.claims.sweep_claims("tiny", sweep, "ABDE")
    assert {claim.verdict for claim in claims} == {"cannot be decided"}  # two networks: points
    assert all("2 networks" in claim.note for claim in claims)


def test_steps_of_an_eighth_of_the_deviation_that_keep_the_mean_of_each_network(scripts: Any) -> None:
    networks = np.repeat(["a", "b"], 500)
    values = np.random.default_rng(0).normal(size=1000) * np.where(networks == "a", 1.0, 1e-6)
    kept = scripts.rows.rounded(np.append(values, np.nan), np.append(networks, "a"), "kappa").astype(float)
    assert np.isnan(kept[-1])
    for network in ("a", "b"):
        at = np.flatnonzero(networks == network)
        spread, error = values[at].std(), kept[at] - values[at]
        assert len(set(kept[at])) < 8 / scripts.rows.STEP * 2
        assert spread / 32 < np.abs(error).max() <= spread / 8
        assert np.abs(np.cumsum(error)).max() <= spread / 8
        few = scripts.rows.rounded(values[at][:10], networks[at][:10], "kappa").astype(float) - values[at][:10]
        assert 0 < np.abs(few).max() <= spread / 100
    assert np.array_equal(kept[:-1], scripts.rows.rounded(values, networks, "kappa").astype(float))


def test_whole_numbers_stay_and_a_median_moves_by_little(scripts: Any) -> None:
    networks = np.repeat("a", 1000)
    right = np.random.default_rng(0).integers(0, 2, 1000).astype(float)
    assert np.array_equal(scripts.rows.rounded(right, networks, "accuracy"), right)
    assert (scripts.rows.rounded(np.full(1000, 0.1), networks, "kappa") == np.float32(0.1)).all()
    values = np.random.default_rng(1).lognormal(size=1000)
    kept = scripts.rows.rounded(values, networks, "radius").astype(float)
    error = (kept - values) / values
    assert 2**-8 < np.abs(error).max() <= 2**-7
    assert abs(error.mean()) < 4 * error.std() / np.sqrt(1000)


def test_the_rows_are_small_and_every_part_has_a_spec(scripts: Any) -> None:
    files = [path for path in (ROOT / "reproduction").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files if path.parent.name != "scores") <= 5e6
    specs = {path.stem for path in (ROOT / "reproduction" / "specs").glob("*.yaml")}
    reproduce: ModuleType = scripts.reproduce
    assert specs <= set(reproduce.PARTS)
    assert set(scripts.table.SWEEPS) | set(scripts.table.OTHERS) <= set(reproduce.PARTS)
    for part in specs:
        assert "{" not in reproduce.spec_of(part).network_score
    assert load_spec("regimes").name == reproduce.spec_of("fashion").name
    registered = (ROOT / "docs" / "preregistration.md").read_text(encoding="utf-8")
    assert all(f"`{part.removesuffix('-score')}" in registered for part in specs)


def test_beliefs_rest_on_these_numbers_alone() -> None:
    """Every decimal of docs/beliefs.md stands in docs/regimes.md or docs/reproduction.md, but for thresholds."""
    pages = {
        name: (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
        for name in ("beliefs", "regimes", "reproduction")
    }
    numbers = {name: {float(each) for each in re.findall(r"\d*\.\d+", text)} for name, text in pages.items()}
    registered = {0.02, 0.75, 2305.19101}  # the smallest difference and the size that docs/preregistration.md names
    assert numbers["beliefs"] - registered <= numbers["regimes"] | numbers["reproduction"]
    assert len(numbers["beliefs"]) > 30


def test_the_size_rule_looks_at_accuracy_alone(scripts: Any) -> None:
    trials = [
        {"objective": "standard", "measures": {"accuracy": {"mean": 0.76}}},
        {"objective": "untrained", "measures": {"accuracy": {"mean": 0.1}}},
    ]
    scripts.reproduce.check_size("cifar10", {"trials": trials})
    trials[0]["measures"]["accuracy"]["mean"] = 0.74
    with pytest.raises(SystemExit, match="width 16"):
        scripts.reproduce.check_size("cifar10", {"trials": trials})
