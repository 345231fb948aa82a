"""Views and files of `dlkit inspect-attention`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from dlkit.attention.request import Request
from dlkit.cli.console import escaped, note, show_tables

if TYPE_CHECKING:
    import numpy as np

    from dlkit.app.attention import Side
    from dlkit.attention.page import Page


def write_files(request: Request, sides: list[Side], page: Page) -> None:
    from dlkit.app.attention import weights_of

    start = sides[0].tokens[0]
    stop = start + len(page.tokens)
    for option, path in request.files.items():
        weights = weights_of(request, sides, start, stop)
        if option == "--html":
            from dlkit.attention import page as pages

            size = pages.write(path, page, weights)
            note(f"{path}: {size / 1e6:.1f} MB")
        elif option == "--npz":
            from dlkit.attention import npz

            npz.write(path, page, sides[0].texts[0].numbers[start:stop], weights)
        else:
            from dlkit.attention import figures

            figures.draw(path, page, weights, request.measure)


def show(sides: list[Side], page: Page, measure: str, request: Request) -> None:
    from rich.console import Group
    from rich.text import Text

    from dlkit.app.attention import weights_of
    from dlkit.cli.inspect_attention import view

    first = sides[0]
    parts: list[Any] = []
    if len(sides) == 1 and len(page.layers) == 1 and len(page.heads) == 1 and first.look is not None:
        start = first.tokens[0]
        (weights,) = weights_of(request, sides, start, start + len(page.tokens))
        parts.append(view.head(page.tokens, weights, f"layer {page.layers[0]} head {page.heads[0]}", page.split, start))
        parts.append(_facts({name: float(values[0, 0, 0]) for name, values in page.scores.items()}))
    else:
        parts.append(view.grid(page, measure))
    for side in sides:
        if side.look is not None and side.look.stack is not None:
            parts.append(_stack_table(side))
        loose = f"largest difference of the check {side.survey.difference:.2g}"
        parts.append(Text(f"{escaped(str(side.reader.path))}: {loose}", style="dim"))
    show_tables(Group(*parts))


def _facts(scores: dict[str, float]) -> Any:
    from rich.text import Text

    shown = [f"{name} {value:.3f}" for name, value in scores.items() if not math.isnan(value)]
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
    import numpy as np
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
