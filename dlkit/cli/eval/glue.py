"""`dlkit eval RUNS... --glue`: the scores of GLUE and SuperGLUE from runs, one or more for each task."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from dlkit import recipe as recipes
from dlkit.cli.console import Output
from dlkit.cli.evaluations import record_of
from dlkit.errors import DlkitError, RequestError
from dlkit.metrics import glue
from dlkit.storage import run_reference


def score(
    references: Sequence[str], checkpoint: str | None, overrides: Sequence[str], device: str, output: Output
) -> None:
    """Evaluate each run on the splits that count; print their records, then one for each benchmark.

    Raises:
        RequestError: a run is of no task of a benchmark; before anything is evaluated.
        DlkitError: data is missing, or a single value is wanted and the score lacks tasks.
    """
    chosen: list[tuple[run_reference.Run, recipes.Recipe, str, str]] = []
    for reference in references:
        run = run_reference.resolve(reference)
        recipe = recipes.load_run(str(run.recipe), overrides)
        found = glue.task_of(recipe.values["data"])
        if found is None:
            raise RequestError(
                f"{run.path} was trained on {recipe.values['data']['name']}, no task of GLUE or SuperGLUE",
                "train one: dlkit train glue-bert data.config=rte",
            )
        recipe.require_data()
        chosen.append((run, recipe, *found))
    scored = sorted({name for _, _, name, _ in chosen})
    if output.quiet:
        for name in scored:
            _require_all(name, {task for _, _, other, task in chosen if other == name})

    from dlkit.app.evaluation import evaluate_trained, open_trained
    from dlkit.train.device import pick_device

    place = pick_device(device)
    results: list[glue.Result] = []
    for run, recipe, name, task in chosen:
        splits, samples = dict[str, dict[str, float]](), 0
        path = run.choose(checkpoint)
        found = open_trained(recipe, path, place)
        for split in glue.splits_of(name, task):
            result = evaluate_trained(recipe, found, split, place)
            splits[split], samples = result.metrics, samples + result.samples
            record = record_of(run.path, recipe, path, result) | {"benchmark": name, "task": task}
            if not output.tables and not output.quiet:
                output.emit(record, None, lambda: "")
        results.append(glue.Result(name, task, splits, samples))
    records = [glue.aggregate(name, results) for name in scored]
    if output.tables:
        output.emit({}, None, functools.partial(_table, records))
        return
    for record in records:
        output.emit(record, record["score"], lambda: "")


def _require_all(name: str, there: set[str]) -> None:
    missing = [task for task in glue.BENCHMARKS[name] if task not in there]
    if missing:
        raise DlkitError(f"no score of {name} without {', '.join(missing)}", "leave -q out for the tasks that are here")


def _table(records: list[dict[str, Any]]) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table("task", "metrics", "score", "runs", "n", box=None, pad_edge=False)
    for column in table.columns[2:]:
        column.justify = "right"
    remarks: list[Text] = []
    for record in records:
        name, missing = record["benchmark"], record["missing"]
        for task, found in record["tasks"].items():
            metrics = ", ".join(f"{key} {value:.4f}" for key, value in found["metrics"].items())
            table.add_row(f"{name} {task}", metrics, f"{found['score']:.4f}", str(found["runs"]), f"{found['n']:,}")
        count = len(glue.BENCHMARKS[name])
        if missing:
            table.add_row(Text(name, style="bold"), f"{len(missing)} of {count} tasks missing", "none", "", "")
            remarks.append(Text(f"{name} lacks {', '.join(missing)}; the mean of the others is {record['mean']:.4f}"))
        else:
            table.add_row(Text(name, style="bold"), f"mean of {count} tasks", f"{record['score']:.4f}", "", "")
    return Group(table, *remarks)
