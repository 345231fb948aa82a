"""Views and files of `dlkit inspect-attention`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from dlkit.attention.look import matrices
from dlkit.attention.page import Page
from dlkit.cli._attention_request import Request
from dlkit.cli._attention_side import Side
from dlkit.cli._console import escaped, note


def page_of(sides: list[Side]) -> Page:
    first = sides[0]
    start, stop = first.tokens
    text = first.texts[0]
    stop = stop or len(text)
    names = [str(side.reader.path) for side in sides]
    if len(set(names)) < len(names):
        names = [f"{name} at step {side.reader.step}" for name, side in zip(names, sides, strict=True)]
    scores = {
        name: np.stack([side.means()[name][side.layers][:, side.heads] for side in sides]) for name in first.means()
    }
    notes: dict[str, str] = {}
    for name, side in zip(names, sides, strict=True):
        step = "" if side.reader.step is None else f" step {side.reader.step},"
        notes[name] = f"{side.reader.task},{step} largest difference of the check {side.survey.difference:.2g}"
    notes["tokens"] = f"{len(text)}" if (start, stop) == (0, len(text)) else f"{start} to {stop - 1} of {len(text)}"
    if (start, stop) != (0, len(text)):
        notes["rows"] = "what a row lacks to 1 goes to tokens that are not shown"
    split = None if text.split is None or not start < text.split < stop else text.split - start
    words = [label for label, special in zip(text.labels, text.special, strict=True) if not special]
    title = "".join(words[:40])
    return Page(
        title, text.labels[start:stop], first.layers, first.heads, first.reader.causal, names, scores, notes, split
    )  # fmt: skip


def _weights(request: Request, sides: list[Side], start: int, stop: int) -> Iterator[np.ndarray]:
    for side in sides:
        assert side.look is not None
        chosen = [side.look.layers[layer] for layer in side.layers]
        yield from matrices(chosen, side.heads, by_value=request.by_value, start=start, stop=stop)


def write_files(request: Request, sides: list[Side], page: Page) -> None:
    start = sides[0].tokens[0]
    stop = start + len(page.tokens)
    for option, path in request.files.items():
        weights = _weights(request, sides, start, stop)
        if option == "--html":
            from dlkit.attention import page as pages

            size = pages.write(path, page, weights)
            note(f"{path}: {size / 1e6:.1f} MB")
        elif option == "--npz":
            from dlkit.attention import arrays

            arrays.write(path, page, sides[0].texts[0].numbers[start:stop], weights)
        else:
            from dlkit.attention import figures

            figures.draw(path, page, weights, request.measure)


def show(sides: list[Side], page: Page, measure: str, request: Request) -> None:
    from rich.console import Console, Group
    from rich.text import Text

    from dlkit.cli import _attention_view as view

    first = sides[0]
    parts: list[Any] = []
    if len(sides) == 1 and len(page.layers) == 1 and len(page.heads) == 1 and first.look is not None:
        start = first.tokens[0]
        (weights,) = _weights(request, sides, start, start + len(page.tokens))
        parts.append(view.head(page.tokens, weights, f"layer {page.layers[0]} head {page.heads[0]}", page.split, start))
        parts.append(_facts({name: float(values[0, 0, 0]) for name, values in page.scores.items()}))
    else:
        parts.append(view.grid(page, measure))
    for side in sides:
        if side.look is not None and side.look.stack is not None:
            parts.append(_stack_table(side))
        loose = f"largest difference of the check {side.survey.difference:.2g}"
        parts.append(Text(f"{escaped(str(side.reader.path))}: {loose}", style="dim"))
    Console().print(Group(*parts))


def _facts(scores: dict[str, float]) -> Any:
    from rich.text import Text

    shown = [f"{name} {value:.3f}" for name, value in scores.items() if not np.isnan(value)]
    return Text("  ".join(shown))


def _stack_table(side: Side) -> Any:
    from rich.table import Table

    assert side.look is not None
    stack = side.look.stack
    assert stack is not None
    table = Table("layer", "rollout: entropy", "sink", "distance", "effect: entropy", "sink", "distance", box=None)
    for layer in side.layers:
        cells = [
            f"{part[name][layer]:.3f}"
            for part in (stack.rollout, stack.effect)
            for name in ("entropy", "sink", "distance")
        ]
        table.add_row(str(layer), *cells)
    return table


def steps_table(side: Side, steps: list[int], values: np.ndarray, measure: str, jump: dict[str, Any]) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    order = np.argsort(-np.nan_to_num(values[-1], nan=-np.inf), axis=None)[:6]
    places = [np.unravel_index(int(index), values.shape[1:]) for index in order]
    table = Table("step", *(f"{side.layers[a]}.{side.heads[b]}" for a, b in places), box=None, pad_edge=False)
    for number, step in enumerate(steps):
        table.add_row(f"{step:,}", *(f"{values[number, a, b]:.3f}" for a, b in places))
    for column in table.columns:
        column.justify = "right"
    told = (
        f"{measure} of {side.reader.path}: head {jump['layer']}.{jump['head']} rises most from step "
        f"{jump['from_step']:,} ({jump['before']:.3f}) to {jump['to_step']:,} ({jump['after']:.3f})"
    )
    return Group(table, Text(escaped(told)))
