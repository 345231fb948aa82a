"""`dlkit eval`: measure a trained model on a split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlkit.app.evaluate import EvaluationRequest, extent_text, ood_record, request_evaluation, require_views
from dlkit.app.events import damaged_remarks
from dlkit.app.glue import score_glue
from dlkit.cli import completion
from dlkit.cli.console import Output
from dlkit.cli.eval.glue import show_glue
from dlkit.cli.options import DataDir, Device, Json, Overrides, Quiet, Trust
from dlkit.cli.progress import preparing
from dlkit.errors import RequestError
from dlkit.plotting import require_figure
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
      dlkit eval runs/glue-bert-* --glue
      dlkit eval runs/cifar10-fast-1 --ood cifar100 --ood noise
    """
    require_figure("--confusion", confusion)
    require_figure("--histogram", histogram)
    if histogram is not None and not ood:
        raise RequestError("--histogram draws the scores of --ood, which is not given", "add --ood noise")
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
    output = Output(as_json, quiet)
    if glue:
        with preparing(quiet):
            show_glue(score_glue([run, *more], overrides, checkpoint, device, complete=quiet), output)
        return
    request = request_evaluation(run, overrides, split, checkpoint, ood or (), views)
    from dlkit.distributed.process_group import join_world
    from dlkit.training.device import pick_device

    with join_world(pick_device(device)) as world:
        _evaluate(request, device, output, metric, confusion, histogram, draws=world.first)


def _evaluate(
    request: EvaluationRequest,
    device: str,
    output: Output,
    metric: str | None,
    confusion: Path | None,
    histogram: Path | None,
    draws: bool,
) -> None:
    """Evaluate, draw what is asked for, and print the records."""
    with preparing(output.quiet):
        opened = request.open(device)
        if confusion is not None and not opened.trained.dataset.classes:
            raise RequestError(f"--confusion: {request.run} tells no classes apart", "leave --confusion out")
        found, remarks = opened.evaluate()
    for remark in remarks:
        output.remark(remark)
    if confusion is not None:
        if found.confusion is None:
            raise RequestError(f"too many classes to draw: {len(found.classes)}", "leave --confusion out")
        if draws:
            from dlkit.training import run_plots

            title = f"{request.run.name}: {found.split}"
            run_plots.plot_confusion_matrix(found.confusion, found.classes, confusion, title)
    results: list[OODEvaluation] = []
    if opened.others:
        with preparing(output.quiet):
            scores, results = opened.detect_ood(found.split)
        if histogram is not None and draws:
            from dlkit.metrics.ood_histogram import draw_ood_histogram

            draw_ood_histogram(scores, {one.source: one.scores for one in results}, histogram, request.run.name)
    # what is printed comes behind all files, since whoever reads it may stop
    record = opened.record(found)
    beside = [ood_record(record, one) for one in results]
    if metric is not None:
        _require_metric(metric, [record, *beside])
    output.emit(record, record["metrics"].get(metric or found.main_metric), lambda: _table(record))
    for one, other in zip(results, beside, strict=True):
        for remark in damaged_remarks(one.damaged, f"{len(one.damaged)} images of {one.source} in all"):
            output.remark(remark)
        output.emit(other, other["metrics"].get(metric), lambda other=other: _ood_table(other))


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


def _ood_table(record: dict[str, Any]) -> Any:
    from rich.table import Table
    from rich.text import Text

    metrics: dict[str, float] = record["metrics"]
    names = list(dict.fromkeys(name.partition("/")[2] for name in metrics))
    title = Text(f"{record['data']}, n = {record['n']:,}, beside {record['inside']['split']} data", style="bold")
    table = Table("score", *names, title=title, title_justify="left", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for kind in dict.fromkeys(name.partition("/")[0] for name in metrics):
        table.add_row(kind, *(f"{metrics[f'{kind}/{name}']:.4f}" for name in names))
    return table


def _table(record: dict[str, Any]) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_row(Text("run", style="bold"), Text(f"{record['run']} at step {record['step']}"))
    facts.add_row(Text("data", style="bold"), Text(f"{record['data']}, {record['split']} split, n = {record['n']:,}"))
    facts.add_row(Text("measured", style="bold"), Text(extent_text(record)))
    for name, value in record["metrics"].items():
        facts.add_row(Text(name, style="bold"), Text(f"{value:.4f}"))
    if not record["per_class"]:
        return facts
    classes = Table("class", "n", "precision", "recall", "F1", box=None, pad_edge=False)
    for column in classes.columns[1:]:
        column.justify = "right"
    for row in record["per_class"]:
        scores = (f"{row[key]:.3f}" for key in ("precision", "recall", "f1"))
        classes.add_row(Text(row["class"]), f"{row['n']:,}", *scores)
    return Group(facts, Text(), classes)
