"""The results of an experiment as a picture: a dot for each run, a bar for the mean of each arm. An SVG, by hand."""

from __future__ import annotations

import html
import math
import statistics
from collections.abc import Mapping, Sequence

_WIDTH, _ROW, _FOOT, _EDGE = 330, 26, 24, 20  # pixels
_LETTER = 7.5  # pixels of a letter, at most on average


def dot_plot(values: Mapping[str, Sequence[float | None]], measure: str) -> str:
    """An SVG element with one row an arm; runs that diverged are left out.

    Args:
        values: arm -> its measure at each seed.
        measure: what the axis shows.
    """
    finite = [value for row in values.values() for value in row if value is not None]
    if not finite:
        return ""
    left = _EDGE + _LETTER * max(map(len, values))
    low, high = min(finite), max(finite)
    margin = (high - low or abs(high) or 1.0) * 0.05
    low, high = low - margin, high + margin

    def x(value: float) -> float:
        return left + _WIDTH * (value - low) / (high - low)

    height = _ROW * len(values) + _FOOT
    parts: list[str] = []
    for index, (arm, row) in enumerate(values.items()):
        y, shown = _ROW * index + _ROW / 2, [value for value in row if value is not None]
        parts.append(f'<line class="rule" x1="{left}" x2="{left + _WIDTH}" y1="{y:.0f}" y2="{y:.0f}"/>')
        parts.append(f'<text x="{left - 10}" y="{y + 4:.0f}" text-anchor="end">{html.escape(arm)}</text>')
        parts += [f'<circle cx="{x(value):.1f}" cy="{y:.0f}" r="4"/>' for value in shown]
        if shown:
            mean = x(statistics.fmean(shown))
            parts.append(f'<line class="mean" x1="{mean:.1f}" x2="{mean:.1f}" y1="{y - 9:.0f}" y2="{y + 9:.0f}"/>')
    for at, anchor in ((low + margin, "start"), (high - margin, "end")):
        parts.append(f'<text class="tick" x="{x(at):.1f}" y="{height - 7}" text-anchor="{anchor}">{_short(at)}</text>')
    middle = left + _WIDTH / 2
    parts.append(f'<text class="tick" x="{middle}" y="{height - 7}" text-anchor="middle">{html.escape(measure)}</text>')
    label = html.escape(f"{measure} of each run, by arm", quote=True)
    width = left + _WIDTH + _EDGE
    return (
        f'<svg class="dots" viewBox="0 0 {width:.0f} {height}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
    )


def _short(value: float) -> str:
    digits = 3 if value == 0 or math.isnan(value) else max(3, 1 + math.floor(math.log10(abs(value))))
    return f"{value:.{digits}g}"
