"""What the command line looks like: 80 columns, digits that are settled, the headline first, help of every command."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main
from rich.cells import cell_len
from rich.console import Console
from typer.testing import CliRunner

from tangency.cli import main
from tangency.cli.app import app
from tangency.cli.show.measure import print_measured
from tangency.cli.tables import interval, plus_minus, table


def _commands(group: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield above
    for name, command in getattr(group, "commands", {}).items():
        yield from _commands(command, (*above, name))


@pytest.mark.parametrize("command", list(_commands(typer.main.get_command(app))), ids=" ".join)
def test_help_names_what_options_take(command: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*command, "-h"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    assert shown.exit_code == 0
    assert not [word for word in ("<bool>", "<str>", "<int>", "<path>", "<float>", "list[") if word in shown.output]
    assert "…│" not in shown.output.replace(" ", "").replace(",…│", "")  # nothing is cut off
    assert max(map(cell_len, shown.output.splitlines())) <= 80


def _said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[object, str]:
    monkeypatch.setattr("sys.argv", ["tangency", *words])
    with pytest.raises(SystemExit) as left:
        main()
    return left.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("measure", "--limti", "3"), "No such option: --limti. Did you mean --limit? `tangency measure -h` explains"),
        (("mesure",), "No such command 'mesure'. Did you mean 'measure'? `tangency -h` explains it."),
        (("measure",), "Missing option '--model'. `tangency measure -h` explains it."),
        (("study", "run"), "Missing argument 'SPEC'. `tangency study run -h` explains it."),
        (("measure", "--model"), "Option '--model' requires an argument."),
        (("score", "sample", "mfa", "--out", "x", "--limit", "0"), "Invalid value for '--limit': "),
        (("doctor", "more"), "Got unexpected extra argument(s) (more)."),
    ],
)
def test_a_wrong_call_is_one_paragraph(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, told = _said(capsys, monkeypatch, *words)
    assert code == 2
    assert told.startswith("error: ")
    assert said in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("words", [(), ("study",)])
def test_without_arguments_a_group_explains_itself(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["tangency", *words])
    with pytest.raises(SystemExit) as left:
        main()
    shown = capsys.readouterr()
    assert (left.value.code, shown.err) == (2, "")
    assert "Commands" in shown.out


def test_numbers_have_the_digits_that_their_intervals_settle() -> None:
    tiny = {"mean": 6.73e-5, "low": 6.53e-5, "high": 6.93e-5}
    assert (plus_minus(tiny), interval(tiny)) == ("6.7·10⁻⁵ ± 2.0·10⁻⁶", "6.7·10⁻⁵ [6.5·10⁻⁵, 6.9·10⁻⁵]")
    assert plus_minus({"mean": 0.3141, "low": 0.3041, "high": 0.3241}) == "0.314 ± 0.010"
    assert plus_minus({"mean": 0.000412, "low": 0.000372, "high": 0.000452}, signed=True) == "+0.00041 ± 0.00004"
    assert plus_minus({"mean": -0.05, "low": -0.1, "high": 0.0}) == "−0.05 ± 0.05"
    assert plus_minus({"mean": 0.25, "low": None, "high": None}) == "0.250"
    assert (plus_minus(None), interval({"mean": None})) == ("–", "–")


def test_what_finds_no_room_stands_below_and_nothing_is_cut() -> None:
    titles = ("trial", *(f"number {place}" for place in range(9)))
    rows = [[f"{'name-' * 20}{row}", *(f"[{row}] ± {place}.123456" for place in range(9))] for row in range(2)]
    screen = Console(width=80, record=True, file=io.StringIO())
    screen.print(table(titles, rows, title="[a] title"))
    lines = screen.export_text().splitlines()
    assert max(map(cell_len, lines)) <= 80
    text = "\n".join(lines)
    assert text.startswith("[a] title")
    for row in rows:
        assert all(cell in text for cell in row[1:])
    assert "".join(line.split(" ")[0] for line in lines[2:4]).startswith("name-name-")


def _entry(mean: float, half: float, **more: Any) -> dict[str, Any]:
    entry = {"mean": mean, "low": mean - half, "high": mean + half, "n": 30, "degenerate": 0, "chance": None}
    return entry | more


FRACTION = "tangent_fraction.margin"
COSINE = "alignment_cosine.margin.bayes_gradient.sigma"
EXCESS = _entry(0.01, 0.004) | {"best_control": "pca", "controls": {"pca": _entry(0.01, 0.004)}}
SUMMARY: dict[str, Any] = {
    "model": "net.safetensors",
    "data": "tiny",
    "measured": 30,
    "reading": [],
    "check": {"warnings": ["it is odd"]},
    "warnings": ["few images", "it is odd"],
    "regime": {"regime": None, "baseline": None, "text": "A regime is a statement about a sweep."},
    "settings": {"score": {"kind": "none"}},
    "measures": {
        "accuracy": _entry(0.9, 0.05, chance=0.1),
        **{f"change_on.eps={eps}": _entry(0.1 * eps, 0.01) for eps in range(1, 90)},
        FRACTION: _entry(6.73e-5, 2e-6, chance=0.01, degenerate=2, n=28),
        f"{FRACTION}.pca": _entry(5e-5, 2e-6, chance=0.01),
        f"{COSINE}=0.25": _entry(0.2, 0.01, chance=0),
        f"{COSINE}=0.5": _entry(0.3, 0.01, chance=0),
        "kappa.margin": _entry(0.5, 0.01, chance=1),
        "rho.logits.sigma=0.05": _entry(0.7, 0.01, chance=0.9),
    },
    "excess": {FRACTION: EXCESS},
}


def test_measure_prints_its_headline_and_ten_lines(capsys: pytest.CaptureFixture[str]) -> None:
    print_measured([SUMMARY], everything=False)
    lines = capsys.readouterr().out.splitlines()
    body = [line for line in lines if not line.startswith("Warning: ")]
    assert len(body) <= 10
    assert body[1].startswith("F² is above its best control (pca): +0.010 [0.006, 0.014]")
    assert "6.7·10⁻⁵ ± 2.0·10⁻⁶" in next(line for line in body if line.startswith("F²,"))
    assert any(line.startswith("cosine with Bayes, σ = 0.5") for line in body)
    assert body[-1].startswith("91 more numbers: --all prints them")
    assert lines[-2:] == ["Warning: it is odd", "Warning: few images"]


def test_measure_prints_everything_where_it_is_asked_to(capsys: pytest.CaptureFixture[str]) -> None:
    other = copy.deepcopy(SUMMARY) | {"model": "other.safetensors"}
    print_measured([SUMMARY, other], everything=True)
    text = capsys.readouterr().out
    for key in SUMMARY["measures"]:
        assert text.count(f"\n{key[:40]}") >= 2, key  # longer ones are folded
    assert text.count("  − pca") == 2
    assert text.count("Warning: it is odd") == 1
    assert text.index("F² is above") < text.index("change_on.eps=1")


def test_kappa_has_no_control_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    summary = copy.deepcopy(SUMMARY)
    summary["measures"]["kappa.margin"] = _entry(0.25, 0.05, chance=1)
    print_measured([summary], everything=False)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.endswith("none: see F²")]
    assert line.startswith("κ, energy off/on manifold")


def test_an_alignment_has_its_excess_within_the_class_under_it(capsys: pytest.CaptureFixture[str]) -> None:
    summary, key = copy.deepcopy(SUMMARY), "alignment_cosine.margin.bayes_gradient.sigma=0.5"
    summary["measures"][key] = _entry(0.03, 0.01)
    controls = {"shuffled": _entry(0.025, 0.01), "shuffled_class": _entry(0.006, 0.008)}
    summary["excess"][key] = {**_entry(0.025, 0.01), "best_control": "shuffled", "controls": controls}
    print_measured([summary], everything=False)
    lines = capsys.readouterr().out.splitlines()
    (alignment,) = [i for i, line in enumerate(lines) if "+0.025" in line]
    assert lines[alignment].startswith("cosine with Bayes, σ = 0.5")
    assert lines[alignment].endswith("shuffled")
    assert lines[alignment + 1].startswith("  within the class")
    assert "+0.006" in lines[alignment + 1]


def test_attacks_and_other_quantities_are_among_the_main_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    summary = copy.deepcopy(SUMMARY)
    summary["regime"] = {"regime": "weak", "baseline": "std", "text": "Against std the model is weak: so.\nMore."}
    summary["measures"] |= {
        "accuracy_pgd_l2.eps=0.5": _entry(0.4, 0.05, chance=0.1),
        "tangent_fraction.smoothgrad(margin)": _entry(0.5, 0.05),
    }
    print_measured([summary], everything=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "Against std the model is weak: so."
    assert any(line.startswith("accuracy_pgd_l2.eps=0.5") for line in lines)
    assert "F², energy in tangent space of smoothgrad(margin)" in " ".join(line[:30].strip() for line in lines)
