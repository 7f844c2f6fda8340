"""How Sphinx builds this folder into the site: `make docs`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "tangency"
author = "The tangency authors"
copyright = "The tangency authors; MIT licence"
release = re.search(r'__version__ = "(.*?)"', (HERE.parent / "src" / "tangency" / "__init__.py").read_text())[1]
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
extensions += ["benchmark_table", "diagrams", "mathml", "notebook_pages", "public_names"]
exclude_patterns = ["_build", "_ext", "_static"]
root_doc = "index"
language = "en"

# Links: every [text](page.md#heading) and every name in backticks with a role is checked. Annotations of arguments are
# not: most are classes of torch and numpy, whose pages the builder would have to fetch.
nitpicky = True
nitpick_ignore_regex = [(r"py:(class|obj|exc|data)", r".*")]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]
suppress_warnings = ["myst.header"]  # pages that are included begin at their second level

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
default_role = "literal"  # docstrings write names in single backticks
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"tangency {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_show_search_summary = False  # it fetches pages, which a browser refuses where the site is opened from disk
html_theme_options = {"source_edit_link": ""}
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
