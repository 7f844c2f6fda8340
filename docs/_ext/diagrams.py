"""Mermaid blocks drawn in the reader's browser by the copy in _static, so also from disk and without network."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class Diagram(SphinxDirective):
    """A block of Mermaid's language."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The text, as Mermaid wants it."""
        text = nodes.Text("\n".join(self.content)).astext()
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return [nodes.raw("", f'<pre class="mermaid">\n{escaped}\n</pre>', format="html")]


def add_scripts(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """3 MB of JavaScript only for the pages that draw something."""
    if doctree is not None and any('class="mermaid"' in node.astext() for node in doctree.findall(nodes.raw)):
        app.add_js_file("mermaid.min.js")
        app.add_js_file("diagrams.js")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register both."""
    app.add_directive("mermaid", Diagram)
    app.connect("html-page-context", add_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
