"""What a shipped recipe says of itself: the comment above it.

One sentence, commands (indented), then paragraphs that begin with `Needs:`, `Result:`, `Measured on:`, `Compared:`,
`Settings:` or `Note:`. An indented line begins a line of its own, and one that is indented further goes on with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dlkit.recipe.find import summary
from dlkit.recipe.load import read_recipe

LABELS = ("Needs", "Result", "Measured on", "Compared", "Settings", "Note")
_TIME = re.compile(r"\b(?:(\d+) h\b ?)?(?:(\d+) min\b ?)?(?:(\d+) s\b)?")


@dataclass
class Header:
    """The header of a recipe. `paragraphs` maps a label to the lines that stand below each other."""

    name: str
    task: str
    summary: str
    commands: list[str] = field(default_factory=list[str])
    paragraphs: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    @property
    def needs(self) -> str:
        """What must be there before it is trained."""
        return " ".join(self.paragraphs.get("Needs", ["nothing"]))

    @property
    def data(self) -> Literal["embedded", "download", "yours"]:
        """Where its data comes from."""
        if self.needs.startswith("nothing"):
            return "embedded"
        return "download" if self.needs.startswith("dlkit download") else "yours"

    @property
    def seconds(self) -> int | None:
        """How long it took where it was measured: the first time that its result states."""
        for hours, minutes, seconds in _TIME.findall(" ".join(self.paragraphs.get("Result", []))):
            if hours or minutes or seconds:
                return 3600 * int(hours or 0) + 60 * int(minutes or 0) + int(seconds or 0)
        return None


def read_header(path: Path) -> Header:
    """The header of a recipe. Raises ValueError for a paragraph without a label and for a label twice."""
    header = Header(path.stem, str(read_recipe(str(path)).written.values["task"]), summary(path))
    lines: list[str] | None = None
    for line in _comment(path):
        label, colon, text = line.partition(": ")
        if label in LABELS and colon:
            if label in header.paragraphs:
                raise ValueError(f"{path}: {label} twice")
            lines = header.paragraphs[label] = [text]
        elif lines is None:
            if not line.startswith("  "):
                raise ValueError(f"{path}: neither a command nor one of {', '.join(LABELS)}: {line}")
            header.commands.append(line.strip())
        elif re.match("  [^ ]", line):
            lines.append(line.strip())
        else:
            lines[-1] += f" {line.strip()}"
    return header


def _comment(path: Path) -> Iterator[str]:
    """The lines of a header behind its first sentence, without the `# `."""
    for line in path.read_text(encoding="utf-8").split("\n")[2:]:
        if not line.startswith("#"):
            return
        yield line[2:]
