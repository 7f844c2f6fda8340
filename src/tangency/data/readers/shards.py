"""Which files make up which split: one file, a glob, a folder of shards, a Hub repository as cloned, `save_to_disk`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tangency.errors import DataError, listed, quoted, unknown_name
from tangency.references import Reference

_SUFFIXES = (".parquet", ".arrow")
_SHARD = re.compile(r"^(?P<name>.+?)-(?P<number>\d{5})-of-(?P<count>\d{5})")
_WORDS = {
    "train": "train training",
    "test": "test testing eval evaluation",
    "validation": "validation valid dev val",
}
_SPLITS = {word: split for split, words in _WORDS.items() for word in words.split()}
_WILD = re.compile(r"[*\[]")


@dataclass(frozen=True)
class Column:
    """What Hugging Face's description says of a column: the class names of labels, the PIL mode of images."""

    names: tuple[str, ...] = ()
    mode: str = ""


@dataclass(frozen=True)
class SplitFiles:
    """Files of each split, in order.

    Args:
        splits: name to files; one split named "whole" where nothing separates them.
        columns: by name, where a file beside them describes them.
        notes: what was decided, in sentences.
    """

    splits: dict[str, list[Path]]
    columns: dict[str, Column] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def find_shards(path: Path, reference: Reference) -> SplitFiles:
    """The splits behind a file, a glob or a folder.

    Args:
        path: what the reference names.
        reference: for errors; its option `config` chooses one of several configurations of a Hub repository.

    Raises:
        DataError: nothing there, a shard missing, several sets that nothing separates.
    """
    if path.is_dir():
        return _of_folder(path, reference)
    if _WILD.search(str(path)) and not path.exists():
        files = _matching(Path(), [str(path)])
        if not files:
            raise DataError(f"{path}: no file matches, expected Parquet files. Check the pattern.")
        return _sorted_out(files, path, strict=False)
    shard = _SHARD.match(path.name)
    if shard is None or int(shard["count"]) < 2:
        return SplitFiles({"whole": [path]})
    note = f"'{path.name}' is one of {int(shard['count'])} shards; {shard['name']}-* takes them all"
    return SplitFiles({"whole": [path]}, notes=(note,))


def _matching(folder: Path, patterns: list[str]) -> list[Path]:
    """Files under a folder that match one of the patterns, each once, in order."""
    files: dict[Path, None] = {}
    for place in (folder / pattern for pattern in patterns):
        base = Path(place.anchor)
        try:
            files |= dict.fromkeys(sorted(one for one in base.glob(str(place.relative_to(base))) if one.is_file()))
        except (ValueError, NotImplementedError) as error:
            raise DataError(f"{place}: not a pattern of files ({quoted(error)}). Check it.") from error
    return list(files)


def _of_folder(folder: Path, reference: Reference) -> SplitFiles:
    if (folder / "dataset_dict.json").is_file():
        return _saved_splits(folder)
    if (folder / "state.json").is_file():
        return _saved_split(folder)
    card, info = _card(folder), folder / "dataset_info.json"
    configured = _configured(folder, card, reference)
    if configured is not None:
        return configured
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in _SUFFIXES and path.is_file()]
    files = [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    if not files:
        raise DataError(f"{folder}: holds no Parquet or Arrow files, expected some, such as data/train-*.parquet.")
    columns = (_info_columns(info) if info.is_file() else {}) or _card_columns(card, None)
    return replace(_sorted_out(files, folder, strict=True), columns=columns)


def _sorted_out(files: list[Path], where: Path, strict: bool) -> SplitFiles:
    """Files by split, as their names or their folders say; one split where neither does."""
    splits: dict[str, list[Path]] = {}
    for path in files:
        splits.setdefault(_split_of(path, where), []).append(path)
    if "" in splits and len(splits) > 1:
        raise DataError(
            f"{where}: the split of {listed([path.name for path in splits['']])} is in no name, others name theirs; "
            "name one file or a pattern, as parquet:DIR/train-*.parquet, and the test images with test=…"
        )
    notes: list[str] = []
    for name, members in splits.items():
        folders = sorted({str(path.parent) for path in members})
        if strict and len(folders) > 1:
            what = f"the split {name}" if name else "files"
            raise DataError(
                f"{where}: {len(folders)} folders hold {what} ({listed(folders)}), expected one set. Name one of these "
                "folders."
            )
        notes += _check_complete(members, where, strict)
    return SplitFiles({name or "whole": members for name, members in splits.items()}, notes=tuple(notes))


def _split_of(path: Path, where: Path) -> str:
    """The split of a file by its name (datasets' own rule), else by its folders below `where`; "" for none."""
    sharded = _SHARD.match(path.name)
    inner = path.relative_to(where).parts[:-1] if path.is_relative_to(where) else ()
    for text in (path.stem, *reversed(inner)):
        words = [word for word in re.split(r"[^a-z]+", text.lower()) if word in _SPLITS]
        if words:
            return _SPLITS[words[-1]]
    return sharded["name"] if sharded else ""


def _check_complete(files: list[Path], where: Path, strict: bool) -> list[str]:
    """Whether each of "00000-of-00003" is there; a missing one is an error, a note where the user chose the files."""
    sets: dict[tuple[Path, str, int], set[int]] = {}
    for path in files:
        if shard := _SHARD.match(path.name):
            key = (path.parent, shard["name"], int(shard["count"]))
            sets.setdefault(key, set()).add(int(shard["number"]))
    counts = {(parent, name) for parent, name, _ in sets}
    if len(counts) < len(sets):
        raise DataError(f"{where}: shards of several versions of one split lie side by side; remove the old ones.")
    notes = []
    for (parent, name, count), numbers in sets.items():
        if len(numbers) == count:
            continue
        missing = next(number for number in range(count) if number not in numbers)
        said = f"{len(numbers)} of the {count} shards of '{name}' are there"
        if strict:
            raise DataError(f"{parent}: {said}, {name}-{missing:05d}-of-{count:05d} is missing. Fetch it too.")
        notes.append(f"{said} or chosen")
    return notes


def _saved_splits(folder: Path) -> SplitFiles:
    """A folder of `DatasetDict.save_to_disk`."""
    path = folder / "dataset_dict.json"
    held = _json(path)
    names = held.get("splits") if isinstance(held, dict) else None
    if not isinstance(names, list) or not names or not all(re.fullmatch(r"\w[\w.-]*", str(name)) for name in names):
        raise DataError(f"{path}: lists no splits, expected {{'splits': ['train', 'test']}}.")
    parts = {name: _saved_split(folder / name) for name in names if (folder / name).is_dir()}
    if len(parts) < len(names):
        raise DataError(f"{folder}: lists the splits {', '.join(names)}, only {listed(list(parts))} are there.")
    columns = next(iter(parts.values())).columns
    return SplitFiles({name: part.splits["whole"] for name, part in parts.items()}, columns)


def _saved_split(folder: Path) -> SplitFiles:
    """A folder of `Dataset.save_to_disk`."""
    path = folder / "state.json"
    state = _json(path)
    try:
        files = [folder / str(one["filename"]) for one in state["_data_files"]]
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: names no data files, expected what save_to_disk writes.") from error
    if any(file.parent != folder for file in files):
        raise DataError(f"{path}: names files outside of its folder, expected them inside.")
    return SplitFiles({"whole": files}, _info_columns(folder / "dataset_info.json"))


def _info_columns(path: Path) -> dict[str, Column]:
    info = _json(path)
    return described_columns(info.get("features") if isinstance(info, dict) else None)


def described_columns(features: object) -> dict[str, Column]:
    """Columns from the JSON of Hugging Face's `datasets`; what is of another form is left out."""
    columns = {}
    for name, kind in features.items() if isinstance(features, dict) else ():
        if isinstance(kind, dict):
            names = kind.get("names")
            columns[name] = Column(tuple(map(str, names)) if isinstance(names, list) else (), str(kind.get("mode")))
    return columns


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        expected = "JSON of Hugging Face's datasets"
        raise DataError(f"{path}: cannot be read ({quoted(error)}), expected {expected}.") from error


def _card(folder: Path) -> dict[str, Any]:
    """The YAML at the head of README.md; empty where there is none."""
    import yaml

    path = folder / "README.md"
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8", errors="replace")
    head = re.match(r"\ufeff?---\s*\n(.*?)\n---\s*(\n|$)", text, re.S)
    if head is None:
        return {}
    try:
        card = yaml.safe_load(head[1])
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise DataError(f"{path}: its YAML head cannot be read ({str(error)[:200]}). Repair or remove it.") from error
    return card if isinstance(card, dict) else {}


def _configured(folder: Path, card: dict[str, Any], reference: Reference) -> SplitFiles | None:
    """The files that `configs` of a Hub repository's card name; None where it names none."""
    given, requested = card.get("configs"), reference.options.get("config")
    configs = [one for one in given if isinstance(one, dict) and one.get("data_files")] if given else []
    if not isinstance(given, list) or not configs:
        if requested is not None:
            raise DataError(f"{reference.text}: config={requested}, but the README.md of '{folder}' names none.")
        return None
    named = {str(one.get("config_name", "default")): one for one in configs}
    chosen = requested or next((name for name, one in named.items() if one.get("default") is True), "default")
    if requested is None and chosen not in named and len(named) == 1:
        chosen = next(iter(named))
    if chosen not in named:
        none = f"has {listed(named)}, none the default."
        problem = unknown_name("configuration", chosen, named) if requested else none
        raise DataError(f"{reference.text}: {problem} Choose one with config=NAME.")
    config = named[chosen]
    base, splits = folder / str(config.get("data_dir") or "."), dict[str, list[Path]]()
    for split, patterns in _patterns(config["data_files"], folder):
        files = [path for path in _matching(base, patterns) if path.suffix in _SUFFIXES]
        if not files:
            names = listed(patterns)
            raise DataError(f"{folder}: its README.md names {names} for '{split}', no such file. Fetch them.")
        _check_complete(files, folder, strict=True)
        splits.setdefault(split, []).extend(files)
    notes = (f"configuration '{chosen}' of {listed(named)}",) if len(named) > 1 else ()
    if list(splits) == ["train"] and not isinstance(config["data_files"], list):
        splits = {"whole": splits["train"]}
    return SplitFiles(splits, _card_columns(card, chosen), notes)


def _patterns(files: Any, folder: Path) -> list[tuple[str, list[str]]]:
    """(split, patterns) of `data_files`: a pattern, a list of them, or a list of {split, path}."""
    entries = files if isinstance(files, list) else [files]
    if all(isinstance(one, str) for one in entries):
        return [("train", list(entries))]
    card, patterns = folder / "README.md", list[tuple[str, list[str]]]()
    for one in entries:
        path: Any = one.get("path") if isinstance(one, dict) else None
        paths: list[Any] = path if isinstance(path, list) else [path]
        if not all(isinstance(each, str) for each in paths):
            raise DataError(f"{card}: data_files is of an unknown form, expected split and path.")
        if any(Path(each).is_absolute() or ".." in Path(each).parts for each in paths):
            raise DataError(f"{card}: data_files leave its folder ({listed(paths)}).")
        patterns.append((str(one.get("split", "train")), paths))
    return patterns


def _card_columns(card: dict[str, Any], config: str | None) -> dict[str, Column]:
    """The columns of labels as `dataset_info` of the card describes them."""
    infos = card.get("dataset_info")
    infos = [one for one in (infos if isinstance(infos, list) else [infos]) if isinstance(one, dict)]
    info: dict[str, Any] = next((one for one in infos if config in (None, one.get("config_name", "default"))), {})
    columns = {}
    for one in info.get("features") or []:
        kind = one.get("dtype") if isinstance(one, dict) else None
        names = kind.get("class_label", {}).get("names") if isinstance(kind, dict) else None
        if isinstance(names, dict) and all(str(key).isdecimal() for key in names):
            names = [names[key] for key in sorted(names, key=lambda key: int(key))]
        if isinstance(names, list):
            columns[str(one.get("name"))] = Column(tuple(map(str, names)))
    return columns
