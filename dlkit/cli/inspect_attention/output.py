"""Views and files of `dlkit inspect-attention`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from dlkit.attention.request import InspectionRequest
from dlkit.cli.console import escaped, note, show_tables

if TYPE_CHECKING:
    import numpy as np

    from dlkit.app.attention import InspectedModel
    from dlkit.attention.page import AttentionPage


def write_files(request: InspectionRequest, sides: list[InspectedModel], page: AttentionPage) -> None:
    from dlkit.app.attention import page_matrices

    start = sides[0].tokens[0]
    stop = start + len(page.tokens)
    for option, path in request.files.items():
        weights = page_matrices(request, sides, start, stop)
        if option == "--html":
            from dlkit.attention.page import write_page

            size = write_page(path, page, weights)
            note(f"{path}: {size / 1e6:.1f} MB")
        elif option == "--npz":
            from dlkit.attention.npz import write_npz

            write_npz(path, page, sides[0].texts[0].token_ids[start:stop], weights)
        else:
            from dlkit.attention.figures import draw_attention

            draw_attention(path, page, weights, request.measure)


def show_inspection(sides: list[InspectedModel], page: AttentionPage, measure: str, request: InspectionRequest) -> None:
    from rich.console import Group
    from rich.text import Text

    from dlkit.app.attention import page_matrices
    from dlkit.cli.inspect_attention import view

    first = sides[0]
    views: list[Any] = []
    if len(sides) == 1 and len(page.layers) == 1 and len(page.heads) == 1 and first.inspection is not None:
        start = first.tokens[0]
        (weights,) = page_matrices(request, sides, start, start + len(page.tokens))
        views.append(
            view.attention_rows(page.tokens, weights, f"layer {page.layers[0]} head {page.heads[0]}", page.split, start)
        )
        views.append(_facts({name: float(values[0, 0, 0]) for name, values in page.scores.items()}))
    else:
        views.append(view.head_grid(page, measure))
    for side in sides:
        if side.inspection is not None and side.inspection.stack is not None:
            views.append(_stack_table(side))
        loose = f"largest difference of the check {side.head_scores.reconstruction_error:.2g}"
        views.append(Text(f"{escaped(str(side.language_model.path))}: {loose}", style="dim"))
    show_tables(Group(*views))


def _facts(scores: dict[str, float]) -> Any:
    from rich.text import Text

    shown = [f"{name} {value:.3f}" for name, value in scores.items() if not math.isnan(value)]
    return Text("  ".join(shown))


def _stack_table(side: InspectedModel) -> Any:
    from rich.table import Table

    assert side.inspection is not None
    stack = side.inspection.stack
    assert stack is not None
    table = Table("layer", "rollout: entropy", "sink", "distance", "effect: entropy", "sink", "distance", box=None)
    for layer in side.layers:
        cells = [
            f"{metrics[name][layer]:.3f}"
            for metrics in (stack.rollout, stack.effect)
            for name in ("entropy", "sink", "distance")
        ]
        table.add_row(str(layer), *cells)
    return table


def steps_table(side: InspectedModel, steps: list[int], values: np.ndarray, measure: str, jump: dict[str, Any]) -> Any:
    import numpy as np
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    highest = np.argsort(-np.nan_to_num(values[-1], nan=-np.inf), axis=None)[:6]
    top = [np.unravel_index(int(index), values.shape[1:]) for index in highest]
    table = Table("step", *(f"{side.layers[a]}.{side.heads[b]}" for a, b in top), box=None, pad_edge=False)
    for number, step in enumerate(steps):
        table.add_row(f"{step:,}", *(f"{values[number, a, b]:.3f}" for a, b in top))
    for column in table.columns:
        column.justify = "right"
    rise = (
        f"{measure} of {side.language_model.path}: head {jump['layer']}.{jump['head']} rises most from step "
        f"{jump['from_step']:,} ({jump['before']:.3f}) to {jump['to_step']:,} ({jump['after']:.3f})"
    )
    return Group(table, Text(escaped(rise)))
