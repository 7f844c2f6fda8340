"""Which scores gradients are compared with: a closed form, a trained network, both, or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tangency.errors import SpecError, unknown_name
from tangency.references import maker_options, parse
from tangency.score.references import FITTED, SCORES, SHIPPED

NONE, EXACT, NETWORK = "none", "exact", "network"
_FORMS = (NONE, *FITTED, EXACT, "network:REF", "mfa,network:REF")


@dataclass(frozen=True)
class ScoreChoice:
    """The scores that `--score` and `score:` name.

    Args:
        closed: "mfa", "gaussian" or "empirical", fitted to the data; "exact", of a world; or "none".
        options: of the closed form, those that were given.
        network: reference of a trained score; empty for none.
    """

    closed: str = NONE
    options: Mapping[str, Any] = field(default_factory=dict)
    network: str = ""


def parse_choice(text: str) -> ScoreChoice:
    """A choice of scores from text: a closed form or none, then at most one `network:REF`.

    Args:
        text: "none"; "mfa", "gaussian", "empirical" or "exact", with options after a ?; "network:REF", the trained
            score alone; or a closed form and "network:REF" with a comma between.

    Raises:
        SpecError: another name, an option that is unknown, or a trained score without "network:".

    Example:
        >>> parse_choice("mfa?components=2,network:edm-fashion-mnist")
        ScoreChoice(closed='mfa', options={'components': 2}, network='edm-fashion-mnist')
        >>> parse_choice("network:diffusers:DIR").closed
        'none'
    """
    mark = f"{NETWORK}:"
    head, named, network = text.partition(mark) if text.startswith(mark) else text.partition(f",{mark}")
    if named and not network:
        raise SpecError(f"score: got '{text}', expected a trained score after {mark}, such as {mark}edm-fashion-mnist.")
    if network and network.partition("?")[0] in (NONE, EXACT, *FITTED):
        raise SpecError(f"score: got '{text}': '{network}' is a closed form, expected a trained score after {mark}.")
    if named and not head:
        return ScoreChoice(network=network)
    name, _, query = head.partition("?")
    if name in (NONE, EXACT):
        if query:
            raise SpecError(f"score: got '{head}', but {name} takes no options.")
        if name == NONE and network:
            raise SpecError(f"score: got '{text}'; {mark}{network} alone fits no closed form.")
        return ScoreChoice(name, network=network)
    if name in FITTED:
        return ScoreChoice(name, maker_options(f"score '{head}'", query, FITTED[name]), network)
    if text in SHIPPED or name.endswith(".safetensors") or (kind := parse(text).kind) in SCORES or kind == "score_sde":
        raise SpecError(
            f"score: got '{text}', a trained score; write {mark}{text} for it alone, or mfa,{mark}{text} to compare "
            "with a mixture too."
        )
    raise SpecError(f"score: {unknown_name('score', head, _FORMS)}")
