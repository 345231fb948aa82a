"""One offline HTML page that colours each token of a text by its surprisal, and shows the alternatives on hover."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlkit.storage.atomic_file import write_text

# The lowest surprisal of each colour, in bits. The colours are ColorBrewer's YlOrBr (Harrower & Brewer 2003), a
# sequential scheme that colour-blind readers can distinguish; a dark page reverses it.
THRESHOLDS = (0, 1, 2, 4, 6, 8, 12)

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"  # nothing is loaded

_STYLE = """
:root { color-scheme: light dark; --page: #fff; --ink: #1a1a1a; --soft: #595959; --line: #ccc;
  --b1: #fff7bc; --i1: #000; --b2: #fee391; --i2: #000; --b3: #fec44f; --i3: #000; --b4: #fe9929; --i4: #000;
  --b5: #cc4c02; --i5: #fff; --b6: #662506; --i6: #fff; }
@media (prefers-color-scheme: dark) { :root { --page: #16181b; --ink: #e6e6e6; --soft: #a6a6a6; --line: #444;
  --b1: #3d2008; --i1: #fff; --b2: #662f08; --i2: #fff; --b3: #994208; --i3: #fff; --b4: #e07b1a; --i4: #000;
  --b5: #fec44f; --i5: #000; --b6: #fff3b0; --i6: #000; } }
body { background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; margin: 0 auto;
  max-width: 62rem; padding: 1.5rem; }
h1 { font-size: 1.15rem; margin: 0 0 .6rem; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: 0 0 1rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.bar { position: sticky; top: 0; background: var(--page); border-bottom: 1px solid var(--line); padding: .5rem 0;
  display: flex; flex-wrap: wrap; gap: .5rem 1.2rem; align-items: center; }
.key span { padding: .1rem .45rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font: 14px/1.9 ui-monospace, monospace; margin: 1rem 0; }
pre span { unicode-bidi: isolate; padding: .12rem 0; border-radius: 2px; }
pre span:hover, pre span.on { outline: 2px solid var(--ink); outline-offset: -1px; }
.s1 { background: var(--b1); color: var(--i1); } .s2 { background: var(--b2); color: var(--i2); }
.s3 { background: var(--b3); color: var(--i3); } .s4 { background: var(--b4); color: var(--i4); }
.s5 { background: var(--b5); color: var(--i5); } .s6 { background: var(--b6); color: var(--i6); }
.faint { background: none; color: var(--soft); }
#tip { position: absolute; background: var(--page); border: 1px solid var(--soft); border-radius: 4px;
  padding: .5rem .7rem; box-shadow: 0 2px 10px #0005; max-width: 22rem; font-size: 13px; }
#tip table { border-collapse: collapse; margin-top: .3rem; }
#tip td { padding: 0 .6rem 0 0; font-variant-numeric: tabular-nums; }
#tip td:first-child { font-family: ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
#tip .self { font-weight: 700; }
#tip i { display: inline-block; height: .6rem; background: var(--b4); }
"""

_SCRIPT = """
const data = JSON.parse(document.getElementById('data').textContent);
const pre = document.querySelector('pre'), tip = document.getElementById('tip');
const spans = [...pre.children], indices = new Map(spans.map((span, i) => [span, i]));
let shown = -1;
function cell(row, text) { const td = row.insertCell(); td.textContent = text; return td; }
function show(i) {
  if (shown >= 0) spans[shown].classList.remove('on');
  shown = i;
  if (i < 0) { tip.hidden = true; return; }
  const [text, bits, rank, expected, others] = data[i], span = spans[i];
  span.classList.add('on');
  tip.replaceChildren();
  const head = document.createElement('div');
  head.textContent = bits.toFixed(2) + ' bits' + (rank ? ', rank ' + rank.toLocaleString('en') : ', not predicted')
    + ' (expected ' + expected.toFixed(2) + ')';
  tip.append(head);
  const table = document.createElement('table');
  for (const [other, p] of others) {
    const row = table.insertRow();
    if (other === text) row.className = 'self';
    cell(row, other);
    cell(row, (100 * p).toFixed(p < 0.01 ? 2 : 1) + ' %');
    const bar = document.createElement('i');
    bar.style.width = (8 * p).toFixed(2) + 'rem';
    cell(row, '').append(bar);
  }
  tip.append(table);
  tip.hidden = false;
  const box = span.getClientRects()[0];
  const left = Math.min(box.left, document.documentElement.clientWidth - tip.offsetWidth - 8);
  const below = box.bottom + tip.offsetHeight + 6 < innerHeight;
  tip.style.left = Math.max(4, left) + scrollX + 'px';
  tip.style.top = scrollY + (below ? box.bottom + 4 : Math.max(4, box.top - tip.offsetHeight - 4)) + 'px';
}
pre.addEventListener('mouseover', event => {
  const index = indices.get(event.target);
  if (index !== undefined) show(index);
});
pre.addEventListener('mouseleave', () => show(-1));
document.addEventListener('keydown', event => {
  if (event.target.type === 'range') return;
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (event.key === 'Escape') show(-1);
  if (!step) return;
  event.preventDefault();
  const next = Math.min(spans.length - 1, Math.max(0, shown + step));
  spans[next].scrollIntoView({ block: 'nearest' });
  show(next);
});
const range = document.querySelector('input'), said = document.querySelector('output');
range.addEventListener('input', () => {
  let count = 0;
  spans.forEach((span, i) => {
    const faint = data[i][1] < Number(range.value);
    span.classList.toggle('faint', faint);
    count += !faint;
  });
  said.textContent = range.value + ' bits or more: ' + count.toLocaleString('en') + ' tokens';
});
"""


def write_surprisal_page(target: Path, summary: dict[str, Any], tokens: Sequence[dict[str, Any]]) -> None:
    """Write the page.

    Args:
        target: an HTML file.
        summary: the record of the whole text.
        tokens: the records of the tokens to show.

    Raises:
        DlkitError: the file cannot be written.
    """
    write_text(target, surprisal_page_html(summary, tokens))


def surprisal_page_html(summary: dict[str, Any], tokens: Sequence[dict[str, Any]]) -> str:
    """The page's HTML, in which every token is escaped text, whatever it spells."""
    spans = "".join(
        f'<span class="s{colour_level(token["bits"])}">{html.escape(display_text(token["text"]))}</span>'
        for token in tokens
    )
    rows = [
        [
            display_text(token["text"]),
            round(token["bits"], 4),
            token["rank"],
            round(token["expected_bits"], 4),
            [[display_text(other["text"]), round(other["p"], 6)] for other in token["alternatives"]],
        ]
        for token in tokens
    ]
    # in a script element only `<` is dangerous: it could end the element
    data = json.dumps(rows, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    key = "".join(f'<span class="s{i}">{bits}+</span>' for i, bits in enumerate(THRESHOLDS))
    facts = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in _facts(summary))
    if len(tokens) < summary["n"]:
        facts += f"<dt>shown</dt><dd>the first {len(tokens):,} tokens</dd>"
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>Surprisal under {html.escape(display_text(summary["run"]))}</title>
<style>{_STYLE}</style>
<h1>Surprisal of each token under {html.escape(display_text(summary["run"]))}</h1>
<dl>{facts}</dl>
<div class="bar"><span class="key">bits {key}</span>
<label>only <input type="range" min="0" max="20" step="0.5" value="0"></label><output></output></div>
<pre>{spans}</pre>
<div id="tip" role="status" hidden></div>
<script type="application/json" id="data">{data}</script>
<script>{_SCRIPT}</script>
</html>
"""


def colour_level(bits: float) -> int:
    """The index of a surprisal's colour, 0 to 6."""
    return max(i for i, least in enumerate(THRESHOLDS) if bits >= least or not i)


def display_text(text: str) -> str:
    """The text with a symbol at line breaks, and with invisible and bidirectional characters escaped."""
    shown = "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode("ascii") for c in text)
    return shown.replace("\n", "⏎\n")


def _facts(summary: dict[str, Any]) -> list[tuple[str, str]]:
    convention = summary["convention"]
    facts = [(name, _rate(summary, key)) for name, key in _RATES.items() if key in summary]
    facts.append(("text", f"{summary['bytes']:,} bytes, {summary['n']:,} tokens"))
    facts.append(("convention", f"context {convention['context']}, stride {convention['stride']} tokens"))
    facts.append(("first token", convention["first_token"]))
    if "payload_bytes" in summary:
        size = f"{summary['payload_bytes']:,} bytes, and {summary['model_bytes']:,} of model"
        facts.append(("ideal code length", size))
    facts += [(f"no {name}", why) for name, why in summary.get("left_out", {}).items()]
    return facts


_RATES = {"bits a byte": "bits_per_byte", "bits a token": "bits_per_token"}


def _rate(summary: dict[str, Any], key: str) -> str:
    interval = summary[f"{key}_interval"]
    between = "" if interval is None else f" ({interval[0]:.4f} to {interval[1]:.4f})"
    return f"{summary[key]:.4f}{between}"
