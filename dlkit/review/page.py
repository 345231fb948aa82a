"""One offline HTML page of claims: by section, with verdict, figure, numbers, the command and the paper of each."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from dlkit.errors import shell_word
from dlkit.recipe.find import shipped as shipped_recipes
from dlkit.review.claim import FIRST
from dlkit.review.dot_plot import dot_plot
from dlkit.review.evidence import command_of, evidence_of
from dlkit.review.find import shipped_claims
from dlkit.storage.atomic_file import write_text

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"  # no file

# The colours of the verdicts are those of Okabe & Ito 2008, which colour-blind readers can tell apart; each has a sign.
_STYLE = """
:root { color-scheme: light dark; --page: #fff; --ink: #1a1a1a; --soft: #595959; --line: #ccc; --dot: #0072b2;
  --supported: #00694d; --not-supported: #8a5a00; --contradicted: #a53f00; --cannot-tell: #00598a; }
@media screen and (prefers-color-scheme: dark) { :root { --page: #16181b; --ink: #e6e6e6; --soft: #a6a6a6; --line: #444;
  --dot: #56b4e9; --supported: #2fc495; --not-supported: #e69f00; --contradicted: #ff8a4d; --cannot-tell: #56b4e9; } }
body { background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; margin: 0 auto;
  max-width: 60rem; padding: 1rem; }
section, article { scroll-margin-top: 5rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
a { color: inherit; }
a:focus-visible, button:focus-visible, summary:focus-visible { outline: 3px solid var(--dot); outline-offset: 2px; }
.bar { position: sticky; top: 0; background: var(--page); border-bottom: 1px solid var(--line); padding: .5rem 0;
  display: flex; flex-wrap: wrap; gap: .4rem; }
button { font: inherit; color: inherit; background: none; border: 1px solid var(--line); border-radius: 1rem;
  padding: .1rem .8rem; cursor: pointer; }
button[aria-pressed=true] { border-color: var(--ink); box-shadow: inset 0 0 0 1px var(--ink); }
nav ul { columns: 14rem; padding-left: 1.2rem; margin: .8rem 0; }
article { border: 1px solid var(--line); border-left: .4rem solid var(--color); border-radius: .3rem; margin: .8rem 0;
  padding: .6rem .9rem; }
.verdict { color: var(--color); font-weight: 700; }
.supported { --color: var(--supported); } .not-supported { --color: var(--not-supported); }
.contradicted, .no-verdict { --color: var(--contradicted); } .cannot-tell { --color: var(--cannot-tell); }
p { margin: .3rem 0; overflow-wrap: anywhere; } .soft { color: var(--soft); font-size: .9rem; }
code { font: .9em ui-monospace, monospace; overflow-wrap: anywhere; }
.dots { display: block; width: 100%; max-width: 34rem; height: auto; margin: .4rem 0; }
.dots text { fill: var(--ink); font: 13px system-ui, sans-serif; } .dots .tick { fill: var(--soft); }
.dots circle { fill: var(--dot); fill-opacity: .55; } .dots .rule { stroke: var(--line); }
.dots .mean { stroke: var(--ink); stroke-width: 2; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1rem; }
figure { margin: 0; max-width: 30rem; break-inside: avoid; } figure svg { display: block; width: 100%; height: auto;
  fill: currentColor; } figcaption { color: var(--soft); font-size: .9rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85rem; margin: .3rem 0; }
summary { cursor: pointer; color: var(--soft); font-size: .9rem; }
dl { display: grid; grid-template-columns: fit-content(14rem) 1fr; gap: 0 1rem; margin: .3rem 0; }
dt { color: var(--soft); } dd { margin: 0; font-variant-numeric: tabular-nums; }
dt, dd { min-width: 0; overflow-wrap: anywhere; }
@media (max-width: 30rem) { dl { grid-template-columns: 1fr; } }
@media print { .bar { display: none; } article { break-inside: avoid; } [hidden] { display: revert !important; } }
"""

_SCRIPT = """
const buttons = [...document.querySelectorAll('.bar button')];
function show(verdict) {
  for (const button of buttons) button.setAttribute('aria-pressed', String(button.value === verdict));
  for (const article of document.querySelectorAll('article'))
    article.hidden = verdict !== '' && article.dataset.verdict !== verdict;
  const sections = [...document.querySelectorAll('section')].filter(section => section.querySelector('article'));
  for (const section of sections) section.hidden = !section.querySelector('article:not([hidden])');
  const all = document.querySelectorAll('article').length;
  document.querySelector('[role=status]').textContent =
    `${document.querySelectorAll('article:not([hidden])').length} of ${all} claims are shown`;
}
for (const button of buttons) button.addEventListener('click', () => show(button.value));
document.querySelector('.bar').addEventListener('keydown', event => {
  const step = {ArrowRight: 1, ArrowLeft: -1}[event.key], at = buttons.indexOf(document.activeElement);
  if (!step || at < 0) return;
  const next = buttons[(at + step + buttons.length) % buttons.length];
  next.focus();
  show(next.value);
});
addEventListener('hashchange', () => {  // a link to what the filter hides shows all
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.closest('[hidden]')) { show(''); target.scrollIntoView(); }
});
"""

_SIGNS = {"supported": "✓", "not supported": "○", "contradicted": "✗", "cannot tell": "?", "no verdict": "!"}


def write_review_page(
    target: Path,
    records: Sequence[Mapping[str, Any]],
    facts: Mapping[str, str],
    figures: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Write the page of a review.

    Args:
        target: the file.
        records: of the judged claims, those of a section beside each other.
        facts: when and where it was run.
        figures: section -> its figures, each a <figure>.
    """
    sections = [(section, list(group)) for section, group in groupby(records, key=lambda record: record["section"])]
    counts = {verdict: sum(_verdict_of(record) == verdict for record in records) for verdict in _SIGNS}
    buttons = [f'<button value="" aria-pressed="true">all {len(records)}</button>'] + [
        f'<button value="{verdict}" aria-pressed="false">{_SIGNS[verdict]} {verdict} {count}</button>'
        for verdict, count in counts.items()
        if count
    ]
    contents = [
        f'<li><a href="#section-{number}">{html.escape(section)}</a> ({len(group)})'
        for number, (section, group) in enumerate(sections)
    ]
    lines = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        '<meta name=viewport content="width=device-width, initial-scale=1">',
        f'<meta http-equiv=Content-Security-Policy content="{_POLICY}">',
        f"<title>Deep learning, claim by claim</title><style>{_STYLE}</style>",
        "<h1>Deep learning, claim by claim</h1>",
        f"<p class=soft>{html.escape('; '.join(f'{name}: {value}' for name, value in facts.items()))}</p>",
        f'<div class=bar role=group aria-label="Show claims by verdict">{"".join(buttons)}</div>',
        f"<p class=soft role=status>{len(records)} of {len(records)} claims are shown</p>",
        f"<nav aria-label=Sections><ul>{''.join(contents)}</ul></nav><main>",
    ]
    shipped = shipped_claims()
    for number, (section, group) in enumerate(sections):
        lines.append(f'<section id="section-{number}"><h2>{html.escape(section)}</h2>')
        if drawn := (figures or {}).get(section):
            lines.append(f'<div class="figures">{"".join(drawn)}</div>')
        lines += [*(_article(record, shipped) for record in group), "</section>"]
    lines += _recipes_section(records)
    write_text(target, "\n".join([*lines, f"</main><script>{_SCRIPT}</script></html>"]) + "\n")


def _article(record: Mapping[str, Any], shipped: Mapping[str, Path]) -> str:
    verdict, name = _verdict_of(record), html.escape(record["claim"], quote=True)
    rows = [("measured", evidence_of(record))]
    figure = ""
    if "error" in record:
        rows += [("what to do", str(record["hint"]))] if record["hint"] else []
    elif record["kind"] == "arms":
        figure = dot_plot({arm: found["values"] for arm, found in record["arms"].items()}, record["measure"])
        rows.append(("smallest difference that matters", f"{record['smallest']:g}"))
        rows.append(("level of the interval", f"{100 * record['level']:.4g} %"))
        rows += [(name.replace("_", " "), f"{value:.4g}") for name, value in record.get("quantities", {}).items()]
        rows += [("told from", str(record["ood"]))] if "ood" in record else []
        rows.append(("recipe", str(record["recipe"])))
        if first := record.get("first"):  # whose folder is what the arms call its weights
            rows.append(("first stage", f"{_training(first['recipe'], first['changes'])} --run-dir {FIRST}"))
        rows += [(arm, _training(record["recipe"], changes)) for arm, changes in record["changes"].items()]
    else:
        rows.append(("tolerance", f"{record['tolerance']:.2g}"))
        rows += [(str(key), f"{value:.5g}") for key, value in record["numbers"].items()]
    details = "".join(f"<dt>{html.escape(key)}</dt><dd>{_recipe_link(key, text)}</dd>" for key, text in rows)
    command = command_of(record, shipped=shipped.get(record["claim"]) == Path(record["path"]))
    paper = f"<p class=soft>{_linked(record['paper'])}</p>" if record["paper"] else ""
    return (
        f'<article class="{verdict.replace(" ", "-")}" data-verdict="{verdict}" id="{name}">'
        f"<h3>{html.escape(record['text'])}</h3>"
        f"<p><span class=verdict>{_SIGNS[verdict]} {verdict}</span> <code>{html.escape(command)}</code></p>"
        f"{figure}<dl>{details}</dl><p class=soft>Fixed before: {html.escape(record['fixed'])}</p>"
        f"{paper}{_claim_file(record)}</article>"
    )


def _verdict_of(record: Mapping[str, Any]) -> str:
    """One of the verdicts, or that an error has kept the claim from one."""
    return record.get("verdict", "no verdict")


def _training(recipe: str, changes: Sequence[str]) -> str:
    return " ".join(["dlkit train", shell_word(recipe), *map(shell_word, changes)])


def _recipe_link(key: str, text: str) -> str:
    escaped = html.escape(text, quote=True)
    return f'<a href="#recipe-{escaped}">{escaped}</a>' if key == "recipe" else escaped


def _claim_file(record: Mapping[str, Any]) -> str:
    """The file of a claim, to be opened; nothing where it is no longer there."""
    text = _text_of(Path(record["path"]))
    return (
        "" if text is None else f"<details><summary>the claim's file</summary><pre>{html.escape(text)}</pre></details>"
    )


def _recipes_section(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every recipe that an experiment changes, as it is written: links lead here, and work offline."""
    arms = [record for record in records if "recipe" in record]
    stages = [record["first"] for record in arms if "first" in record]
    names = dict.fromkeys(str(stage["recipe"]) for stage in [*arms, *stages])
    if not names:
        return []
    known, lines = shipped_recipes(), ["<section><h2>Recipes of the experiments</h2>"]
    for name in names:
        escaped = html.escape(name, quote=True)
        text = _text_of(known.get(name, Path(name))) or "no longer there"
        lines.append(f'<h3 id="recipe-{escaped}">{escaped}</h3><pre>{html.escape(text)}</pre>')
    return [*lines, "</section>"]


def _text_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _linked(paper: str) -> str:
    """A source, with a link where it is on arXiv."""
    return re.sub(
        r"arXiv:(\d{4}\.\d{4,5})", r'<a href="https://arxiv.org/abs/\1" rel=noreferrer>arXiv:\1</a>', html.escape(paper)
    )
