"""The closed form is optional: none, a Gaussian, a trained score alone, in `measure` and in studies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from study_support import tiny_spec, write_data
from tangency.cli.app import app
from tangency.errors import SpecError, TangencyError
from tangency.evaluate import MeasureRequest, measure_models
from tangency.models import build, save_classifier
from tangency.report import write_report
from tangency.score import ScoreCard, ScoreChoice, build_network, parse_choice, save_score
from tangency.study import run_study
from tangency.study.spec import dump_spec, parse_spec
from tangency.worlds import load_dataset

FAST = {"sigmas": (0.5,), "epsilons": (2.0,), "rho_sigmas": (0.05,), "metrics": ("cosine",), "limit": 8}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("choice")
    data = load_dataset(f"npz:{write_data(folder)}")
    save_classifier(build("convnet", data.train.shape, data.train.classes), folder / "net.safetensors")
    options = {"channels": 1, "classes": len(data.train.classes), "size": "tiny"}
    card = ScoreCard("unet", "edm", data.train.shape, options, classes=data.train.classes)
    save_score(build_network(card), folder / "score.safetensors")
    return folder


def measured(place: Path, **asked: object) -> dict:
    request = MeasureRequest(str(place / "net.safetensors"), f"npz:{place / 'tiny.npz'}", **(FAST | asked))
    return measure_models(request)[0].to_json()


def families(found: dict) -> set[str]:
    return {key.partition(".")[0] for key in found["measures"]}


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("none", ScoreChoice("none")),
        ("mfa", ScoreChoice("mfa")),
        ("mfa?components=2&rank=3", ScoreChoice("mfa", {"components": 2, "rank": 3})),
        ("network:a,b.safetensors", ScoreChoice("none", {}, "a,b.safetensors")),
        ("gaussian,network:diffusers:DIR?size=64", ScoreChoice("gaussian", {}, "diffusers:DIR?size=64")),
    ],
)
def test_a_choice_is_a_closed_form_and_a_trained_score(text: str, choice: ScoreChoice) -> None:
    assert parse_choice(text) == choice


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "unknown score 'nonsense'"),
        ("edm-fashion-mnist", "write network:edm-fashion-mnist for it alone, or mfa,network:edm-fashion-mnist"),
        ("diffusers:DIR", "network:diffusers:DIR"),
        ("network:", "expected a trained score"),
        ("network:mfa", "closed form"),
        ("none,network:net.safetensors", "alone fits no closed form"),
        ("none?rank=2", "takes no options"),
        ("mfa?ranks=2", "Did you mean 'rank'"),
        ("mfa,gaussian", "unknown score 'mfa,gaussian'"),
    ],
)
def test_what_is_none_is_refused_with_the_spelling(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message.replace("?", r"\?")):
        parse_choice(text)


def test_without_a_score_everything_else_is_measured_and_that_is_said(place: Path, tmp_path: Path) -> None:
    found = measured(place, score="none", out=tmp_path / "out")
    told = families(found)
    assert {"accuracy", "tangent_fraction", "kappa", "change_on", "change_off"} <= told
    assert any(name.startswith("rho") for name in told)
    assert not {name for name in told if name.startswith("alignment")}
    assert not {key for key in found["excess"] if key.startswith("alignment")}
    assert any(sentence.startswith("no score: alignment is not measured") for sentence in found["warnings"])
    assert any("local-pca?neighbours=60&rank=12" in sentence for sentence in found["warnings"])
    assert found["settings"]["score"] == {"kind": "none"}
    assert found["measures"]["tangent_fraction.margin.pca"]["mean"] is not None
    pages = [measured(place, score=score, out=tmp_path / score, baseline=None)["measures"] for score in ("mfa",)]
    assert pages[0]["accuracy"] == found["measures"]["accuracy"]
    result = CliRunner().invoke(app, ["report", str(tmp_path / "out"), "--out", str(tmp_path / "page")])
    assert result.exit_code == 0, result.output


def test_without_a_score_no_mixture_is_fitted(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a mixture is fitted")

    for module in ("tangency.evaluate.fitting.closed", "tangency.tangents.references", "tangency.score.references"):
        monkeypatch.setattr(f"{module}.fit_affordable", refuse)
    measured(place, score="none")
    measured(place, score="gaussian")
    measured(place, score=f"network:{place / 'score.safetensors'}")


def test_a_trained_score_alone_gives_its_alignments_only(place: Path) -> None:
    alone = measured(place, score=f"network:{place / 'score.safetensors'}")
    both = measured(place, score=f"mfa,network:{place / 'score.safetensors'}", tangents=("local-pca",))
    keys = [key for key in alone["measures"] if key.startswith("alignment")]
    assert keys
    assert all(".network_" in key for key in keys)
    assert any("the trained score alone" in sentence for sentence in alone["warnings"])
    for key in keys:
        assert both["measures"][key]["mean"] == pytest.approx(alone["measures"][key]["mean"], abs=1e-6)
    assert {"alignment_cosine.margin.bayes_gradient.sigma=0.5"} <= set(both["measures"])
    named = measured(place, score=f"network:{place / 'score.safetensors'}", scalars=("margin",))
    assert "alignment_cosine.margin.network_bayes_gradient.sigma=0.5" in named["measures"]


def test_one_gaussian_gives_scores_and_local_pca_the_tangent_spaces(place: Path) -> None:
    found = measured(place, score="gaussian")
    assert found["settings"]["score"] == {"kind": "gaussian"}
    assert found["measures"]["alignment_cosine.margin.bayes_gradient.sigma=0.5"]["mean"] is not None
    assert any("local-pca" in sentence for sentence in found["warnings"])


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"score": "none", "legacy": "pags"}, SpecError, "published alignment is one with a score"),
        ({"score": "none", "tangents": ("denoiser",)}, SpecError, "the score is none"),
        ({"score": "exact"}, SpecError, "not drawn from a world"),
        ({"score": "mfa?rank=0"}, SpecError, "rank: got"),
        ({"score": "network:edm-fashion-mnist"}, TangencyError, "takes images of"),
        ({"score": "network:nowhere.safetensors"}, TangencyError, "nowhere"),
    ],
)
def test_bad_requests_are_refused(place: Path, asked: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        measured(place, **asked)


def test_one_gaussian_of_large_images_is_refused_with_the_working_size_that_fits(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tangency.score.closed.gaussian.LARGEST", 16)
    words = ["measure", "--model", place / "net.safetensors", "--data", f"npz:{place / 'tiny.npz'}"]
    words += ["--score", "gaussian", "--limit", "8", "--metrics", "cosine", "--out", tmp_path / "out"]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert isinstance(result.exception, TangencyError)
    assert "got images of 64 values (1×8×8), expected at most 16" in str(result.exception)
    assert "(--working-size 4, measures.working_size, or ?size= of the data)" in str(result.exception)
    assert not (tmp_path / "out").exists()
    found = measured(place, score="gaussian", working_size=4)
    assert found["settings"]["measures"]["working_size"] == [4, 4]


@pytest.mark.parametrize(
    ("score", "limit", "message"),
    [
        ("gaussian", ("tangency.score.closed.gaussian.LARGEST", 16), "gaussian score: got images of 64 values"),
        ("mfa", ("tangency.mixtures.budget.BUDGET", 100), "mixture of 3 classes of images of 64 values"),
    ],
)
def test_a_study_whose_closed_form_is_too_large_is_refused_before_it_begins(
    score: str, limit: tuple[str, int], message: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*limit)
    with pytest.raises(TangencyError, match=message):
        run_study(parse_spec(tiny_spec(place / "tiny.npz", score={"kind": score}), "test"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.processes
@pytest.mark.parametrize(
    "score", ["none", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gaussian", "network"))]
)
def test_a_study_runs_to_its_report_without_a_mixture(score: str, place: Path, tmp_path: Path) -> None:
    named = f"network:{place / 'score.safetensors'}" if score == "network" else score
    spec = parse_spec(tiny_spec(place / "tiny.npz", score=named), "test")
    assert parse_spec(json.loads(json.dumps(spec.model_dump(mode="json"))), "again") == spec
    assert "local-pca" in dump_spec(spec)
    summary = run_study(spec, tmp_path / "run")
    page = write_report(tmp_path / "run").read_text()
    aligned = {key for trial in summary["trials"] for key in trial["measures"] if key.startswith("alignment")}
    assert bool(aligned) == (score != "none")
    assert all((".network_" in key) == (score == "network") for key in aligned)
    assert all(trial["measures"]["tangent_fraction.margin"]["mean"] is not None for trial in summary["trials"])
    assert ("There is no score: alignment is not measured" in page) == (score == "none")
    found = measure_models(MeasureRequest(f"run:{tmp_path / 'run'}/trials/standard-0-s0", limit=8))[0].to_json()
    assert found["settings"]["score"]["kind"] == ("gaussian" if score == "gaussian" else "none")


def test_specs_that_contradict_themselves_are_refused() -> None:
    data = Path("data.npz")
    for changes, message in (
        ({"score": "nonsense"}, "unknown score"),
        ({"score": "none", "measures": {"alignments": [["logp_y", "bayes_gradient"]], "sigmas": [0.5]}}, "closed form"),
        ({"score": "none", "tangents": ["denoiser"]}, "the score is none"),
        ({"score": "none", "generate": [{"task": "inpaint"}]}, "needs score.kind"),
        ({"score": "network:a.safetensors", "network_score": "b.safetensors"}, "expected one trained score"),
    ):
        with pytest.raises(SpecError, match=message):
            parse_spec(tiny_spec(data, **changes), "test")
