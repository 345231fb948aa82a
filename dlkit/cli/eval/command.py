"""`dlkit eval`: measure a trained model on a split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlkit.app.evaluate import EvaluationRequest, ood_record, request_evaluation, require_views
from dlkit.app.events import damaged_remarks
from dlkit.app.glue import score_glue
from dlkit.cli import completion
from dlkit.cli.console import Output
from dlkit.cli.eval import view
from dlkit.cli.eval.glue import show_glue
from dlkit.cli.options import DataDir, Device, Json, Overrides, Quiet, Trust, Written
from dlkit.cli.progress import preparing
from dlkit.errors import RequestError
from dlkit.recipe import closest

if TYPE_CHECKING:
    from dlkit.app.ood import OODEvaluation


def eval_command(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="A run, a checkpoint, or - to read either from a pipe.", autocompletion=completion.runs
        ),
    ],
    overrides: Overrides = None,
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="SPLIT", help="test (default), val, train, or all (default for other data)."),
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(metavar="NAME", help="last, best or a step (default: best by validation, else last).")
    ] = None,
    confusion: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the confusion matrix (.svg, .png or .pdf).")
    ] = None,
    ood: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SET", help="Also score other data: a data set, SET:CLASS,..., images:FOLDER or noise; repeatable."
        ),
    ] = None,
    histogram: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the scores of --ood (.svg, .png or .pdf).")
    ] = None,
    glue: Annotated[
        bool, typer.Option("--glue", help="The score of GLUE or SuperGLUE from RUNS, one or more for each task.")
    ] = False,
    views: Annotated[
        str | None,
        typer.Option("--views", metavar="VIEWS", help="Views of each image to average over: one, flip or flip_shift."),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option("--metric", metavar="NAME", help="What -q prints: accuracy, loss, ece, or msp/auroc of --ood."),
    ] = None,
    data_dir: DataDir = None,
    device: Device = "auto",
    trust: Trust = False,
    form: Written = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Evaluate a run: loss, accuracy, calibration, classes.

    KEY=VALUE changes the data (data.path=..., data.batch_size=...). -q prints the main metric, or that of --metric.
    --ood adds a record for each set of data that the model was not trained on: how well four scores tell it from the
    test data. --glue takes several runs (RUN RUN ... KEY=VALUE) and adds the benchmark's score, if no task is missing;
    -q prints that.

    \b
    Examples:
      dlkit train digits-mlp | dlkit eval -
      dlkit eval runs/digits-mlp-1 --confusion matrix.svg
      dlkit eval runs/digits-mlp-1 --metric ece -q
      dlkit eval runs/digits-mlp-1 --table latex
      dlkit eval runs/glue-bert-* --glue
      dlkit eval runs/cifar10-fast-1 --ood cifar100 --ood noise
    """
    require_views(views)
    more, overrides = _runs_among(overrides or [])
    if more and not glue:
        raise RequestError(f"several runs: {run}, {', '.join(more)}", "--glue takes several, else give one")
    if glue and (split or confusion or ood or histogram or metric):
        raise RequestError(
            "--glue has splits and scores of its own: --split, --confusion, --ood, --histogram and --metric do not go "
            "with it",
            "leave them out",
        )
    output = Output(as_json, quiet, form)
    if glue:
        with preparing(quiet):
            show_glue(score_glue([run, *more], overrides, checkpoint, device, complete=quiet), output)
        return
    request = request_evaluation(run, overrides, split, checkpoint, ood or (), views, confusion, histogram)
    from dlkit.distributed.process_group import join_world
    from dlkit.training.device import pick_device

    with join_world(pick_device(device)):
        _evaluate(request, device, output, metric)


def _evaluate(request: EvaluationRequest, device: str, output: Output, metric: str | None) -> None:
    """Evaluate, and print the records."""
    with preparing(output.quiet):
        opened = request.open(device)
        found, remarks = opened.evaluate()
    for remark in remarks:
        output.remark(remark)
    results: list[OODEvaluation] = []
    if opened.others:
        with preparing(output.quiet):
            _, results = opened.detect_ood(found.split)
    # print after all files are written, since the reader of a pipe may stop reading
    record = opened.record(found)
    beside = [ood_record(record, one) for one in results]
    if metric is not None:
        _require_metric(metric, [record, *beside])
    if output.form is not None:
        output.write(*view.written_tables(record, beside))
    else:
        output.emit(record, record["metrics"].get(metric or found.main_metric), lambda: view.evaluation_table(record))
    for one, other in zip(results, beside, strict=True):
        for remark in damaged_remarks(one.damaged, f"{len(one.damaged)} images of {one.source} in all"):
            output.remark(remark)
        if output.form is None:
            output.emit(other, other["metrics"].get(metric), lambda other=other: view.ood_table(other))


def _require_metric(metric: str, records: list[dict[str, Any]]) -> None:
    """Raise RequestError if none of the records has such a metric."""
    known = list(dict.fromkeys(name for record in records for name in record["metrics"]))
    if metric not in known:
        raise RequestError(
            f"--metric: no metric {metric!r} here{closest(metric, known)}", f"it takes {', '.join(known)}"
        )


def _runs_among(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Further runs, and the changes of the recipe: KEY=VALUE or ~KEY."""
    changes = [text for text in arguments if not Path(text).exists() and ("=" in text or text.startswith("~"))]
    return [text for text in arguments if text not in changes], changes
