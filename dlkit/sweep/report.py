"""The HTML report of a sweep: verdict, table and figures on one self-contained page."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlkit.storage.atomic_file import write_text

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
th, td { padding: .35rem .6rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 1.5rem 0; } svg { max-width: 100%; height: auto; }
.facts th, .facts td { text-align: left; vertical-align: top; overflow-wrap: anywhere; } .facts th { width: 9rem; }
pre { overflow-x: auto; }
.verdict { font-size: 1.2rem; } .note { color: #666; }
@media (prefers-color-scheme: dark) { figure { background: #fff; } body { background: #181818; color: #ddd; } }
"""


def write_report(
    target: Path,
    title: str,
    verdict: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    figures: Sequence[Path],
    notes: Sequence[str],
    facts: Sequence[tuple[str, str]] = (),
    recipe: str = "",
) -> None:
    """Write the page. `figures` are SVG files, which are inlined; `facts` are rows (name, value) of provenance."""
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    sections = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title><style>{_STYLE}</style>",
        f"<h1>{html.escape(title)}</h1><p class=verdict>{html.escape(verdict)}</p>",
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>",
        *(f"<p class=note>{html.escape(note)}</p>" for note in notes),
    ]
    for number, figure in enumerate(figures):
        sections.append(f"<figure>{_inline(figure.read_text(encoding='utf-8'), number)}</figure>")
    if facts:
        lines = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in facts)
        sections.append(f"<h2>How it was run</h2><table class=facts>{lines}</table>")
    if recipe:
        sections.append(f"<details><summary>Its recipe</summary><pre>{html.escape(recipe)}</pre></details>")
    write_text(target, "\n".join(sections) + "</html>\n")


def _inline(svg: str, number: int) -> str:
    """An SVG file without its XML header, its ids made unique on the page."""
    start = svg.index("<svg")
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\1f{number}-", svg[start:])
