"""A page for every notebook of notebooks/, as it ships: text, code and the outputs that it was saved with."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

SOURCE = Path(__file__).parents[2] / "notebooks"
PICTURES = {"image/png": "png", "image/svg+xml": "svg"}
INDEX = "notebooks"


def shown(output: dict[str, Any], name: str, folder: Path) -> list[str]:
    """What one output looks like; pictures become files beside the page."""
    if output["output_type"] == "stream":
        return ["```text", "".join(output["text"]).rstrip(), "```", ""]
    data = {kind: "".join(text) for kind, text in output.get("data", {}).items()}
    for kind, ending in PICTURES.items():
        if kind in data:
            picture = folder / f"{name}.{ending}"
            picture.write_bytes(base64.b64decode(data[kind]) if ending == "png" else data[kind].encode())
            return [f"![Output of the cell above]({picture.name})", ""]
    if "text/html" in data:
        return ["```{raw} html", data["text/html"], "```", ""]
    if "text/markdown" in data:
        return [data["text/markdown"], ""]
    return ["```text", data["text/plain"].rstrip(), "```", ""]


def page(notebook: Path, folder: Path) -> str:
    """The notebook as Markdown."""
    lines = []
    for number, cell in enumerate(json.loads(notebook.read_text(encoding="utf-8"))["cells"]):
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            lines += [text.replace("](../docs/", "](../"), ""]
        if cell["cell_type"] == "code":
            lines += ["```python", text, "```", ""]
            for place, output in enumerate(cell["outputs"]):
                lines += shown(output, f"{notebook.stem}-{number}-{place}", folder)
    return "\n".join(lines)


def write(app: Sphinx) -> None:
    """The pages, where they are not already as they should be."""
    folder = Path(app.srcdir) / "notebooks"
    folder.mkdir(exist_ok=True)
    for notebook in sorted(SOURCE.glob("*.ipynb")):
        path, text = folder / f"{notebook.stem}.md", page(notebook, folder)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def link(app: Sphinx, name: str, source: list[str]) -> None:
    """The list of notebooks leads to their pages here, not to files that only a checkout has."""
    if name == INDEX:
        text = re.sub(r"\(\.\./notebooks/(\w+)\.ipynb\)", r"(notebooks/\1.md)", source[0])
        text = text.replace("(../notebooks/README.md)", "(notebooks.md)")
        names = "\n".join(f"notebooks/{path.stem}" for path in sorted(SOURCE.glob("*.ipynb")))
        source[0] = f"{text}\n```{{toctree}}\n:hidden:\n\n{names}\n```\n"


def setup(app: Sphinx) -> dict[str, bool]:
    """Register both."""
    app.connect("builder-inited", write)
    app.connect("source-read", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
