"""The work of `dlkit inspect-attention`: one text, many lines, or every checkpoint of a run.

Files are written before anything is printed: whoever reads that may stop (`| head -1`), and the files stay whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dlkit.app.inspect import inspect_side_by_side, inspect_steps
from dlkit.attention.request import InspectionRequest
from dlkit.cli.console import Output, note, show_tables
from dlkit.cli.inspect_attention.output import show_inspection, steps_table, write_files
from dlkit.errors import RequestError

if TYPE_CHECKING:
    import numpy as np

    from dlkit.app.attention import InspectedModel
    from dlkit.attention.page import AttentionPage


def one_text(request: InspectionRequest, text: str, output: Output) -> None:
    """A single text, in one model or in two that are compared."""
    from dlkit.app.attention import attention_page

    sides = _sides(request, [text], True, bool(request.files) or request.stack or output.tables)
    page = attention_page(sides)
    write_files(request, sides, page)
    _tell(sides, page, request, output)


def over_lines(request: InspectionRequest, texts: list[str], output: Output) -> None:
    """Many texts: means with intervals, beside chance."""
    for option in ("--html", "--png", "--svg", "--npz"):
        if option in request.files:
            raise RequestError(f"{option} shows one text, --lines is many", "give a TEXT")
    if request.stack:
        raise RequestError("--stack is for one text, --lines is many", "give a TEXT")

    from dlkit.app.attention import attention_page

    sides = _sides(request, texts, False, False)
    _tell(sides, attention_page(sides), request, output)


def over_steps(request: InspectionRequest, texts: list[str], output: Output) -> None:
    """Every checkpoint of a run, from the first on."""
    for option in ("--html", "--npz"):
        if option in request.files:
            raise RequestError(f"{option} is for one checkpoint, not for --steps", "draw the steps with --png or --svg")
    measure = request.measure or "induction"

    import numpy as np

    from dlkit.app.attention_records import largest_jump

    drawn = [path for option, path in request.files.items() if option in ("--png", "--svg")]
    steps: list[int] = []
    scores: list[np.ndarray] = []
    held: list[Mapping[str, Any]] = []  # until the files are there
    side: InspectedModel | None = None
    for side in inspect_steps(request, texts):
        _remark(side)
        steps.append(side.language_model.step or 0)
        scores.append(side.shown(measure))
        if not output.quiet and not output.tables:
            held += _records(side, request)
            if not drawn:
                _emit(held, output)
                held.clear()
    assert side is not None
    values = np.stack(scores)  # (S, layers, heads)
    for path in drawn:
        from dlkit.attention.figures import draw_scores_over_steps

        draw_scores_over_steps(path, steps, {measure: values})
    _emit(held, output)
    jump = largest_jump(side, steps, values, measure)
    if output.tables:
        show_tables(steps_table(side, steps, values, measure, jump))
    else:
        output.emit(jump, jump["to_step"], dict)


def _sides(request: InspectionRequest, texts: list[str], alone: bool, keep_layers: bool) -> list[InspectedModel]:
    """The model, and the one that it is compared with."""
    sides: list[InspectedModel] = []
    for side in inspect_side_by_side(request, texts, alone, keep_layers):
        _remark(side)
        sides.append(side)
    return sides


def _remark(side: InspectedModel) -> None:
    for remark in side.remarks:
        note(remark)


def _tell(sides: list[InspectedModel], page: AttentionPage, request: InspectionRequest, output: Output) -> None:
    from dlkit.app.attention_records import top_head

    measure = request.measure or "entropy"
    if output.quiet:
        output.line(top_head(sides[0], measure))
    elif output.tables:
        show_inspection(sides, page, measure, request)
    else:
        for side in sides:
            _emit(_records(side, request), output)


def _records(side: InspectedModel, request: InspectionRequest) -> Iterable[Mapping[str, Any]]:
    from dlkit.app.attention_records import inspection_records

    return inspection_records(side, request)


def _emit(records: Iterable[Mapping[str, Any]], output: Output) -> None:
    for record in records:
        output.emit(record, None, dict)
