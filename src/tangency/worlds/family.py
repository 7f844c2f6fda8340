"""Several worlds by one reference: the same in everything but one option."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from tangency.errors import SpecError
from tangency.references import parse_options


def family(reference: str) -> list[str]:
    """The references that one with alternatives, separated by bars, stands for, in their order.

    "fitted?size=14&rank=2|4|8" are three worlds fitted to the same images, of 2, 4 and 8 dimensions.

    Args:
        reference: of a world; at most one option has alternatives.

    Raises:
        SpecError: alternatives of two options, or an empty one.

    Example:
        >>> family("fitted?size=14&rank=2|4")
        ['fitted?size=14&rank=2', 'fitted?size=14&rank=4']
        >>> family("sphere?rank=3")
        ['sphere?rank=3']
    """
    name, mark, query = reference.partition("?")
    if not mark or "|" not in query:
        return [reference]
    options = parse_options(reference, query)
    several = [key for key, text in options.items() if "|" in text]
    values = options[several[0]].split("|")
    if len(several) > 1 or not all(values):
        raise SpecError(
            f"{reference}: got alternatives of {', '.join(several)}, expected those of one option, none of them empty, "
            "for example rank=2|4|8."
        )
    members = [options | {several[0]: value} for value in values]
    return [f"{name}?{urlencode(member, quote_via=quote, safe=':/?=')}" for member in members]
