"""What all pages share: templates, files of this package, and embedded JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.resources import files as package_files
from typing import TYPE_CHECKING, Any

from tangency.report.text.numbers import capital, estimate, number_or_dash
from tangency.report.text.trials import regime_label, trial_name

if TYPE_CHECKING:
    from jinja2 import Environment


def environment() -> Environment:
    """Templates of this package; every value is escaped, a missing one is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("tangency.report", "templates")
    jinja = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    jinja.filters |= {
        "number": number_or_dash,
        "estimate": estimate,
        "capital": capital,
        "soften": soften,
        "trial_name": trial_name,
        "regime_label": regime_label,
    }
    return jinja


def resource(*names: str) -> Any:
    """Files of this package, joined, as text to inline unescaped."""
    from markupsafe import Markup

    folder = package_files("tangency.report")
    return Markup("".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names))


def soften(sentence: str) -> Any:
    """The sentence as HTML with true minus signs, whose [intervals] have a class of their own."""
    from markupsafe import Markup, escape

    signed = re.sub(r"(?<![\w.–-])-(?=\d)", "−", sentence)
    return Markup(re.sub(r"\[[^\[\]]*\]", r'<span class="interval">\g<0></span>', str(escape(signed))))


def embedded_json(content: Mapping[str, Any]) -> Any:
    """JSON that cannot end the script element around it."""
    from markupsafe import Markup

    return Markup(compact_json(content).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def compact_json(content: Mapping[str, Any]) -> str:
    """Strict JSON without a space too many."""
    return json.dumps(content, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
