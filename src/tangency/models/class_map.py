"""Which outputs of a network stand for the classes of the data: by name, by ImageNet's synset, by index, by a file.

A network of 1,000 classes on data of ten of them is restricted to these: the logits of the ten are kept and the others
dropped, so that log p(y|x) = z_y − ln Σ_{c in data} exp z_c. Accuracy, margins and attacks are over the same ten, as
are the classes of mixtures and of the Bayes rule that gradients are compared with.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from tangency.data.classes import imagenet_synsets
from tangency.errors import ModelError, counted, listed, quoted
from tangency.models.class_names import IMAGENET, alike_imagenets, imagenet_names, numbered, plain
from tangency.models.classifier import Classifier
from tangency.models.foreign.rebuilt import Adapted
from tangency.references import parse
from tangency.types import Card, Dataset

OPTION = "class-map"
ClassMap = str | Sequence[int | str] | Mapping[str, int | str]
_FORMS = "'imagenet', 'order', indices or names with commas between (one a class of the data), or a .txt, .csv or .json"


def without_option(reference: str) -> tuple[str, str | None]:
    """A model reference without its option `class-map`, and the option."""
    head, mark, query = reference.rpartition("?")
    parts = query.split("&") if mark else []
    kept = [part for part in parts if not part.startswith(f"{OPTION}=")]
    if len(kept) == len(parts):
        return reference, None
    return f"{head}?{'&'.join(kept)}" if kept else head, parse(f"x:?{query}").options[OPTION]


def with_option(reference: str, class_map: str | None) -> str:
    """A model reference with the option `class-map`, where it has none of its own."""
    if class_map is None or without_option(reference)[1] is not None:
        return reference
    return f"{reference}{'&' if '?' in reference else '?'}{OPTION}={quote(class_map, safe=',/:.-_~')}"


def data_outputs(
    own: Sequence[str], wanted: Sequence[str], class_map: ClassMap | None, text: str, settled: bool = False
) -> tuple[list[int] | None, str]:
    """The output for each class of the data, or None for the network's own order; and a note.

    Args:
        own: names of the network's classes, index = logit; numbers where they have no names.
        wanted: class names of the data.
        class_map: of the option `class-map`.
        text: the model's reference, for errors.
        settled: whether names that are numbers count as names, since a map gave them.

    Returns:
        Indices of logits, one for each name in `wanted`; "" where nothing was decided and the network stays unchanged.

    Raises:
        ModelError: an option that names no output, or the same one for two classes, or contradicts equal names.

    Example:
        >>> data_outputs(("cat", "dog", "eel"), ("Eel", "cat"), None, "net")[0]
        [2, 0]
    """
    if same_names(own, wanted) and (class_map is None or settled or not numbered(own)):
        _check_needless(own, wanted, class_map, text)
        return None, ""
    if class_map is None:
        outputs, how = _by_name(own, wanted)
    else:
        outputs, how = mapped_outputs(own, wanted, class_map, text), "imagenet" if class_map == "imagenet" else "map"
    if outputs is None:
        return None, ""
    identity, all_kept = outputs == list(range(len(own))), len(outputs) == len(own)
    if all_kept and not identity and not how:
        return outputs, "its classes are in another order than the data's; logits are brought to theirs"
    shown = listed([f"'{name}' is output {place}" for name, place in zip(wanted, outputs, strict=True)], 3)
    taken = "its outputs are taken for ImageNet's classes in the order of their synsets; " if how == "imagenet" else ""
    kept = f"of its {len(own):,} outputs those of the data's {len(wanted):,} classes are kept: log p(y|x) is over these"
    matched = "its outputs are matched with the classes of the data"
    return None if identity else outputs, f"{taken}{matched if all_kept else kept} ({shown})"


def restricted(classifier: Classifier, data: Dataset | None, class_map: ClassMap | None, text: str) -> Classifier:
    """The classifier with the outputs of the data's classes in their order; itself where its classes are the data's."""
    if data is None:
        if class_map is not None:
            raise ModelError(f"{text}: {OPTION} is for data with other classes than the network's; name the data, too.")
        return classifier
    card = classifier.card
    order, note = data_outputs(card.classes, data.test.classes, class_map, text, settled="order" in card.options)
    if not note:
        return classifier
    module, options = classifier.module, dict(card.options)
    if order is not None:
        if len(order) < len(card.classes):
            options |= {"logits": options.get("logits", len(card.classes))}
        if isinstance(module, Adapted):
            order = [module.order[place] for place in order] if module.order else order
            module = module.reordered(order)
        else:
            module = Adapted(module, order=order)
        options |= {"order": order}
    card = replace(noted(card, note), classes=data.test.classes, options=options)
    return Classifier(module, card).train(classifier.training)


def unmapped(classifier: Classifier, data: Dataset, class_map: str, text: str) -> Classifier:
    """A network of the data's classes, unchanged, with a note that the map for others is not applied to it."""
    card = classifier.card
    had = card.options.get("logits")  # before a map restricted it
    outputs = had if isinstance(had, int) else len(card.classes)
    for entry in () if class_map in ("order", "imagenet") else _entries(data.test.classes, class_map, text):
        if str(entry).isdecimal() and entry not in card.classes and int(entry) >= outputs:
            raise ModelError(
                f"{text}: {OPTION} names output {entry}, it has {outputs:,}, from 0 to {outputs - 1}; give the map "
                "behind the references of the models that need it, as ?class-map=…."
            )
    card = noted(card, f"its classes already are the data's, so the class map '{class_map}' is not applied to it")
    return Classifier(classifier.module, card).train(classifier.training)


def noted(card: Card, note: str) -> Card:
    """The card with one more sentence under "reading"."""
    known = card.provenance.get("reading")
    reading = [*(known if isinstance(known, list) else []), note]
    return replace(card, provenance={**card.provenance, "reading": reading})


def same_names(own: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether classes have the same names in the same order."""
    return list(map(plain, own)) == list(map(plain, wanted))


def _check_needless(own: Sequence[str], wanted: Sequence[str], class_map: ClassMap | None, text: str) -> None:
    """Raise where a map contradicts the names, which are the data's in their order."""
    if class_map is None or (class_map == "imagenet" and alike_imagenets(own)):
        return
    if mapped_outputs(own, wanted, class_map, text) != list(range(len(own))):
        raise ModelError(
            f"{text}: its classes already are the data's by name ({listed(own, 3)}); leave {OPTION} out, or give it "
            "behind the references of the models that need it."
        )


def _by_name(own: Sequence[str], wanted: Sequence[str]) -> tuple[list[int] | None, str]:
    """Outputs by name, where all match and differ, or None; "imagenet" where the order of its synsets was used."""
    if numbered(wanted) and set(own) != set(wanted):
        return None, ""  # numbers of different sets say nothing about each other
    places, how = _places(_aliases(own), wanted), ""
    if None in places and len(own) == IMAGENET and (numbered(own) or alike_imagenets(own)):
        places = _places([*_aliases(own), *_imagenet_aliases()], wanted)
        how = "imagenet" if numbered(own) else "synset"
    outputs = [place for place in places if place is not None]
    return (outputs if len(outputs) == len(places) == len(set(outputs)) else None), how


_Level = Mapping[str, set[int]]


def _aliases(own: Sequence[str]) -> list[_Level]:
    """Names to outputs, the surest first: exact, without case and spaces, each of several synonyms."""
    parts = [(part, place) for place, name in enumerate(own) if "," in name for part in name.split(",")]
    exact: dict[str, set[int]] = {}
    for place, name in enumerate(own):
        exact.setdefault(name, set()).add(place)
    return [exact, _loose((name, place) for place, name in enumerate(own)), _loose(parts)]


def _loose(pairs: Iterable[tuple[str, int]]) -> _Level:
    """Plain names to outputs."""
    level: dict[str, set[int]] = {}
    for name, place in pairs:
        level.setdefault(plain(name), set()).add(place)
    return level


def _imagenet_aliases() -> list[_Level]:
    synsets = {name: {place} for place, name in enumerate(imagenet_synsets())}
    return [synsets, _loose((name, place) for place, name in enumerate(imagenet_names()))]


def _places(levels: Sequence[_Level], names: Sequence[str]) -> list[int | None]:
    """The only output of each name; None where there is none, or more than one."""
    return [_place(levels, name) for name in names]


def _place(levels: Sequence[_Level], name: str) -> int | None:
    for level in levels:
        places = level.get(name) or level.get(plain(name)) or set()
        if not places and "," in name:
            places = set().union(*(level.get(plain(part), set()) for part in name.split(",")))
        if places:
            return next(iter(places)) if len(places) == 1 else None
    return None


def mapped_outputs(own: Sequence[str], wanted: Sequence[str], class_map: ClassMap, text: str) -> list[int]:
    """The output that a map names for each class of the data; arguments as of `data_outputs`."""
    if class_map == "order":
        if len(own) != len(wanted):
            raise ModelError(
                f"{text}: {OPTION}=order, but it has {len(own)} outputs and the data {len(wanted)} classes; expected "
                "as many."
            )
        return list(range(len(own)))
    if class_map == "imagenet":
        if len(own) != IMAGENET:
            raise ModelError(f"{text}: {OPTION}=imagenet, but it has {len(own)} outputs, expected {IMAGENET}.")
        levels, entries = _imagenet_aliases(), list[int | str](wanted)
    else:
        levels, entries = _aliases(own), _entries(wanted, class_map, text)
    outputs: list[int] = []
    for name, entry in zip(wanted, entries, strict=True):
        by_index = isinstance(entry, int) or (entry.isdecimal() and entry not in own)
        indexed = by_index or (numbered(own) and str(entry).isdecimal())
        place = int(entry) if indexed else _place(levels, str(entry))
        if place is None or not 0 <= place < len(own):
            raise ModelError(
                f"{text}: {OPTION} names '{entry}' for the class '{name}' of the data, which is none of its "
                f"{len(own):,} outputs, or more than one ({listed(own, 5)}); give an index from 0 to {len(own) - 1}."
            )
        outputs.append(place)
    twice = next((place for place in outputs if outputs.count(place) > 1), None)
    if twice is not None:
        raise ModelError(f"{text}: {OPTION} gives output {twice} to two classes of the data, expected one each.")
    return outputs


def _entries(wanted: Sequence[str], class_map: ClassMap, text: str) -> list[int | str]:
    """An index or a name for each class of the data."""
    if isinstance(class_map, str) and class_map.endswith((".txt", ".csv", ".json")):
        class_map = _file(Path(class_map).expanduser(), text)
    if isinstance(class_map, Mapping):
        loose = {plain(str(name)): entry for name, entry in class_map.items()}
        missing = [name for name in wanted if plain(name) not in loose]
        if missing:
            raise ModelError(
                f"{text}: {OPTION} lacks {len(missing)} of the data's {len(wanted)} classes: {listed(missing)}. Add "
                "them."
            )
        return [loose[plain(name)] for name in wanted]
    given = class_map.split(",") if isinstance(class_map, str) else list(class_map)
    if not any(str(entry).strip() for entry in given):
        raise ModelError(f"{text}: {OPTION} names no outputs, expected {_FORMS} file with a line for each class.")
    entries = [entry.strip() if isinstance(entry, str) else int(entry) for entry in given]
    if len(entries) != len(wanted):
        raise ModelError(
            f"{text}: {OPTION} names {counted(len(entries), 'output')}, the data have {len(wanted)} classes "
            f"({listed(wanted)}); expected one each. It takes {_FORMS} file with a class of the data and an output "
            "a line."
        )
    return entries


def _entry(value: object) -> int | str:
    return value if isinstance(value, int) else str(value)


def _file(path: Path, text: str) -> dict[str, int | str] | list[int | str]:
    """Class of the data → output, of a file with both on each line, or of JSON; a list where lines hold one entry."""
    if not path.is_file():
        raise ModelError(f"{text}: '{path}' is no file, expected a class of the data and an output on each line.")
    try:
        content = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            loaded = json.loads(content)
            if isinstance(loaded, dict):
                return {name: _entry(one) for name, one in loaded.items()}
            return list(map(_entry, loaded))
        rows = [line for line in content.splitlines() if line.strip()]
        split = [next(csv.reader([row], delimiter="\t" if "\t" in row else ",")) for row in rows]
    except (OSError, ValueError, TypeError, RecursionError, csv.Error) as error:
        raise ModelError(f"{path}: cannot be read as a class map ({quoted(error)}).") from error
    if all(len(row) == 1 for row in split):
        split = [row[0].rsplit(None, 1) for row in split]
    if all(len(row) == 1 for row in split):
        return [row[0].strip() for row in split]
    odd = next((row for row, parts in zip(rows, split, strict=True) if len(parts) != 2), None)
    if odd is not None:
        raise ModelError(f"{path}: the line '{odd[:60]}', expected a class of the data and an output, as in 'tench,0'.")
    return {name.strip(): output.strip() for name, output in split}
