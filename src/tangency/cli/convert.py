"""`tangency convert`: a foreign model to safetensors with a card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tangency.cli.output import print_json


def convert(
    source: Annotated[
        str,
        typer.Argument(
            help="A classifier as `measure --model` takes it (onnx:FILE, hf:DIR, state_dict:FILE?arch=…, …), or a "
            "score: edm:FILE.pkl, FILE.pkl, diffusers:DIR or k-diffusion:FILE.safetensors.",
            metavar="SRC",
        ),
    ],
    target: Annotated[Path, typer.Argument(help="A .safetensors file with a card.", metavar="DST")],
    data: Annotated[
        str | None,
        typer.Option("--data", help="Data set that says shape, classes and normalisation where nothing else does."),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Scores: store half precision, read back as float32.")] = False,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Let models that bring code run it; only for sources you trust.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output and nothing else.")] = False,
) -> None:
    """Turn a foreign classifier or score network into safetensors with a card. Nothing is run without --trust-code."""
    from tangency.evaluate.convert import convert_model, is_score

    card = convert_model(source, target, half=half, data=data, trust_code=trust_code)
    if as_json:
        print_json({"file": str(target), "card": card})
    elif is_score(source):
        typer.echo(f"{target}: {_score(card)}")
    else:
        typer.echo(f"{target}: {_classifier(card)}")
        for sentence in card["provenance"].get("reading", ()):
            typer.echo(f"  {sentence}")


def _score(card: dict[str, Any]) -> str:
    about = f"{card['network']} of {_shape(card)} images, {len(card['classes'])} classes"
    return f"{about}, {card['prediction']}; licence of the weights: {card['licence'] or 'not stated'}"


def _classifier(card: dict[str, Any]) -> str:
    low, high = card["input_range"]
    fed = f"range [{low:g}, {high:g}]" + (f", mean {card['mean']}, std {card['std']}" if card["mean"] else "")
    return f"{card['architecture']} of {_shape(card)} images, {len(card['classes'])} classes, {fed}"


def _shape(card: dict[str, Any]) -> str:
    return "×".join(map(str, card["shape"]))
