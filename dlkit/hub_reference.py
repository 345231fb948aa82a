"""Names of repositories on the Hugging Face Hub, OWNER/NAME or hf:OWNER/NAME@REVISION, beside paths."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

PREFIX = "hf:"
Kind = Literal["datasets", "models"]
# as the Hub has them: letters, digits, dots, dashes and underscores
_WORD = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}"
_REFERENCE = re.compile(rf"(?:(datasets|models)/)?({_WORD}/{_WORD})(?:@([A-Za-z0-9][\w./-]{{0,199}}))?")


@dataclass(frozen=True)
class HubReference:
    """A repository. `kind` is None where the name leaves it open, `revision` where it is that of the branch main."""

    name: str
    kind: Kind | None = None
    revision: str | None = None

    def __str__(self) -> str:
        kind = f"{self.kind}/" if self.kind else ""
        return f"{PREFIX}{kind}{self.name}" + (f"@{self.revision}" if self.revision else "")

    def of(self, kind: Kind) -> HubReference:
        """The repository of this kind and name."""
        return replace(self, kind=kind)

    @property
    def folder(self) -> str:
        """Its place in the folder of downloads, a name for each revision."""
        revision = f"@{self.revision.replace('/', '--')}" if self.revision else ""
        return f"hub/{self.kind}/{self.name}{revision}"


def hub_reference(text: str) -> HubReference | None:
    """The repository that a text names; None for what can only be a path."""
    found = _REFERENCE.fullmatch(text.removeprefix(PREFIX))
    if found is None or ".." in text:
        return None
    kind: Kind | None = "datasets" if found[1] == "datasets" else "models" if found[1] else None
    return HubReference(found[2], kind, found[3])


def located(text: str, folder: Path) -> str:
    """A reference to the Hub as it is; anything else, and a folder that is there, as an absolute path.

    Args:
        text: of a recipe or of a command line.
        folder: that relative paths start from.
    """
    path = (folder / Path(text).expanduser()).absolute()
    return text if text.startswith(PREFIX) or (hub_reference(text) and not path.exists()) else str(path)
