"""The HTML report of a sweep: verdict, tables and figures on one self-contained page, for light and dark screens."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlkit.storage.atomic_file import write_text

_STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --ink: #1c2230; --soft: #596274; --line: #d5dae2; }
@media (prefers-color-scheme: dark) { :root { --page: #14171c; --ink: #e4e7ee; --soft: #a3acbd; --line: #3a414e; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 1.5rem auto; padding: 0 1rem;
  background: var(--page); color: var(--ink); overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .6rem; text-align: right; border-bottom: 1px solid var(--line); overflow-wrap: normal; }
th:first-child, td:first-child { text-align: left; }
.caption { color: var(--soft); margin: 1.5rem 0 0; } .caption + .wide { margin-top: .3rem; }
@media (max-width: 40rem) { th, td { padding: .3rem .25rem; font-size: .8rem; line-height: 1.3; } }
figure { margin: 2rem 0; } figcaption { color: var(--soft); }
svg { display: block; max-width: 40rem; width: 100%; height: auto; fill: currentColor; }
.facts th, .facts td { text-align: left; vertical-align: top; overflow-wrap: anywhere; } .facts th { width: 8rem; }
pre { overflow-x: auto; overflow-wrap: normal; }
summary { cursor: pointer; }
.verdict { font-size: 1.2rem; } .note { color: var(--soft); }
"""


@dataclass(frozen=True)
class ReportTable:
    """A table of the page: what it shows, the names of its columns, and its rows."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def write_report(
    target: Path,
    title: str,
    verdict: str,
    table: ReportTable,
    figures: Sequence[tuple[Path, str]],
    notes: Sequence[str],
    grid: ReportTable | None = None,
    facts: Sequence[tuple[str, str]] = (),
    recipe: str = "",
) -> None:
    """Write the page.

    Args:
        target: the HTML file.
        title: of the page.
        verdict: the sentence on top.
        table: of the results.
        figures: SVG files, which are inlined, and the caption of each.
        notes: sentences below the table.
        grid: every setting that was tried; None for no such table.
        facts: rows (name, value) of provenance.
        recipe: the YAML of the recipe, or nothing.
    """
    sections = [
        "<!doctype html><html lang=en><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style>",
        f"<h1>{html.escape(title)}</h1><p class=verdict>{html.escape(verdict)}</p>",
        _table(table),
        *(f"<p class=note>{html.escape(note)}</p>" for note in notes),
    ]
    for number, (figure, caption) in enumerate(figures):
        picture = _inline(figure.read_text(encoding="utf-8"), number, caption)
        sections.append(
            f"<figure><div class=wide>{picture}</div><figcaption>{html.escape(caption)}</figcaption></figure>"
        )
    if grid is not None:
        sections.append(f"<h2>All settings</h2>{_table(grid)}")
    if facts:
        lines = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in facts)
        sections.append(f"<h2>How it was run</h2><table class=facts>{lines}</table>")
    if recipe:
        sections.append(f"<details><summary>Its recipe</summary><pre>{html.escape(recipe)}</pre></details>")
    write_text(target, "\n".join(sections) + "</html>\n")


def _table(table: ReportTable) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in table.columns)
    lines = ("".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) for row in table.rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    caption = html.escape(table.caption)
    return (  # the caption stands still where a table moves sideways
        f'<p class=caption>{caption}</p><div class=wide><table aria-label="{caption}">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _inline(svg: str, number: int, caption: str) -> str:
    """An SVG file without its XML header: its ids made unique on the page, its black and white those of the page."""
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\1f{number}-", svg[svg.index("<svg") :])
    svg = re.sub(r"(?<=: )#000000\b", "currentColor", svg)
    svg = re.sub(r'(?<=: )#ffffff\b(?![^"]*fill-opacity)', "var(--page)", svg)  # but not that of a shaded surface
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(caption)}"', 1)
