"""README and addresses of a package, from the address of the repository in pyproject.toml; hatchling calls it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

PAPER = "https://arxiv.org/abs/2305.19101"


def absolute(text: str, repository: str) -> str:
    """Markdown whose relative pictures and links lead into the repository; unchanged where that is nowhere."""
    if not repository:
        return text
    text = re.sub(r"(!\[[^\]]*\]\()(?!https?:)", rf"\g<1>{repository}/raw/main/", text)
    return re.sub(r"((?<!!)\[[^\]]*\]\()(?!https?:|#)", rf"\g<1>{repository}/blob/main/", text)


def addresses(repository: str, documentation: str) -> dict[str, str]:
    """What a package index shows beside the text."""
    known = {"Repository": repository, "Documentation": documentation}
    if repository:
        known |= {"Issues": f"{repository}/issues", "Changelog": f"{repository}/blob/main/CHANGELOG.md"}
    return {"Paper": PAPER, **{name: address for name, address in known.items() if address}}


class PackageMetadata(MetadataHookInterface):
    """The two fields that pyproject.toml calls dynamic."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill them in."""
        repository, documentation = (str(self.config[key]).rstrip("/") for key in ("repository", "documentation"))
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": absolute(text, repository)}
        metadata["urls"] = addresses(repository, documentation)
