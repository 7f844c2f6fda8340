"""What notebooks show: tables and small pictures in place of a text, and the progress of long work."""

from __future__ import annotations

import base64
import contextlib
import html
import io
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

Report = Callable[[str, str, float], None]  # what is done, its present part, and the share of it that is done
_SIDE, _GAP = 56, 3  # pixels of a side of a picture at most, and between two
_SECONDS = 0.3  # between two changes of a bar
_CELL = "text-align:left;vertical-align:top;padding:1px 10px 1px 0"


def card(title: str, facts: Mapping[str, object], pictures: str = "") -> str:
    """HTML of an object: its title, a table of facts, and pictures; every text is escaped, facts that are "" left out.

    Example:
        >>> card("data", {"classes": "<b>"}).count("&lt;b&gt;")
        1
    """
    rows = "".join(
        f'<tr><th style="{_CELL}">{escaped(name)}</th><td style="{_CELL}">{escaped(fact)}</td></tr>'
        for name, fact in facts.items()
        if fact != ""
    )
    return f"<div><strong>{escaped(title)}</strong>{pictures}<table>{rows}</table></div>"


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[object]], note: str = "") -> str:
    """HTML of a table with a title above and a note below; every text is escaped."""
    top = "".join(f'<th style="{_CELL}">{escaped(head)}</th>' for head in heads)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{escaped(cell)}</td>' for cell in row) + "</tr>" for row in rows
    )
    below = f"<p>{escaped(note)}</p>" if note else ""
    return f"<div><strong>{escaped(title)}</strong><table><tr>{top}</tr>{body}</table>{below}</div>"


def escaped(text: object) -> str:
    """Any text as HTML that means nothing but itself."""
    return html.escape(str(text))


def strip(images: np.ndarray, names: Sequence[str]) -> str:
    """HTML of pictures side by side, (N, C, H, W) in [0, 1] with a name for each as its tooltip; "" for none."""
    return "".join(
        f'<img src="{_png(image)}" title="{escaped(name)}" alt="{escaped(name)}" style="display:inline-block;margin:'
        f'{_GAP}px {_GAP}px {_GAP}px 0">'
        for image, name in zip(images, names, strict=True)
    )


def _png(image: np.ndarray) -> str:
    """A picture as a PNG data URI, enlarged by a whole factor or shrunk; what is not three channels becomes grey."""
    import numpy as np
    from PIL import Image

    whole = image if len(image) == 3 else image.mean(0, keepdims=True).repeat(3, 0)
    picture = Image.fromarray(np.round(np.nan_to_num(whole).clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0))
    scale = max(1, _SIDE // max(picture.size))
    picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def in_notebook() -> bool:
    """Whether Python runs in a notebook's kernel, which shows HTML."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and getattr(shell, "kernel", None) is not None


@contextlib.contextmanager
def bars() -> Iterator[Report]:
    """A bar for each thing that is done, changed a few times a second; at the end it says how long it took."""
    from IPython.display import HTML, display

    shown: dict[str, tuple[Any, float, float]] = {}  # its display, when it began, and when it was last changed

    def show(title: str, part: str, share: float) -> None:
        now = time.monotonic()
        if title not in shown:
            shown[title] = display(HTML(_bar(title, part, share, 0.0)), display_id=True), now, now
            return
        handle, began, last = shown[title]
        if share >= 1 or now - last >= _SECONDS:
            shown[title] = handle, began, now
            handle.update(HTML(_bar(title, part, share, now - began)))

    yield show


def _bar(title: str, part: str, share: float, seconds: float) -> str:
    left = f", about {seconds * (1 - share) / share:.0f} s left" if 0 < share < 1 and seconds > 1 else ""
    text = f"{share:.0%} {part}, {seconds:.0f} s so far{left}" if share < 1 else f"{part}, {seconds:.0f} s"
    return f'<div>{escaped(title)} <progress max="1" value="{min(share, 1):.4f}"></progress> {escaped(text)}</div>'


@contextlib.contextmanager
def progress(title: str, on_progress: Callable[[str, float], None] | None) -> Iterator[Callable[[str, float], None]]:
    """Where work reports what is being done and the share that is done: to a caller, or to a bar in a notebook.

    Args:
        title: of the work.
        on_progress: of the caller; None for a bar in a notebook, and for nothing elsewhere.
    """
    if on_progress is not None:
        yield on_progress
    elif in_notebook():
        with bars() as report:
            yield lambda part, share: report(title, part, share)
    else:
        yield lambda part, share: None
