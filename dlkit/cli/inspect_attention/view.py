"""Attention on a terminal: the grid of heads by a score, and what each token attends to in one head.

A block's height encodes the value as well as its colour does, so that nothing is lost without colours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dlkit.attention.token_display import display_line, display_token

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console, ConsoleOptions
    from rich.text import Text

    from dlkit.attention.page import AttentionPage

BLOCKS = "▁▂▃▄▅▆▇█"
MOST_ROWS = 48  # tokens of one head that are shown
_STRIP = 32  # blocks of a row
_LABEL, _TARGET = 14, 10  # columns of a token's name, and of one that it attends to
_RAMP = ("#2b3a6b", "#2b5289", "#248391", "#3bb07f", "#a3d84f", "#fde725")


def head_grid(page: AttentionPage, measure: str) -> Any:
    """A heat map, layers down and heads across, of one score; one map for each side."""
    return _Grid(page, measure)


def attention_rows(
    tokens: Sequence[str], weights: np.ndarray, title: str = "", split: int | None = None, start: int = 0
) -> Any:
    """One head: a row for each token with its weights as blocks, its name, and the tokens that it attends to most.

    Args:
        tokens: the T labels, as they come.
        weights: (T, T), queries down, keys across.
        title: a line above.
        split: the position of the second text's first token.
        start: the position of the first token.
    """
    return _Head(tokens, weights, title, split, start)


class _Grid:
    def __init__(self, page: AttentionPage, measure: str) -> None:
        self.page, self.measure = page, measure
        self.values: list[list[list[float]]] = page.scores[measure].tolist()
        finite = [v for side in self.values for row in side for v in row if math.isfinite(v)]
        self.low, self.high = (min(finite), max(finite)) if finite else (0.0, 0.0)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.text import Text

        fits = max(1, (options.max_width - 5) // 6)
        yield Text.assemble(
            (display_line(self.measure), "bold"), f"  {_number(self.low)} ", *_legend(), f" {_number(self.high)}",
            ("  layers down, heads across", "dim"),
        )  # fmt: skip
        for name, side in zip(self.page.sides, self.values, strict=True):
            if len(self.page.sides) > 1:
                yield Text(display_line(name), style="bold", overflow="fold")
            for first in range(0, len(self.page.heads), fits):
                columns = range(first, min(first + fits, len(self.page.heads)))
                yield Text("     " + "".join(f"{self.page.heads[column]:>5} " for column in columns), style="dim")
                for layer, row in zip(self.page.layers, side, strict=True):
                    line = Text(f"{layer:>4} ", style="dim")
                    for column in columns:
                        line.append_text(self._cell(row[column]))
                        line.append(" ")
                    yield line

    def _cell(self, value: float) -> Text:
        from rich.text import Text

        if not math.isfinite(value):
            return Text("    \u2013", style="dim")
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return Text.assemble((_block(share), _colour(share)), (f"{_number(value):>4}", "default"))


class _Head:
    def __init__(self, tokens: Sequence[str], weights: np.ndarray, title: str, split: int | None, start: int) -> None:
        self.tokens, self.weights, self.title, self.split, self.start = tokens, weights, title, split, start

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        import numpy as np
        from rich.text import Text

        count, width = len(self.tokens), options.max_width
        rows = min(count, MOST_ROWS)
        strip = min(count, _STRIP, max(8, width // 3))
        room = width - len("   0   → ") - (_TARGET + len(" 1.0"))  # for blocks and a name beside one target
        label = max(6, min(_LABEL, room - min(strip, 8)))
        strip = min(strip, max(8, room - label))
        edges = np.arange(strip) * count // strip
        highest = max(float(self.weights.max()), 1e-9)
        # the largest weight of each block of columns, on a root scale
        shares = np.sqrt(np.maximum.reduceat(self.weights[:rows], edges, axis=1) / highest)
        if self.title:
            yield Text(display_line(self.title), style="bold", overflow="fold")
        each = "" if strip == count else f"; a block: the largest of {math.ceil(count / strip)} tokens"
        yield Text.assemble(("weight 0 ", "dim"), *_legend(), (f" {highest:.2f} (root scale){each}", "dim"))
        for row in range(rows):
            if self.split and row == self.split:
                yield Text("─" * min(width, 30) + " second sentence", style="dim")
            line = Text(f"{self.start + row:>4} ", style="dim")
            for share in shares[row]:
                line.append(_block(float(share)) if share > 0.03 else " ", style=_colour(float(share)))
            line.append(" ")
            line.append_text(_fit(self.tokens[row], label, "bold"))
            line.append(" → ", style="dim")
            strongest = np.argsort(-self.weights[row], kind="stable")[:4]
            for key in map(int, strongest):
                weight = float(self.weights[row, key])
                target = Text.assemble(_fit(self.tokens[key], _TARGET), f" {_number(weight)}  ")
                if weight < 0.005 or line.cell_len + target.cell_len - 2 > width:
                    break
                line.append_text(target)
            line.rstrip()
            yield line
        if rows < count:
            first, last = self.start + rows, self.start + count
            more = f"--tokens {first}:{min(last, first + MOST_ROWS)} shows more"
            yield Text(f"tokens {first} to {last - 1} are not shown: {more}", style="italic")


def _fit(token: str, width: int, style: str = "") -> Text:
    """A token's name in at most `width` columns; wide and combining characters count as a terminal draws them."""
    from rich.text import Text

    text = Text(display_token(token), style=style, no_wrap=True)
    text.truncate(width, overflow="ellipsis")
    if style:
        text.append(" " * (width - text.cell_len))
    return text


def _legend() -> list[tuple[str, str]]:
    return [(block, _colour(index / (len(BLOCKS) - 1))) for index, block in enumerate(BLOCKS)]


def _block(share: float) -> str:
    return BLOCKS[min(len(BLOCKS) - 1, int(share * len(BLOCKS)))]


def _colour(share: float) -> str:
    return _RAMP[min(len(_RAMP) - 1, int(share * len(_RAMP)))]


def _number(value: float) -> str:
    """A number in four columns: .041, .41, 4.1, 41, 410."""
    size = abs(value)
    if size >= 9.95 or value != value:
        return f"{value:.0f}"
    text = f"{value:.1f}" if size >= 0.995 else f"{value:.2f}"
    return text.replace("0.", ".", 1) if size < 0.995 else text
