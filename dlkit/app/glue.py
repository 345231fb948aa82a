"""The scores of GLUE and SuperGLUE from trained runs, one or more for each task."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from dlkit import recipe as recipes
from dlkit.app.evaluate import evaluation_record, left_out_remarks, require_data_changes
from dlkit.app.events import Remark, Work
from dlkit.app.required_files import require_data
from dlkit.errors import DlkitError, RequestError
from dlkit.metrics import glue
from dlkit.recipe import Recipe
from dlkit.storage import run_reference
from dlkit.storage.run_reference import Run


@dataclass(frozen=True, slots=True)
class TaskEvaluated:
    """A run was evaluated on a split of its task; `record` is what `dlkit eval --glue` prints of it."""

    record: dict[str, Any]


def score_glue(
    references: Sequence[str],
    changes: Sequence[str] = (),
    checkpoint: str | None = None,
    device: str = "auto",
    complete: bool = False,
) -> Work[Remark | TaskEvaluated, list[dict[str, Any]]]:
    """Evaluate each run on the splits that count; the result has a record for each benchmark.

    Args:
        references: of the runs.
        changes: of their data.
        checkpoint: `last`, `best` or a step; None for the best by validation data, or else the last.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        complete: fail, before anything is evaluated, where a benchmark lacks tasks.

    Raises:
        RequestError: a run is of no task of a benchmark; before anything is evaluated.
        DlkitError: data is missing, or tasks are, and `complete` is set.
    """
    require_data_changes(changes)
    chosen: list[tuple[Run, Recipe, str, str]] = []
    for reference in references:
        run = run_reference.resolve_run(reference)
        recipe = recipes.load_run(str(run.recipe), changes)
        found = glue.task_of(recipe.values["data"])
        if found is None:
            raise RequestError(
                f"{run.path} was trained on {recipe.values['data']['name']}, no task of GLUE or SuperGLUE",
                "train one: dlkit train glue-bert data.config=rte",
            )
        require_data(recipe)
        chosen.append((run, recipe, *found))
    if complete:
        for benchmark in {name for _, _, name, _ in chosen}:
            _require_all(benchmark, {task for _, _, name, task in chosen if name == benchmark})
    return Work(_evaluate_each(chosen, checkpoint, device))


def _evaluate_each(
    chosen: Sequence[tuple[Run, Recipe, str, str]], checkpoint: str | None, device: str
) -> Generator[Remark | TaskEvaluated, None, list[dict[str, Any]]]:
    from dlkit.app.evaluation import evaluate_trained, open_trained
    from dlkit.distributed.process_group import join_world
    from dlkit.training.device import pick_device

    torch_device = pick_device(device)
    results: list[glue.Result] = []
    with join_world(torch_device):
        for run, recipe, benchmark, task in chosen:
            splits, samples = dict[str, dict[str, float]](), 0
            path = run.choose(checkpoint)
            trained = open_trained(recipe, path, torch_device)
            for split in glue.splits_of(benchmark, task):
                found = evaluate_trained(recipe, trained, split, torch_device)
                splits[split], samples = found.metrics, samples + found.samples
                yield from left_out_remarks(found)
                record = evaluation_record(run.path, path, recipe, found)
                yield TaskEvaluated({**record, "benchmark": benchmark, "task": task})
            results.append(glue.Result(benchmark, task, splits, samples))
    return [glue.aggregate(name, results) for name in sorted({name for _, _, name, _ in chosen})]


def _require_all(benchmark: str, present: set[str]) -> None:
    missing = [task for task in glue.BENCHMARKS[benchmark] if task not in present]
    if missing:
        raise DlkitError(
            f"no score of {benchmark} without {', '.join(missing)}", "leave -q out for the tasks that are here"
        )
