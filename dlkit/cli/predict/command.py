"""`dlkit predict`: labels and probabilities for new inputs."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Annotated

import typer

from dlkit.app.predict import PredictionRequest, named_inputs, predict_with, request_prediction
from dlkit.app.prediction import Prediction
from dlkit.cli import completion
from dlkit.cli.console import Output
from dlkit.cli.options import Device, Json, Quiet, Trust
from dlkit.cli.predict.view import PredictionView
from dlkit.errors import DlkitError, RequestError
from dlkit.lines import lines_as_they_come


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
            metavar="INPUT", help="Images, folders of them, patterns, or - for one path a line from a pipe."
        ),
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
    """Label new images with a trained model.

    Prints a record of each as it comes, in their order; -q prints the label, or an empty line where there is none. What
    cannot be read has a record with its error, and the exit code is 1 in the end. Folders are read at any depth.

    \b
    Examples:
      dlkit predict runs/cats-1 photos/
      find photos -name '*.jpg' | dlkit predict runs/cats-1 - --top 1
      dlkit predict runs/cats-1 'photos/**/*.png' --threshold 0.9 -q
    """
    given = inputs or []
    piped = given == ["-"] or (not given and run != "-" and not sys.stdin.isatty())
    if run == "-" and "-" in given:
        raise RequestError("RUN and INPUT cannot both come from standard input", "name one of them")
    if not piped and "-" in given:
        raise RequestError("INPUT is - beside others", "give names, or - alone to read them from a pipe")
    request = request_prediction(run, top or 5, threshold, batch_size, checkpoint, views)
    if not given and not piped:
        raise RequestError("no INPUT to predict", f"dlkit predict {run} IMAGE_OR_FOLDER ...")
    names: Iterable[str | None] = _from_first(_paths_in_pipe(request)) if piped else list(named_inputs(request, given))
    output = Output(as_json, quiet)
    view = PredictionView(output, top)
    work = predict_with(request, names, device)
    failed: Prediction | None = None
    for prediction in output.without_remarks(work):
        view.show(prediction)
        if prediction.error is not None:
            failed = failed or prediction
    summary = work.result()
    if failed is not None:
        raise DlkitError(
            f"{summary.failed} of {summary.inputs} inputs {'has' if summary.failed == 1 else 'have'} no prediction"
            f"; {'it is' if summary.failed == 1 else 'the first is'} {failed.input}: {failed.error}",
            "the record of each says why; all others are whole",
        )


def _from_first(names: Iterator[str | None]) -> Iterator[str | None]:
    """The same, with the first one waited for now: what is wrong with it shows before torch is imported."""
    return itertools.chain([next(name for name in names if name is not None)], names)


def _paths_in_pipe(request: PredictionRequest) -> Iterator[str | None]:
    """A path a line, or with a NUL behind each, as `find -print0` writes them; empty lines are left out."""
    found = False
    for line in lines_as_they_come(sys.stdin.buffer):
        for path in line.split(b"\0") if line is not None else ():
            if path:
                found = True
                yield os.fsdecode(path)
        if line is None:
            yield None
    if not found:
        raise RequestError("no path on standard input", f"find photos -name '*.jpg' | dlkit predict {request.run} -")
