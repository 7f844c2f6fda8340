"""Keys of measures: the only place where they are formatted and parsed."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

# Tangent spaces in place of the image's own: another image's, another's of the class, cosine frequencies, global PCA.
TANGENT_CONTROLS = ("shuffled", "shuffled_class", "dct", "pca")
# The target of another image, of another image of the class; a gradient with its phases drawn anew, a random direction;
# the image less its mean, and its high-pass −(x − blur x).
ALIGNMENT_CONTROLS = ("shuffled", "shuffled_class", "phase", "random", "image", "edge")
CONTROLS = (*dict.fromkeys((*TANGENT_CONTROLS, *ALIGNMENT_CONTROLS)), "untrained")

_EXCESS, _TANGENTS = "excess.", ".tangents="
_PARTS = re.compile(r"\.(?=[A-Za-z])")  # a dot inside a number does not separate


@dataclass(frozen=True)
class Key:
    """The key of a measure, which names a column of rows and an entry of a summary.

    Its text is `[excess.]family[.part][.quantity][.target][.setting=value …][.control]`.

    Args:
        family: the measure, as the registry names it.
        quantity: the scalar or map whose gradient is measured.
        target: the score that it is compared with.
        settings: (name, value), in the order of the text: sigma, eps, radius, steps, norm, and tangents as the last.
        control: what stands in place of the image's own target, tangent space or gradient.
        part: of a measure with several numbers, such as a band of frequencies.
        excess: whether it is the measure minus its control.

    Example:
        >>> str(Key("tangent_fraction", "margin").at(tangents="denoiser").under("dct"))
        'tangent_fraction.margin.tangents=denoiser.dct'
        >>> key = Key.parse("alignment_lpips.margin.score.sigma=0.25.norm=p99.9.shuffled")
        >>> key.family, key.quantity, key.target, key.value, key.control
        ('alignment_lpips', 'margin', 'score', 0.25, 'shuffled')
    """

    family: str
    quantity: str = ""
    target: str = ""
    settings: tuple[tuple[str, str], ...] = ()
    control: str = ""
    part: str = ""
    excess: bool = False

    @staticmethod
    def parse(text: str) -> Key:
        """The key of a text; texts that were parsed before are looked up."""
        return _parsed(text)

    @cached_property
    def _text(self) -> str:
        settings = (f"{name}={value}" for name, value in self.settings)
        parts = (self.family, self.part, self.quantity, self.target, *settings, self.control)
        return _EXCESS * self.excess + ".".join(part for part in parts if part)

    def __str__(self) -> str:
        return self._text

    def at(self, **settings: float | str) -> Key:
        """The key with settings behind those it has; numbers get their shortest form, and empty texts are left out."""
        added = ((name, value if isinstance(value, str) else f"{value:g}") for name, value in settings.items())
        return dataclasses.replace(self, settings=(*self.settings, *(item for item in added if item[1])))

    def under(self, control: str) -> Key:
        """The key of the control of that name, or of the measure itself for an empty one."""
        return dataclasses.replace(self, control=control)

    def of(self, family: str) -> Key:
        """The key of another family, all else equal."""
        return dataclasses.replace(self, family=family)

    def minus(self, control: str = "") -> Key:
        """The key of the measure minus a control; minus its best one for an empty name."""
        return dataclasses.replace(self, control=control, excess=True)

    def begins(self, text: str) -> bool:
        """Whether the key's text is `text`, or begins with it and a dot."""
        return self._text == text or self._text.startswith(f"{text.rstrip('.')}.")

    def setting(self, name: str) -> str:
        """The value of a setting; "" where the key has none of that name."""
        return next((value for own, value in self.settings if own == name), "")

    @property
    def base(self) -> Key:
        """The key without its control."""
        return self.under("")

    @property
    def tangents(self) -> str:
        """The estimator that its tangent spaces are from; "" for the first one."""
        return self.setting("tangents")

    @property
    def variant(self) -> str:
        """Its part and normalisation, "" for the usual ones."""
        return ".".join(part for part in (self.part, self.setting("norm")) if part)

    @property
    def _numbers(self) -> tuple[tuple[str, str], ...]:
        return tuple(item for item in self.settings if item[0] not in ("norm", "tangents"))

    @property
    def parameter(self) -> str:
        """The setting along which curves are drawn, its first number: "sigma", "eps", "radius", or ""."""
        return self._numbers[0][0] if self._numbers else ""

    @property
    def value(self) -> float | None:
        """The number of `parameter`."""
        return float(self._numbers[0][1]) if self._numbers else None

    @property
    def panel(self) -> str:
        """Name of the axes on which it is drawn: the key without `parameter`, estimator and control."""
        fixed = (f"{name}={value}" for name, value in self._numbers[1:])
        return ".".join(part for part in (self.family, self.variant, self.quantity, self.target, *fixed) if part)


@lru_cache(maxsize=1 << 17)
def _parsed(text: str) -> Key:
    bare, marked, tangents = text.removeprefix(_EXCESS).partition(_TANGENTS)
    (head, *parts), control = _PARTS.split(bare), ""
    if marked:
        before, _, last = tangents.rpartition(".")
        tangents, control = (before, last) if before and last in CONTROLS else (tangents, "")
    family, _, part = head.partition(".")
    settings = [(name, value) for name, equal, value in (p.partition("=") for p in parts) if equal]
    last_setting = max((i for i, p in enumerate(parts) if "=" in p), default=len(parts))
    names = [p for p in parts[:last_setting] if "=" not in p]
    behind = parts[last_setting + 1 :]
    if not settings and not marked and names and names[-1] in CONTROLS:
        behind = [names.pop()]
    quantity, target = (names[0] if names else ""), ".".join(names[1:])
    given = (*settings, *([("tangents", tangents)] if marked else ()))
    return Key(family, quantity, target, given, control or ".".join(behind), part, text.startswith(_EXCESS))


# The scalar of verdicts: its direction is the same for logits times any number, that of log p(y|x) is not.
MARGIN = "margin"
FRACTION = str(Key("tangent_fraction", MARGIN))
KAPPA = str(Key("kappa", MARGIN))
ALIGNMENT = str(Key("alignment_cosine", MARGIN, "bayes_gradient"))
RADIUS = str(Key("radius"))
