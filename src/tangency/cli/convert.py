"""`tangency convert`: a foreign model to safetensors with a card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tangency.cli.options import Json, TrustCode
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
        typer.Option(
            "--data", metavar="DATA", help="Data set with shape, classes and normalisation, where the model names none."
        ),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Store the weights of a score in half precision.")] = False,
    trust_code: TrustCode = False,
    as_json: Json = False,
) -> None:
    """Convert a classifier or score of another library to a .safetensors file with a card.

    Code in the source is run only with --trust-code.
    """
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
