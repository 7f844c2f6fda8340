"""Wrong calls of every command: exit code 2, one paragraph that names what was wrong, and nothing written."""

from __future__ import annotations

import errno
import string
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from study_support import tiny_spec, write_data, write_spec
from tangency.cli import main
from tangency.cli.app import app
from tangency.models import build, save_classifier

NOWHERE = "/proc/nowhere/out"  # no user can make a folder there
FAST = ("--metrics", "cosine", "--epsilons", "none", "--rho-sigmas", "none", "--sigmas", "0.25", "--limit", "10")

SPECS: dict[str, tuple[dict, str]] = {
    "negative images": ({"measured": -1}, "measured"),
    "a huge seed": ({"seeds": [2**80]}, "seeds: got [1208925819614629174706176], expected less than"),
    "no number": ({"measures": {"epsilons": [float("nan")]}}, "epsilons"),
    "infinite rate": ({"train": {"learning_rate": float("inf")}}, "learning_rate"),
    "a rank above all": ({"score": {"rank": 10**9}}, "score.rank: got 1000000000"),
    "components": ({"score": {"components": 10**6}}, "training images, expected at least"),
    "threads": ({"threads": 10**9}, "threads"),
    "replicates": ({"replicates": 10**15}, "replicates"),
    "too many pictures": ({"generate": [{"count": 10**20}]}, "generate.0.count: got 100000000000000000000, expected"),
    "no pictures": ({"generate": [3]}, "generate.0"),
    "another task's": ({"generate": [{"task": "denoise", "mask": "half"}]}, "no option of task 'denoise'"),
    "a name that leads out": ({"name": "../../x"}, "cannot be a folder in runs/"),
    "a long name": ({"name": "a" * 300}, "cannot be a folder in runs/"),
    "no name": ({"name": ""}, "cannot be a folder in runs/"),
    "unknown network": ({"model": {"architecture": "vgg999"}}, "unknown architecture 'vgg999'"),
    "channels": ({"model": {"options": {"channels": "x"}}}, "channels"),
    "no data": ({"data": ""}, "unknown data set"),
}  # fmt: skip
FILES = {
    "latin.yaml": "name: é\n".encode("latin-1"),
    "twice.yaml": b"name: a\nname: b\nsweep: [{objective: standard}]\n",
    "self.yaml": b"&a\nsweep: [*a]\n",
    "deep.yaml": b"sweep: " + b"[" * 5000 + b"]" * 5000,
    "tag.yaml": b"sweep: !!python/object/apply:os.system ['echo hi']\n",
    "list.yaml": b"- 1\n",
    "nul.yaml": b"name: \x00\n",
    "unhashable.yaml": b"? {a: 1}\n: 1\n",
    "empty.yaml": b"",
    "bomb.yaml": b"x: &a [1,1,1,1,1,1,1,1,1,1]\n"
    + b"".join(
        f"y{n}: &{b} [{','.join([f'*{a}'] * 10)}]\n".encode()
        for n, (a, b) in enumerate(zip(string.ascii_lowercase[:9], string.ascii_lowercase[1:10], strict=True))
    )
    + b"sweep: *j\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier, data, a spec, and what stands in the place of others; in a folder with spaces and accents."""
    folder = tmp_path_factory.mktemp("wrong") / "où est le nœud"
    write_spec(folder, tiny_spec(write_data(folder)))
    save_classifier(build("convnet", (1, 8, 8), 3, channels=(2, 2, 2)), folder / "net.safetensors")
    (folder / "file").write_text("x")
    (folder / "empty").write_bytes(b"")
    (folder / "dir").mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    return folder


def filled(folder: Path, words: tuple[str, ...]) -> list[str]:
    """A call with NET, NPZ, SPEC, and names in braces in the place of the folder's files."""
    known = {"NET": folder / "net.safetensors", "NPZ": f"npz:{folder / 'tiny.npz'}", "SPEC": folder / "spec.yaml"}
    return [str(known.get(word, word.replace("{", f"{folder}/").replace("}", ""))) for word in words]


def refused(
    folder: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> str:
    """What a call says that is refused, having written nothing."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["tangency", *filled(folder, words)])
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(SystemExit) as left:
        main()
    told = capsys.readouterr().err
    assert left.value.code == 2, told
    assert "Traceback" not in told
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    return " ".join(told.split())


@pytest.mark.parametrize("case", SPECS)
def test_a_wrong_spec(
    case: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    changes, words = SPECS[case]
    spec = tmp_path / "wrong.yaml"
    spec.write_text(yaml.safe_dump(tiny_spec(folder / "tiny.npz") | changes))
    assert words in refused(folder, ("study", "run", str(spec)), monkeypatch, capsys)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_spec(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    told = refused(folder, ("study", "plan", f"{{{name}}}"), monkeypatch, capsys)
    assert told.startswith("error: spec '")
    assert len(told) < 1600


G = ("generate", "--model", "NET", "--data", "NPZ", "--out", "{o}")
M = ("measure", "--model", "NET", "--data", "NPZ")
FIT = ("score", "fit", "--data", "NPZ", "--out", "{o}")
AUTO = ("tangents", "fit", "--data", "NPZ", "--out", "{o}")
SAMPLE = ("score", "sample", "gaussian", "--data", "NPZ", "--out", "{o}")
EVAL = ("score", "eval", "gaussian", "--data", "NPZ")
CALLS: dict[tuple[str, ...], str] = {
    ("study", "plan", "{none.yaml}"): "expected a YAML file, or one of quickstart",
    ("study", "plan", "{dir}"): "cannot be read",
    ("study", "plan", "quickstartt"): "expected a YAML file, or one of quickstart",
    ("study", "run", "SPEC", "--out", "{file}"): "got a file, expected a folder",
    ("study", "run", "SPEC", "--out", NOWHERE): "cannot be written",
    ("study", "run", "SPEC", "--out", ""): "--out: got an empty argument",
    ("study", "run", "SPEC", "--workers", "0"): "--workers",
    ("study", "run", "SPEC", "--device", "tpu", "--out", "{o}"): "tpu",
    ("study", "status", "SPEC", "--out", "{file}"): "got a file, expected the folder of a run",
    ("quickstart", "--epochs", "-5"): "--epochs",
    ("quickstart", "--out", "{file}"): "got a file, expected a folder",
    (*M, "--limit", "-1"): "limit: got -1",
    (*M, "--limit", "nan"): "--limit",
    (*M, "--sigmas", "nan"): "sigmas",
    (*M, "--sigmas", ""): "--sigmas: got an empty argument",
    (*M, "--epsilons", "-1"): "epsilons",
    (*M, "--rho-sigmas", "x"): "--rho-sigmas: got 'x'",
    (*M, "--scalars", "nix"): "unknown scalar 'nix'",
    (*M, "--metrics", "nix"): "unknown metric 'nix'",
    (*M, "--maps", "npz:{none.npz}"): "No such file",
    (*M, "--attacks", "pgd_linf:1/0"): "attacks: got '1/0'",
    (*M, "--attacks", "smoothing:-1"): "sigmas: got [-1.0]",
    (*M, "--cascade", "-1"): "--cascade",
    (*M, "--tangents", ","): "tangents: got none",
    (*M, "--score", "nix"): "unknown score 'nix'",
    (*M, "--score", "edm-fashion-mnist"): "write network:edm-fashion-mnist for it alone",
    (*M, "--score", "network:nix"): "nix",
    (*M, "--score", "network:edm-fashion-mnist"): "takes images of",
    (*M, "--score", "exact"): "not drawn from a world",
    (*M, "--score", "none", "--legacy", "pags"): "the published alignment is one with a score",
    (*M, "--score", "none", "--tangents", "score-svd"): "the score is none",
    (*M, "--score", "mfa?components=0"): "score 'mfa': components: got",
    (*M, "--batch-size", "0"): "--batch-size: got '0', expected auto, or at least 1 image",
    (*M, "--batch-size", "-1"): "--batch-size: got '-1'",
    (*M, "--batch-size", "many"): "--batch-size: got 'many'",
    (*M, "--working-size", "0"): "--working-size: got '0'",
    (*M, "--working-size", "9"): "got 9x9 for images of 8x8 pixels",
    (*M, "--working-size", "4:lanczos"): "unknown filter of --working-size 'lanczos'",
    (*M, "--baseline", "nix"): "nix",
    (*M, "--baseline", ""): "--baseline: got an empty argument",
    (*M, "--out", "{file}"): "got a file, expected a folder",
    (*M, "--out="): "--out=: got an empty argument",
    (*M, *FAST, "--out", NOWHERE): "cannot be written",
    (*M, "--device", "gpu"): "gpu",
    (*M, "--model", "NET"): "each once",
    ("measure", "--model", "{dir}", "--data", "NPZ"): "dir",
    ("measure", "--model", "{empty}", "--data", "NPZ"): "empty",
    ("measure", "--model", "run:{dir}", "--data", "NPZ"): "dir",
    ("measure", "--model", "ä:ö", "--data", "NPZ"): "ä",
    ("measure", "--model", "NET", "--data", "npz:{dir}"): "this is a folder",
    ("measure", "--model", "NET", "--data", "npz:{empty}"): "empty",
    ("measure", "--model", "NET", "--data", "npz:" + "a" * 5000): "name too long",
    ("measure", "--model", "NET", "--data", "world:linear?rank=-1"): "rank",
    ("measure", "--model", "NET", "--data", "world:linear?train=999999999999"): "do not fit into memory",
    (*G, "--limit", "-1"): "--limit: got -1",
    (*G, "--limit", "1000000000000"): "--limit: got 1000000000000, expected a number in [1, 10000000]",
    (*G, "--frames", "1000000000000"): "frames: got 1000000000000, expected a number in [0, 10000]",
    (*G, "--length", "nan"): "length: got nan",
    (*G, "--radius", "-1"): "radius: got -1",
    (*G, "--confidence", "2"): "confidence: got 2",
    (*G, "--task", "feature", "--unit", "nix"): "nix",
    (*G, "--task", "feature"): "unit: got none",
    (*G, "--target", "-1"): "target",
    (*G, "--judge", "{none}"): "none",
    (*G, "--rule", "adam"): "length: got none",
    (*G, "--out", NOWHERE, "--steps", "1", "--limit", "2"): "cannot be written",
    (*G, "--out", ""): "--out: got an empty argument",
    ("compare", "{none}", "{none}"): "no such folder",
    ("compare", "{file}", "{file}"): "is a file",
    ("report", "{dir}"): "holds no measured model",
    ("report", "{dir}", "{dir}", "--out", "{file}"): "holds no measured model",
    ("convert", "NET", "{dir}"): "ends in .safetensors",
    ("convert", "NET", "NET"): "is the file that is converted, expected another name",
    ("convert", "NET", f"{NOWHERE}.safetensors"): "cannot be written",
    ("convert", "edm:{file}", "{o.safetensors}"): "file",
    (*FIT, "--learning-rate", "nan"): "learning",
    (*FIT, "--sigma-data", "-1"): "sigma",
    (*FIT, "--seed", str(2**80)): "seed: got 1208925819614629174706176, expected a whole number of 64 bits",
    (*FIT, "--out", "{file}"): "got a file, expected a folder",
    (*AUTO, "--latent", "64"): "64",
    (*AUTO, "--beta", "nan"): "--beta",
    (*AUTO, "--latent", "4", "--seed", str(2**80)): "seed: got",
    (*SAMPLE, "--class", "99"): "class",
    (*SAMPLE, "--churn", "nan"): "churn",
    (*SAMPLE, "--out", "{file}"): "got a file",
    (*EVAL, "--sigmas", "0"): "sigma",
    (*EVAL, "--limit", "0"): "--limit: got 0, expected at least 2",
    (*EVAL, "--samples", "-1"): "samples",
    ("score", "eval", "mfa?rank=-1", "--data", "NPZ"): "rank",
    ("tangents", "eval", "local-pca?k=-1", "--data", "NPZ", "--floor", "0"): "k",
    ("tangents", "store", "nix", "--data", "NPZ", "--out", "{o}"): "nix",
    ("cause", "run", "{none}"): "cannot be read",
    ("cause", "run", "linear", "--out", "{file}"): "got a file, expected a folder",
    ("cause", "run", "linear", "--workers", "0"): "--workers",
    ("cause", "plan", "nix"): "expected a YAML file, or one of linear, offset, fitted, fashion",
    ("worlds", "trial", "--train", "-1"): "train",
    ("worlds", "trial", "--world", "nix"): "unknown world 'nix'",
    ("worlds", "trial", "--out", "{dir}"): "got a folder",
    ("worlds", "distractor", "--data", "nix", "--out", "{o}"): "unknown data set 'nix'",
    ("doctor", "--x"): "--x",
    ("nix",): "nix",
}


@pytest.mark.parametrize("words", CALLS, ids=" ".join)
def test_a_wrong_call(
    words: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert CALLS[words] in refused(folder, words, monkeypatch, capsys)


def test_every_command_is_called_wrongly() -> None:
    import typer.main

    def names(group: object, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        for name, command in getattr(group, "commands", {}).items():
            below = list(names(command, (*above, name)))
            yield from below or [(*above, name)]

    called = {words[: 2 if words[0] in ("study", "cause", "score", "tangents", "worlds") else 1] for words in CALLS}
    assert set(names(typer.main.get_command(app))) - called == {("worlds", "list"), ("worlds", "check")}


@contextmanager
def full_disk(most: int) -> Iterator[None]:
    """No file can grow beyond so many bytes: the system answers as it does where a disk is full."""
    import resource  # not on Windows

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    "words",
    [
        (*M, *FAST, "--out", "{o}"),
        (*M, *FAST, "--working-size", "4", "--out", "{o}"),
        (*G, "--steps", "1", "--limit", "2"),
        (*SAMPLE, "--limit", "3"),
        ("convert", "NET", "{o.safetensors}"),
    ],
    ids=["measure", "measure at a working size", "generate", "sample", "convert"],
)
def test_a_full_disk_leaves_no_half_files(
    words: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    out = [word.replace("{", f"{tmp_path}/").replace("}", "") for word in words]
    monkeypatch.setattr("sys.argv", ["tangency", *filled(folder, tuple(out))])
    with full_disk(100), pytest.raises(SystemExit) as left:
        main()
    told = " ".join(capsys.readouterr().err.split())
    assert left.value.code == 2, told
    assert "cannot be written (" in told
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"]


def test_what_the_system_refuses_is_one_paragraph(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def refuse(**_: object) -> None:
        raise OSError(errno.ENAMETOOLONG, "File name too long", "a" * 5000)

    monkeypatch.setattr("tangency.cli.app.app", refuse)
    monkeypatch.setattr("sys.argv", ["tangency"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert "aaa': File name too long. Choose another place" in capsys.readouterr().err
