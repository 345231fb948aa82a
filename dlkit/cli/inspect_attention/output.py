"""What `dlkit inspect-attention` shows on a terminal: heads, layers, the check, and how a score rose over steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from dlkit.attention.request import InspectionRequest
from dlkit.cli.console import escaped, show_tables

if TYPE_CHECKING:
    from dlkit.app.attention import InspectedModel
    from dlkit.app.inspect import AttentionInspection


def show_inspection(found: AttentionInspection, request: InspectionRequest) -> None:
    """The tables of an inspection: of a text, or of the steps of a run."""
    show_tables(_steps_table(found) if found.page is None else _text_tables(found, request))


def _text_tables(found: AttentionInspection, request: InspectionRequest) -> Any:
    from rich.console import Group
    from rich.text import Text

    from dlkit.app.attention import page_matrices
    from dlkit.cli.inspect_attention import view

    first, page = found.models[0], found.page
    assert page is not None
    views: list[Any] = []
    if page.shape == (1, 1, 1) and first.inspection is not None:
        start = first.tokens[0]
        (weights,) = page_matrices(request, found.models, start, start + len(page.tokens))
        views.append(
            view.attention_rows(page.tokens, weights, f"layer {page.layers[0]} head {page.heads[0]}", page.split, start)
        )
        views.append(_facts({name: float(values[0, 0, 0]) for name, values in page.scores.items()}))
    else:
        views.append(view.head_grid(page, found.measure))
    for side in found.models:
        if side.inspection is not None and side.inspection.stack is not None:
            views.append(_stack_table(side))
        loose = f"largest difference of the check {side.head_scores.reconstruction_error:.2g}"
        views.append(Text(f"{escaped(str(side.language_model.path))}: {loose}", style="dim"))
    return Group(*views)


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


def _steps_table(found: AttentionInspection) -> Any:
    import numpy as np
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    (side,), values, jump = found.models, found.scores, found.jump
    assert values is not None and jump is not None
    highest = np.argsort(-np.nan_to_num(values[-1], nan=-np.inf), axis=None)[:6]
    top = [np.unravel_index(int(index), values.shape[1:]) for index in highest]
    table = Table("step", *(f"{side.layers[a]}.{side.heads[b]}" for a, b in top), box=None, pad_edge=False)
    for number, step in enumerate(found.steps):
        table.add_row(f"{step:,}", *(f"{values[number, a, b]:.3f}" for a, b in top))
    for column in table.columns:
        column.justify = "right"
    rise = (
        f"{found.measure} of {side.language_model.path}: head {jump['layer']}.{jump['head']} rises most from step "
        f"{jump['from_step']:,} ({jump['before']:.3f}) to {jump['to_step']:,} ({jump['after']:.3f})"
    )
    return Group(table, Text(escaped(rise)))
