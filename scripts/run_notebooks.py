"""Run notebooks and keep what they show, so that it is the same every time.

    python scripts/run_notebooks.py                      # all of notebooks/
    python scripts/run_notebooks.py regimes_on_a_world   # one
    python scripts/run_notebooks.py --out DIR            # the notebooks as they come out, into another folder

Each runs in an empty folder, with one thread and without data folders. Its metadata then hold the digest of the code
that made the outputs, and docs/images gets the picture of its cell with the tag "cover".
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).parent.parent
NOTEBOOKS, PICTURES = ROOT / "notebooks", ROOT / "docs" / "images"
LARGEST = 1_000_000  # bytes
_PATIENCE = 3600  # seconds for a cell or the start; a busy machine may need them
_NO_DATA = ("TANGENCY_DATA", "TANGENCY_WEIGHTS")


def code_digest(notebook: NotebookNode) -> str:
    """SHA-256 of the code cells in their order."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()


def executed(path: Path) -> NotebookNode:
    """A notebook with the outputs of its code, without times and places of this run; an error is raised."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        patience = {"timeout": _PATIENCE, "startup_timeout": _PATIENCE}
        client = NotebookClient(notebook, resources=resources, record_timing=False, **patience)
        client.execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [nbformat.from_dict(_plain(output)) for output in cell.outputs]
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            "tangency": {"code_sha256": code_digest(notebook)},
        }
    )
    return notebook


def _plain(output: NotebookNode) -> dict[str, object]:
    """An output without the object's text beside its picture or Markdown, which may hold an address."""
    kept = dict(output)
    rich = [kind for kind in kept.get("data", {}) if kind != "text/plain"]
    if rich:
        kept["data"] = {kind: kept["data"][kind] for kind in rich}
    return kept


def cover(notebook: NotebookNode) -> bytes:
    """The picture of the cell with the tag "cover"."""
    (cell,) = [cell for cell in notebook.cells if "cover" in cell.metadata.get("tags", ())]
    (picture,) = [output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})]
    return base64.b64decode(picture)


def cover_path(name: str) -> Path:
    """Where the picture of a notebook goes."""
    return PICTURES / f"notebook-{name.replace('_', '-')}.png"


def main() -> None:
    """Run those that are named, all by default."""
    names = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; all by default")
    parser.add_argument("--out", type=Path, default=NOTEBOOKS, help="folder; notebooks/ by default")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(names)):
        parser.error(f"got {', '.join(unknown)}, expected names of {', '.join(names)}")
    os.environ["OMP_NUM_THREADS"] = "1"  # sums of floats in one order
    for name in _NO_DATA:
        os.environ.pop(name, None)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.names or names:
        began = time.monotonic()
        notebook = executed(NOTEBOOKS / f"{name}.ipynb")
        nbformat.write(notebook, options.out / f"{name}.ipynb")
        size = (options.out / f"{name}.ipynb").stat().st_size
        print(f"{name}: {time.monotonic() - began:.0f} s, {size / 1000:.0f} kB", flush=True)
        if size > LARGEST:
            raise SystemExit(f"{name}: {size} bytes, expected at most {LARGEST}; draw fewer or smaller pictures.")
        if options.out == NOTEBOOKS:
            cover_path(name).write_bytes(cover(notebook))


if __name__ == "__main__":
    main()
