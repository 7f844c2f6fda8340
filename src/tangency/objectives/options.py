"""Options of an objective, read from its signature: numbers, switches, words of a closed list, and guides."""

from __future__ import annotations

import inspect
import math
import typing
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch import Tensor

from tangency.errors import SpecError, unknown_name
from tangency.objectives.losses import InnerAttack
from tangency.references import defaults_of, positional
from tangency.tangents.shams import SHAMS

Option = float | int | bool | str
# What an objective may be given besides numbers, with an example of its reference.
GUIDES = {"tangents": "mfa?components=4&rank=12", "score": "edm-fashion-mnist"}
SHAM = "sham"
_SWITCHES = {True: "on", False: "off"}


@dataclass(frozen=True)
class LossOptions:
    """What a loss takes besides model, images, labels, draw and strength.

    Args:
        defaults: option to default; those of an `InnerAttack` by the names of its fields.
        words: option to the words that it may be.
        guides: names in `GUIDES`.
        attack: the argument that takes the fields of an `InnerAttack`; None without one.
    """

    defaults: Mapping[str, Option]
    words: Mapping[str, tuple[str, ...]]
    guides: tuple[str, ...]
    attack: str | None = None

    def check(self, name: str, given: Mapping[str, object]) -> None:
        """Raise a `SpecError` where an option is unknown or has another kind than its default, or a guide is lacking.

        Args:
            name: of the objective.
            given: options and guides by name.
        """
        for option, value in self.in_words(given).items():
            if option in self.guides:
                _check_guide(name, option, value)
            elif option not in self.defaults:
                known = [*self.defaults, *self.guides]
                raise SpecError(unknown_name(f"option of objective {name}", option, known))
            else:
                check_option(name, option, value, self.defaults[option], self.words.get(option))
        for guide in self.guides:
            if guide not in given:
                raise SpecError(
                    f"objective {name}: got no {guide}, expected {guide} by reference, for example "
                    f"{guide}: '{GUIDES[guide]}'."
                )

    def in_words(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The same with "on" and "off" where these are words and YAML has made switches of them."""
        switched = {name for name, words in self.words.items() if {"on", "off"} <= set(words)}
        return {
            option: _SWITCHES[value] if option in switched and isinstance(value, bool) else value
            for option, value in given.items()
        }

    def arguments(self, options: Mapping[str, Any], guides: Mapping[str, object]) -> dict[str, object]:
        """Options and guides as the keyword arguments of the loss; a sham is in the guide already."""
        plain = {key: value for key, value in options.items() if key != SHAM}
        if self.attack is None:
            return {**plain, **guides}
        fields = {key: plain.pop(key) for key in asdict(InnerAttack())}
        return {**plain, **guides, self.attack: InnerAttack(**fields)}


def options_of(loss: Callable[..., Tensor]) -> LossOptions:
    """The keyword-only arguments of a loss as options; one that takes `tangents` has the option `sham`, too."""
    given, hints = defaults_of(loss), typing.get_type_hints(loss)
    guides = tuple(name for name in given if name in GUIDES)
    attack = next((name for name, default in given.items() if isinstance(default, InnerAttack)), None)
    defaults: dict[str, Option] = {name: d for name, d in given.items() if name not in guides and name != attack}
    words = {name: typing.get_args(hints[name]) for name in defaults if typing.get_origin(hints.get(name)) is Literal}
    if attack is not None:
        defaults |= asdict(given[attack])
    if "tangents" in guides:
        defaults[SHAM], words[SHAM] = "none", SHAMS
    return LossOptions(defaults, words, guides, attack)


def is_objective(held: Any) -> bool:
    """Whether a function is (model, x, y, draw, strength, *, options), options with defaults that a spec can hold."""
    try:
        options = options_of(held)
        sound = all(
            type(default) in (bool, int, float) or default in options.words.get(name, ())
            for name, default in options.defaults.items()
        )
        required = all(defaults_of(held)[guide] is inspect.Parameter.empty for guide in options.guides)
        return sound and required and positional(held) == 5
    except (TypeError, ValueError, NameError):  # not a function, or one without a signature or with unknown annotations
        return False


def check_option(name: str, option: str, value: object, default: Option, words: tuple[str, ...] | None = None) -> None:
    """An option has the kind of its default: a word, a switch, a count of at least one, or a number ≥ 0."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if words is not None:
        kind, good = f"one of {', '.join(words)}", isinstance(value, str) and value in words
    elif isinstance(default, bool):
        kind, good = "true or false", isinstance(value, bool)
    elif isinstance(default, int):
        kind, good = "a whole number >= 1", number and isinstance(value, int) and value >= 1
    else:
        kind, good = "a finite number >= 0", number and isinstance(value, (int, float)) and 0 <= value < math.inf
    if not good:
        raise SpecError(f"objective {name}: {option} is {value!r}, expected {kind}, for example {default}.")


def _check_guide(name: str, guide: str, value: object) -> None:
    if not isinstance(value, str) or not value:
        raise SpecError(
            f"objective {name}: {guide} is {value!r:.80}, expected a reference, for example '{GUIDES[guide]}'; objects "
            f"are bound by Objective.guided({guide}=…)."
        )
