"""The tables of recipes/README.md, made from the headers of the recipes.

    python tests/docs/recipe_table.py         write them
    python tests/docs/recipe_table.py check   exit with 1 if they are out of date

A header is the comment above a recipe: one sentence, commands (indented), then paragraphs that begin with `Needs:`,
`Result:`, `Measured on:`, `Compared:`, `Settings:` or `Note:`. An indented line begins a line of its own in the table,
and one that is indented further goes on with it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dlkit import recipe

PAGE = Path(__file__).parents[2] / "recipes" / "README.md"
LABELS = ("Needs", "Result", "Measured on", "Compared", "Settings", "Note")
KINDS = {
    "Images": ("image-classification",),
    "Tables": ("tabular-classification",),
    "Text": ("causal-lm", "masked-lm", "text-classification"),
}


@dataclass
class Header:
    """What a recipe says of itself. `paragraphs` maps a label to the lines that stand below each other."""

    name: str
    task: str
    summary: str
    commands: list[str] = field(default_factory=list)
    paragraphs: dict[str, list[str]] = field(default_factory=dict)


def read(path: Path) -> Header:
    """The header of a recipe. Raises ValueError for a paragraph without a label and for a label twice."""
    header = Header(path.stem, str(recipe.load(str(path)).values["task"]), recipe.summary(path))
    lines: list[str] | None = None
    for line in comment(path):
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


def comment(path: Path) -> Iterator[str]:
    """The lines of a header behind its first sentence, without the `# `."""
    for line in path.read_text(encoding="utf-8").split("\n")[2:]:
        if not line.startswith("#"):
            return
        yield line[2:]


def tables() -> str:
    """One table for each kind of data."""
    headers = [read(path) for path in recipe.shipped().values()]
    parts: list[str] = []
    for title, tasks in KINDS.items():
        parts += [f"### {title}", "", "| recipe | what it is | needs | result |", "| --- | --- | --- | --- |"]
        parts += [row(header) for header in headers if header.task in tasks]
        parts.append("")
    return "\n".join(parts)


def row(header: Header) -> str:
    paragraphs = header.paragraphs
    (needs,), result = paragraphs["Needs"], paragraphs["Result"]
    if "Measured on" in paragraphs:
        result = [*result, f"*on {' '.join(paragraphs['Measured on'])}*"]
    result += [f"Compared: {line}" for line in paragraphs.get("Compared", [])]
    commands = "\n".join(header.commands).replace(" \\\n", " ").split("\n")
    cells = (
        f"[`{header.name}`]({header.name}.yaml)",
        "<br>".join([f"{header.summary} *{header.task}*", *(f"`{command}`" for command in commands)]),
        re.sub(r"(dlkit download \w+)", r"`\1`", needs),
        "<br>".join(result),
    )
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def updated(text: str) -> str:
    """The page with today's tables between its marks."""
    before, begin, rest = text.partition("<!-- tables: begin -->\n")
    _, end, after = rest.partition("<!-- tables: end -->\n")
    if not begin or not end:
        raise ValueError(f"{PAGE} has no place for its tables")
    return f"{before}{begin}\n{tables()}\n{end}{after}"


if __name__ == "__main__":
    old = PAGE.read_text(encoding="utf-8")
    new = updated(old)
    if sys.argv[1:] == ["check"]:
        sys.exit(f"{PAGE} is out of date: python {sys.argv[0]}" if new != old else 0)
    PAGE.write_text(new, encoding="utf-8")
