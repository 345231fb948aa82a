"""`dlkit predict`: labels and probabilities for new inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dlkit.app.events import Work
from dlkit.app.predict import columns_without_rows, predict_with, request_prediction, write_features
from dlkit.app.prediction import Prediction, PredictionSummary
from dlkit.app.scored_file import SUFFIXES, scored_file
from dlkit.cli import completion
from dlkit.cli.console import Output, note
from dlkit.cli.options import Device, Json, Quiet, Trust
from dlkit.cli.predict.input import given_inputs
from dlkit.cli.predict.view import PredictionView, written_table
from dlkit.cli.progress import preparing
from dlkit.distributed.torchrun import is_first_process
from dlkit.errors import DlkitError, RequestError
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
    features: Annotated[
        str | None,
        typer.Option(metavar="LAYER", help="Write a layer's output instead, or penultimate (--out .npy, .parquet)."),
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
    line, or with --rows - a table. Columns are read by the names that the run knows. Under torchrun the processes share
    the inputs.

    \b
    Examples:
      dlkit predict runs/cats-1 photos/ 'more/**/*.png'
      find photos -name '*.jpg' | dlkit predict runs/cats-1 - --threshold 0.9 -q
      dlkit predict runs/reviews-1 "A film to remember."
      dlkit predict runs/churn-1 --rows new.csv --out scored.csv
      dlkit predict runs/cats-1 photos/ --features penultimate --out photos.npy
    """
    if features is not None and out is None:
        raise RequestError("--features writes a file", f"--features {features} --out features.npy, or .parquet")
    if out is not None:
        require_target("--out", out, SUFFIXES if features is None else (".npy", ".parquet"))
    request = request_prediction(run, top or 5, threshold, batch_size, checkpoint, views)
    found = given_inputs(request, run, inputs or [], rows) if is_first_process() else ()
    output = Output(as_json, quiet)
    from dlkit.distributed.process_group import join_world
    from dlkit.training.device import pick_device

    with join_world(pick_device(device)):
        if features is not None and out is not None:
            with preparing(quiet):
                summary = write_features(request, found, features, out, device)
        else:
            columns = columns_without_rows(request, [*(inputs or []), *([rows] if rows else [])]) if out else []
            view = PredictionView(output, top, request.kind)
            summary = _show(predict_with(request, found, device), view, out, columns)
        if out is not None:
            layer = {} if features is None else {"layer": features}
            record = {"run": str(request.run), "out": str(out), **layer, **summary.record()}
            output.emit(record, out, lambda: written_table(record))
        if not summary.inputs:
            note("no inputs: nothing to predict")
    if summary.first_failure is not None:  # on every rank, and said once
        raise _failure(summary.first_failure, summary)


def _show(
    work: Work[Prediction, PredictionSummary], view: PredictionView, out: Path | None, columns: list[str]
) -> PredictionSummary:
    """Print the predictions as they come, or write them into a file, which has these columns where there are none."""
    predictions = view.output.without_remarks(work)
    if not is_first_process():
        return work.result()
    if out is None:
        for prediction in predictions:
            view.show(prediction)
    else:
        with scored_file(out, columns) as table, preparing(view.output.quiet):
            for prediction in predictions:
                table.add(prediction)
    return work.result()


def _failure(first: Prediction, summary: PredictionSummary) -> DlkitError:
    one = summary.failed == 1
    return DlkitError(
        f"{summary.failed} of {summary.inputs} inputs {'has' if one else 'have'} no prediction; "
        f"{'it is' if one else 'the first is'} {first.shown[:200]}: {first.error}",
        "the record of each says why; all others are whole",
    )
