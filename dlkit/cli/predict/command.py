"""`dlkit predict`: labels and probabilities for new inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer

from dlkit.app.predict import predict_with, request_prediction
from dlkit.app.prediction import Prediction, PredictionSummary
from dlkit.app.scored_file import SUFFIXES, scored_file
from dlkit.cli import completion
from dlkit.cli.console import Output
from dlkit.cli.options import Device, Json, Quiet, Trust
from dlkit.cli.predict.input import given_inputs
from dlkit.cli.predict.view import PredictionView, summary_table
from dlkit.cli.progress import preparing
from dlkit.errors import DlkitError
from dlkit.storage.atomic_file import require_target


def predict_command(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="A run, a checkpoint, or - to read either from a pipe.", autocompletion=completion.runs
        ),
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT", help="Images, folders of them or patterns; texts or files of them; tables; - for a pipe."
        ),
    ] = None,
    rows: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A table of inputs (.csv, .jsonl, .parquet), or - for one from a pipe."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a table: the inputs' columns, label, probability (.csv, ...)."),
    ] = None,
    top: Annotated[
        int | None, typer.Option(min=1, max=10**6, metavar="N", help="Name the N most probable classes (default: 5).")
    ] = None,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, metavar="P", help="No label where its probability is below P.")
    ] = 0.0,
    views: Annotated[
        str | None,
        typer.Option("--views", metavar="VIEWS", help="Views of each image to average over: one, flip or flip_shift."),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, max=10**6, metavar="N", help="Inputs a batch (default: the recipe's).")
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(metavar="NAME", help="last, best or a step (default: best by validation, else last).")
    ] = None,
    device: Device = "auto",
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Label new images, texts or rows with a trained model.

    Prints a record of each as it comes, in their order; -q prints the label, or an empty line where there is none. What
    cannot be read has a record with its error, and the exit code is 1 in the end. A pipe has a path or a text on each
    line, or with --rows - a table. Columns are read by the names that the run knows.

    \b
    Examples:
      dlkit predict runs/cats-1 photos/ 'more/**/*.png'
      find photos -name '*.jpg' | dlkit predict runs/cats-1 - --threshold 0.9 -q
      dlkit predict runs/reviews-1 "A film to remember."
      dlkit predict runs/churn-1 --rows new.csv --out scored.csv
    """
    if out is not None:
        require_target("--out", out, SUFFIXES)
    request = request_prediction(run, top or 5, threshold, batch_size, checkpoint, views)
    found = given_inputs(request, run, inputs or [], rows)
    output = Output(as_json, quiet)
    work = predict_with(request, found, device)
    if out is None:
        view = PredictionView(output, top, paths=request.kind == "images")
        failed = _first_failure(view.show, output.without_remarks(work))
    else:
        with scored_file(out) as table, preparing(quiet):
            failed = _first_failure(table.add, output.without_remarks(work))
    summary = work.result()
    if out is not None:
        record = {"run": str(request.run), "out": str(out), **summary.record()}
        output.emit(record, out, lambda: summary_table(record))
    if failed is not None:
        raise _failure(failed, summary)


def _first_failure(show: Callable[[Prediction], None], predictions: Iterable[Prediction]) -> Prediction | None:
    """Show all predictions; returns the first that failed."""
    failed: Prediction | None = None
    for prediction in predictions:
        show(prediction)
        if prediction.error is not None:
            failed = failed or prediction
    return failed


def _failure(first: Prediction, summary: PredictionSummary) -> DlkitError:
    one = summary.failed == 1
    return DlkitError(
        f"{summary.failed} of {summary.inputs} inputs {'has' if one else 'have'} no prediction; "
        f"{'it is' if one else 'the first is'} {first.shown[:200]}: {first.error}",
        "the record of each says why; all others are whole",
    )
