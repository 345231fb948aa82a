"""The tables of recipes/README.md, made from the headers of the recipes.

    python tests/docs/recipe_table.py         write them
    python tests/docs/recipe_table.py check   exit with 1 if they are out of date

`dlkit.recipe.header` says what a header is.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from dlkit import recipe
from dlkit.recipe.header import Header, read_header

PAGE = Path(__file__).parents[2] / "recipes" / "README.md"
KINDS = {
    "Images": ("image-classification",),
    "Tables": ("tabular-classification", "tabular-regression"),
    "Text": ("causal-lm", "masked-lm", "text-classification"),
}


def tables() -> str:
    """One table for each kind of data."""
    headers = [read_header(path) for path in recipe.shipped().values()]
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
