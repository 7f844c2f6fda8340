"""What the documentation site promises, of the one that `make docs` built; run in the repository.

Every public name is in the reference and every page in the navigation; nothing is fetched from elsewhere; opened from
disk in headless Chromium, search finds what is there. Prints "docs: ran", or what was skipped and why; what fails ends
it with exit code 1.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

SITE = Path("docs/_build/html")
OWN = {"genindex.html", "py-modindex.html", "search.html", "index.html"}  # what Sphinx adds, and where one is
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SEARCHES = {"certify": "reference/", "Wiener": "measure.html", "folder": "howto/own-data.html"}


def missing_names() -> list[str]:
    """Public names that the reference documents under no name."""
    from sphinx.util.inventory import InventoryFile

    sys.path.insert(0, "docs/_ext")
    reference = importlib.import_module("public_names")
    content = InventoryFile.loads((SITE / "objects.inv").read_bytes(), uri="").data
    documented = {name for kind, entries in content.items() if kind.startswith("py:") for name in entries}
    modules = {module: importlib.import_module(module) for module in reference.rooms()}
    objects = {
        id(getattr(modules[module], name))
        for module, _, name in (full.rpartition(".") for full in documented)
        if module in modules and hasattr(modules[module], name)
    }
    return [
        f"{module}.{name}"
        for module, room in modules.items()
        for name in reference.names(room)
        if f"{module}.{name}" not in documented and id(getattr(room, name)) not in objects
    ]


def unreachable() -> list[str]:
    """Pages to which the navigation of the first one does not lead."""
    tree = (SITE / "index.html").read_text("utf-8").partition('class="sidebar-tree"')[2].partition("</aside>")[0]
    linked = set(re.findall(r'class="reference internal" href="([^"#]+)', tree))
    return sorted({path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html")} - linked - OWN)


def fetched() -> Iterator[str]:
    """Scripts, styles and pictures that come from elsewhere."""
    pattern = re.compile(r'<(?:script|img|iframe)[^>]+src="https?:|<link[^>]+rel="stylesheet"[^>]+href="https?:')
    for path in SITE.rglob("*.html"):
        yield from (f"{path.name}: {found}" for found in pattern.findall(path.read_text("utf-8")))


def search(path: str) -> Iterator[str]:
    """What is wrong when the site is opened from disk."""
    from playwright.sync_api import sync_playwright

    address = SITE.resolve().as_uri()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = chromium.new_page()
        page.set_default_timeout(60_000)
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        for term, place in SEARCHES.items():
            page.goto(f"{address}/index.html")
            page.fill("input[name=q]", term)
            page.press("input[name=q]", "Enter")
            page.wait_for_selector("#search-results li a")
            found = page.eval_on_selector_all("#search-results li a", "all => all.map(one => one.href)")
            if not any(place in link for link in found):
                yield f"search for {term!r} finds {len(found)} pages, and not {place}"
        chromium.close()
    yield from (f"console: {text}" for text in said)


def main() -> None:
    """Check, and say what was done."""
    wrong = [f"not in the reference: {name}" for name in missing_names()]
    wrong += [f"not in the navigation: {page}" for page in unreachable()]
    wrong += [f"fetched from elsewhere: {text}" for text in fetched()]
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser and importlib.util.find_spec("playwright"):
        wrong += search(browser)
    else:
        print("docs: search skipped:", "no package playwright" if browser else "no Chromium")
    if wrong:
        sys.exit("\n".join(["docs:", *wrong]))
    print("docs: ran")


if __name__ == "__main__":
    main()
