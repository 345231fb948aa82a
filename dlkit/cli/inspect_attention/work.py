"""The work of `dlkit inspect-attention`: one text, many lines, or every checkpoint of a run.

Files are written before anything is printed: whoever reads that may stop (`| head -1`), and the files stay whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dlkit.attention.request import METRICS, InspectionRequest
from dlkit.cli.console import Output, note, show_tables
from dlkit.cli.inspect_attention.output import show, steps_table, write_files
from dlkit.errors import DlkitError, RequestError
from dlkit.storage import run_reference

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
    run = run_reference.resolve(request.run)
    folder = run.path / "checkpoints"
    found = [
        folder / run_reference.directory_name(step)
        for step, whole in run_reference.step_folders(folder).items()
        if whole
    ]
    if len(found) < 2:
        raise DlkitError(
            f"{run.path} keeps {len(found)} checkpoint",
            "dlkit train RECIPE train.keep_checkpoints=true 'train.checkpoint_every=100 steps'",
        )
    measure = request.measure or "induction"
    if measure == "ablation":
        raise RequestError("--measure ablation is not for --steps", f"take one of {', '.join(METRICS)}")

    import numpy as np

    from dlkit.app.attention_records import largest_jump

    drawn = [path for option, path in request.files.items() if option in ("--png", "--svg")]
    steps: list[int] = []
    scores: list[np.ndarray] = []
    held: list[Mapping[str, Any]] = []  # until the files are there
    side: InspectedModel | None = None
    for path in found:
        side = _open(request, str(path), texts, None, False, False)
        steps.append(side.reader.step or 0)
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


def _sides(request: InspectionRequest, texts: list[str], alone: bool, keep: bool) -> list[InspectedModel]:
    """What was seen in the model, and in the one that it is compared with."""
    from dlkit.app.attention import require_comparable

    sides = [_open(request, request.run, texts, request.checkpoint, alone, keep)]
    if request.compare is not None:
        sides.append(_open(request, request.compare, texts, None, alone, keep))
        require_comparable(*sides)
    return sides


def _open(
    request: InspectionRequest, reference: str, texts: list[str], checkpoint: str | None, alone: bool, keep: bool
) -> InspectedModel:
    from dlkit.app.attention import inspect_model

    side = inspect_model(request, reference, texts, checkpoint, alone, keep)
    for remark in side.remarks:
        note(remark)
    return side


def _tell(sides: list[InspectedModel], page: AttentionPage, request: InspectionRequest, output: Output) -> None:
    from dlkit.app.attention_records import top_head

    measure = request.measure or "entropy"
    if output.quiet:
        output.line(top_head(sides[0], measure))
    elif output.tables:
        show(sides, page, measure, request)
    else:
        for side in sides:
            _emit(_records(side, request), output)


def _records(side: InspectedModel, request: InspectionRequest) -> Iterable[Mapping[str, Any]]:
    from dlkit.app.attention_records import inspection_records

    return inspection_records(side, request)


def _emit(records: Iterable[Mapping[str, Any]], output: Output) -> None:
    for record in records:
        output.emit(record, None, dict)
