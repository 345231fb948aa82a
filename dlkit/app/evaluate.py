"""Evaluate a run on a split of its own data, on other data, and beside out-of-distribution data: `dlkit.evaluate`.

What is wrong with a request shows before torch is imported.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from dlkit import recipe as recipes
from dlkit.app.events import Remark, damaged_remarks, data_remarks
from dlkit.app.measured_data import changed_sources, measured
from dlkit.app.required_files import require_data
from dlkit.catalog import SECTIONS, TASKS
from dlkit.data import store
from dlkit.data.split_names import SPLITS
from dlkit.errors import DlkitError, RequestError
from dlkit.plotting import require_figure
from dlkit.recipe import Recipe
from dlkit.storage import run_reference
from dlkit.training.settings import TestViews
from dlkit.user_code import is_reference

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from dlkit.app.evaluation import Evaluation, Trained
    from dlkit.app.ood import OODData, OODEvaluation


@dataclass(frozen=True)
class EvaluationRequest:
    """A checkpoint and the data to measure it on, both known to be there.

    Args:
        run: directory of the run.
        checkpoint: one in it.
        recipe: of the run, with the changes that are asked for.
        split: None for the test split, else the validation split; of other data all of it.
        ood: sources of out-of-distribution data, as `read_ood_data` takes them.
        views: what test-time augmentation averages over, in place of the recipe's.
        confusion: file for a figure of the confusion matrix.
        histogram: file for a figure of the scores of out-of-distribution data.
    """

    run: Path
    checkpoint: Path
    recipe: Recipe
    split: str | None = None
    ood: tuple[str, ...] = ()
    views: TestViews | None = None
    confusion: Path | None = None
    histogram: Path | None = None

    def open(self, device: str = "auto") -> OpenedRun:
        """Load the weights and read all data: what is wrong with any of it shows before the first forward pass."""
        from dlkit.app.evaluation import open_trained
        from dlkit.app.ood import read_ood_data
        from dlkit.training.device import pick_device

        torch_device = pick_device(device)
        own = recipes.load(str(self.run / run_reference.RECIPE))
        recipe, split, whole = measured(self.recipe, own, self.split)
        trained = open_trained(recipe, self.checkpoint, torch_device, whole)
        if self.confusion is not None and not trained.dataset.classes:
            raise RequestError(f"`confusion`: {self.run} tells no classes apart", "leave `confusion` out")
        others = read_ood_data(recipe, trained, split, self.ood) if self.ood else []
        return OpenedRun(self, recipe, split, trained, torch_device, others, bool(changed_sources(recipe, own)))


@dataclass(frozen=True)
class OpenedRun:
    """A trained model with its data in memory. `recipe` reads the part of the data that `split` is of."""

    request: EvaluationRequest
    recipe: Recipe
    split: str | None
    trained: Trained
    device: torch.device
    others: list[OODData]
    reads_other_data: bool  # than the run was trained on

    def evaluate(self) -> tuple[Evaluation, list[Remark]]:
        """Measure the split, draw its confusion matrix if that is asked for, and say what is to know about it."""
        from dlkit.app.evaluation import evaluate_trained

        found = evaluate_trained(self.recipe, self.trained, self.split, self.device, self.request.views)
        if self.request.confusion is not None:
            self._draw_confusion(found, self.request.confusion)
        remarks = [*data_remarks(self.trained.dataset.sources)]
        remarks += [Remark(other.taken, routine=True) for other in self.others if other.taken]
        remarks += left_out_remarks(found)
        if self.reads_other_data:
            record = self.record(found)
            remarks.append(Remark(f"measured: {extent_text(record)}", routine=True))
        return found, [*remarks, *damaged_remarks(found.damaged, f"{len(found.damaged)} images in all")]

    def detect_ood(self, split: str) -> tuple[dict[str, Tensor], list[OODEvaluation]]:
        """Scores of each example of a split, and how well each score tells it from every out-of-distribution set.

        A histogram of them is drawn if that is asked for.
        """
        from dlkit.app.ood import evaluate_ood
        from dlkit.distributed.process_group import current_world
        from dlkit.metrics.ood_figure import draw_ood_histogram

        request = self.request
        scores, found = evaluate_ood(self.recipe, self.trained, split, self.others, self.device, request.views)
        if request.histogram is not None and current_world().first:
            others = {one.source: one.scores for one in found}
            draw_ood_histogram(scores, others, request.histogram, request.run.name)
        return scores, found

    def _draw_confusion(self, found: Evaluation, target: Path) -> None:
        from dlkit.distributed.process_group import current_world
        from dlkit.metrics.confusion_figure import draw_confusion_matrix

        if found.confusion is None:
            raise RequestError(f"`confusion`: {len(found.classes)} classes are too many", "leave `confusion` out")
        if current_world().first:
            title = f"{self.request.run.name}: {found.split}"
            draw_confusion_matrix(found.confusion, found.classes, target, title)

    def record(self, found: Evaluation) -> dict[str, Any]:
        """What `dlkit eval` prints of an evaluation."""
        return evaluation_record(self.request.run, self.request.checkpoint, self.recipe, found)


def evaluation_record(run: Path, checkpoint: Path, recipe: Recipe, found: Evaluation) -> dict[str, Any]:
    """An evaluation of a run's checkpoint on the data of a recipe, as `dlkit eval` prints it."""
    return {
        "run": str(run),
        "data": recipe.values["data"]["name"],
        "split": found.split,
        "n": found.samples,
        **found.extent,
        "metrics": found.metrics,
        "precision": found.precision,
        "seconds": round(found.seconds, 3),
        "checkpoint": str(checkpoint),
        "step": found.step,
        "per_class": found.per_class,
        **({"left_out": found.left_out} if found.left_out else {}),
        **({"damaged": len(found.damaged)} if found.damaged else {}),
    }


def left_out_remarks(found: Evaluation) -> list[Remark]:
    """Measures that make no sense for this model or data."""
    return [Remark(f"{measure} is left out: {why}") for measure, why in found.left_out.items()]


def extent_text(record: dict[str, Any]) -> str:
    """Which part of which file was measured."""
    unit = "rows" if "rows" in record else "bytes"
    return f"{record[unit]} {unit} of {record['path'] or record['data']}"


def ood_record(in_distribution: dict[str, Any], found: OODEvaluation) -> dict[str, Any]:
    """What `dlkit eval --ood` prints of an out-of-distribution set, beside the record of the in-distribution split."""
    return {
        "run": in_distribution["run"],
        "data": found.source,
        "split": found.split,
        "n": found.samples,
        **found.extent,
        "metrics": found.metrics,
        "seconds": round(found.seconds, 3),
        "checkpoint": in_distribution["checkpoint"],
        "step": in_distribution["step"],
        "kind": "out-of-distribution",
        "inside": {key: in_distribution[key] for key in ("data", "split", "n")},
        **({"damaged": len(found.damaged)} if found.damaged else {}),
    }


def request_evaluation(
    run: str | os.PathLike[str],
    changes: Sequence[str] = (),
    split: str | None = None,
    checkpoint: str | None = None,
    ood: Sequence[str] = (),
    views: str | None = None,
    confusion: str | os.PathLike[str] | None = None,
    histogram: str | os.PathLike[str] | None = None,
) -> EvaluationRequest:
    """Find a run and its checkpoint, and check what can be checked without torch; arguments as in `evaluate_run`."""
    require_views(views)
    matrix, scores = (None if path is None else Path(path) for path in (confusion, histogram))
    require_figure("`confusion`", matrix)
    require_figure("`histogram`", scores)
    if scores is not None and not ood:
        raise RequestError("`histogram` draws the scores of `ood`, which is not given", "add `ood` noise")
    for source in ood:
        require_ood_source(source)
    require_data_changes(changes)
    reference = run_reference.resolve_run(os.fspath(run))
    recipe = recipes.load_run(str(reference.recipe), changes)
    require_split_name(recipe, split)
    chosen = reference.choose(checkpoint)
    require_data(recipe)
    return EvaluationRequest(
        reference.path, chosen, recipe, split, tuple(ood), cast("TestViews | None", views), matrix, scores
    )


def require_data_changes(changes: Sequence[str]) -> None:
    """Raise RequestError for a change of anything but the data."""
    for change in changes:
        if not change.lstrip("~").startswith("data."):
            raise RequestError(f"{change}: eval changes only the data", "give KEY=VALUE with a key like data.path")


def require_split_name(recipe: Recipe, split: str | None) -> None:
    """Raise RequestError for a split that no data has, before any is read; data of the user's own has what it has."""
    if split not in (None, "all", *SPLITS) and not is_reference(recipe.values["data"]["name"]):
        raise RequestError(
            f"{recipe.values['data']['name']} has no split {split!r}{recipes.closest(split, SPLITS)}",
            "`split` takes test, val, train or all",
        )


def require_views(views: str | None) -> None:
    """Raise RequestError unless there are such test views."""
    if views not in (None, *get_args(TestViews)):
        raise RequestError(f"no such views: {views!r}", f"`views` takes {', '.join(get_args(TestViews))}")


def require_ood_source(source: str) -> None:
    """Raise DlkitError unless a source of out-of-distribution data can be there."""
    kind, colon, rest = source.partition(":")
    named = [
        name.removeprefix("data.")
        for name, data in recipes.schema()["$defs"].items()
        if name.startswith("data.") and not set(data["required"]) - {"name"}
    ]
    names = [name for name in named if any(TASKS[task].inputs == "images" for task in SECTIONS["data"][name].tasks)]
    if kind == "images" and colon:
        if not Path(rest).expanduser().is_dir():
            raise DlkitError(f"no such folder: {rest}", "`ood` images:FOLDER takes every image in a folder")
    elif source != "noise" and (kind not in names or (colon and not rest)):
        raise RequestError(
            f"no such data: `ood` {source}{recipes.closest(kind, [*names, 'noise'])}",
            f"choose one of {', '.join(names)}, SET:CLASS, noise, images:FOLDER",
        )
    elif source != "noise" and SECTIONS["data"][kind].download:
        store.require_dataset(SECTIONS["data"][kind].download)


def evaluate_run(
    run: str | os.PathLike[str],
    *changes: str,
    split: str | None = None,
    checkpoint: str | None = None,
    ood: Sequence[str] = (),
    views: str | None = None,
    confusion: str | os.PathLike[str] | None = None,
    histogram: str | os.PathLike[str] | None = None,
    device: str = "auto",
) -> Evaluation:
    """Measure a trained model on a split.

    Args:
        run: what `train` returned, a run directory, or a checkpoint in one.
        changes: of the data, as `data.path=FILE`.
        split: None for the test split, or else the validation split; of other data all of it.
        checkpoint: `last`, `best` or a step; None for the best by validation data, or else the last.
        ood: out-of-distribution data to tell from the split: names of data sets, `NAME:CLASS,...`, `images:FOLDER` or
            `noise`. The result's `ood` has how well each score does.
        views: `one`, `flip` or `flip_shift` of each image, to average over.
        confusion: draw the confusion matrix into this file (.svg, .png or .pdf).
        histogram: draw the scores of the split and of `ood` into this one.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        RequestError: there is no such run, checkpoint, split or key.
        DlkitError: the checkpoint is damaged, the data is missing, or a metric is not finite.
    """
    request = request_evaluation(run, changes, split, checkpoint, ood, views, confusion, histogram)
    from dlkit.distributed.process_group import join_world
    from dlkit.training.device import pick_device

    with join_world(pick_device(device)):
        opened = request.open(device)
        found, _ = opened.evaluate()
        if opened.others:
            found.ood = opened.detect_ood(found.split)[1]
    return found
