"""The work of `dlkit inspect-attention`: one text, many lines, or every checkpoint of a run."""

from __future__ import annotations

import numpy as np

from dlkit import runs
from dlkit.cli._attention_output import page_of, show, steps_table, write_files
from dlkit.cli._attention_records import greatest, jump_of, records
from dlkit.cli._attention_request import MEASURES, Request
from dlkit.cli._attention_side import Side, comparable, open_side
from dlkit.cli._console import Output
from dlkit.errors import DlkitError, RequestError


def one_text(request: Request, text: str, output: Output) -> None:
    """A single text, in one model or in two that are compared."""
    keep = bool(request.files) or request.stack or output.tables
    sides = [open_side(request, request.run, [text], request.checkpoint, True, keep)]
    if request.compare is not None:
        sides.append(open_side(request, request.compare, [text], None, True, keep))
        comparable(*sides)
    page = page_of(sides)
    measure = request.measure or "entropy"
    if output.quiet:
        output.line(greatest(sides[0], measure))
    elif output.tables:
        show(sides, page, measure, request)
    else:
        for side in sides:
            for record in records(side, request):
                output.emit(record, None, dict)
    write_files(request, sides, page)


def over_lines(request: Request, texts: list[str], output: Output) -> None:
    """Many texts: means with intervals, beside chance."""
    for option in ("--html", "--png", "--svg", "--npz"):
        if option in request.files:
            raise RequestError(f"{option} shows one text, --lines is many", "give a TEXT")
    if request.stack:
        raise RequestError("--stack is for one text, --lines is many", "give a TEXT")
    sides = [open_side(request, request.run, texts, request.checkpoint, False)]
    if request.compare is not None:
        sides.append(open_side(request, request.compare, texts, None, False))
        comparable(*sides)
    measure = request.measure or "entropy"
    if output.quiet:
        output.line(greatest(sides[0], measure))
    elif output.tables:
        show(sides, page_of(sides), measure, request)
    else:
        for side in sides:
            for record in records(side, request):
                output.emit(record, None, dict)


def over_steps(request: Request, texts: list[str], output: Output) -> None:
    """Every checkpoint of a run, from the first on."""
    for option in ("--html", "--npz"):
        if option in request.files:
            raise RequestError(f"{option} is for one checkpoint, not for --steps", "draw the steps with --png or --svg")
    run = runs.resolve(request.run)
    found = sorted((run.path / "checkpoints").glob("step-*"))
    if len(found) < 2:
        raise DlkitError(
            f"{run.path} keeps {len(found)} checkpoint",
            "train with train.keep_checkpoints=true and train.checkpoint_every=100 steps",
        )
    measure = request.measure or "induction"
    if measure == "ablation":
        raise RequestError("--measure ablation is not for --steps", f"take one of {', '.join(MEASURES)}")
    steps: list[int] = []
    scores: list[np.ndarray] = []
    side: Side | None = None
    for path in found:
        side = open_side(request, str(path), texts, None, False)
        steps.append(side.reader.step or 0)
        scores.append(side.means()[measure][side.layers][:, side.heads])
        if not output.quiet and not output.tables:
            for record in records(side, request):
                output.emit(record, None, dict)
    assert side is not None
    values = np.stack(scores)  # (S, layers, heads)
    jump = jump_of(side, steps, values, measure)
    if output.tables:
        from rich.console import Console

        Console().print(steps_table(side, steps, values, measure, jump))
    else:
        output.emit(jump, jump["to_step"], dict)
    for option in ("--png", "--svg"):
        if option in request.files:
            from dlkit.attention.figures import draw_steps

            draw_steps(request.files[option], steps, {measure: values})
