"""What a trained model says of new inputs: `dlkit.predict`. Free of torch until a model is opened."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dlkit import recipe as recipes
from dlkit.app.evaluate import require_views
from dlkit.app.events import Work
from dlkit.app.output_columns import free_name
from dlkit.app.prediction import Prediction, PredictionSummary
from dlkit.catalog import TASKS
from dlkit.data import new_rows
from dlkit.data.tables.dialect import dialect_request
from dlkit.errors import RequestError, shell_word
from dlkit.recipe import Recipe
from dlkit.storage import run_reference
from dlkit.training.settings import TestViews

if TYPE_CHECKING:
    from dlkit.app.predictor import Predictor

# What else can be done with a run that predicts nothing of an input as a whole.
_INSTEAD = {
    "causal-lm": "dlkit generate {run} PROMPT continues a text, dlkit entropy FILE --model {run} scores one",
    "masked-lm": "train a classifier from it: dlkit train RECIPE model.weights={run}",
}


@dataclass(frozen=True)
class PredictionRequest:
    """A checkpoint that can predict, and how.

    Args:
        run: directory of the run.
        checkpoint: one in it.
        recipe: of the run.
        top: how many classes of each input are named.
        threshold: least probability of a label.
        batch_size: inputs a batch; None for the recipe's.
        views: of each image, to average over; None for the recipe's.
    """

    run: Path
    checkpoint: Path
    recipe: Recipe
    top: int = 5
    threshold: float = 0.0
    batch_size: int | None = None
    views: TestViews | None = None

    @property
    def kind(self) -> str:
        """What the inputs are: images, rows or text."""
        return TASKS[self.recipe.values["task"]].inputs

    def open(self, device: str = "auto") -> Predictor:
        """Load the weights. Raises DlkitError where they are damaged."""
        from dlkit.app.predictor import Predictor
        from dlkit.training.device import pick_device

        return Predictor(
            self.recipe, self.checkpoint, pick_device(device), self.top, self.threshold, self.batch_size, self.views
        )


def request_prediction(
    run: str | os.PathLike[str],
    top: int = 5,
    threshold: float = 0.0,
    batch_size: int | None = None,
    checkpoint: str | None = None,
    views: str | None = None,
) -> PredictionRequest:
    """Find a run that can predict, and its checkpoint; arguments as in `predict_inputs`."""
    require_views(views)
    if not 0 <= threshold <= 1:
        raise RequestError(f"threshold {threshold:g} is not a probability", "give a number from 0 to 1")
    if top < 1:
        raise RequestError(f"top {top}: no classes to name", "give 1 or more")
    reference = run_reference.resolve_run(os.fspath(run))
    recipe = recipes.load_run(str(reference.recipe))
    task = recipe.values["task"]
    if not TASKS[task].new_inputs:
        raise RequestError(
            f"{reference.path} is a run of {task}, which predicts no class",
            _INSTEAD[task].format(run=shell_word(reference.path)),
        )
    chosen = reference.choose(checkpoint)
    return PredictionRequest(
        reference.path, chosen, recipe, top, threshold, batch_size, cast("TestViews | None", views)
    )


def predict_inputs(
    run: str | os.PathLike[str],
    *inputs: str | os.PathLike[str] | Mapping[str, Any],
    top: int = 5,
    threshold: float = 0.0,
    batch_size: int | None = None,
    checkpoint: str | None = None,
    views: str | None = None,
    device: str = "auto",
) -> Work[Prediction, PredictionSummary]:
    """The prediction of each input, in their order, as they come.

    Args:
        run: what `train` returned, a run directory, or a checkpoint in one.
        inputs: for a model of images, files, folders, or patterns such as `photos/**/*.jpg`; for one of texts, texts,
            `Path`s of files with one a line, and what there is for rows; for one of rows, mappings from the names of
            columns to values, and .csv, .jsonl and .parquet files of them.
        top: how many of the most probable classes are named.
        threshold: least probability of a label; below it there is none.
        batch_size: inputs a batch; None for the recipe's.
        checkpoint: `last`, `best` or a step; None for the best by validation data, or else the last.
        views: `one`, `flip` or `flip_shift` of each image, to average over; None for the recipe's.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        RequestError: there is no such run or checkpoint, or it does not predict; columns are missing.
        DlkitError: the checkpoint is damaged; there is no such input. What cannot be read is a prediction with `error`.
    """
    request = request_prediction(run, top, threshold, batch_size, checkpoint, views)
    return predict_with(request, named_inputs(request, inputs), device)


def named_inputs(
    request: PredictionRequest, inputs: Sequence[str | os.PathLike[str] | Mapping[str, Any]]
) -> Iterable[Any]:
    """The inputs that a user names, opened; see `predict_inputs`. Raises DlkitError if one is not there."""
    if request.kind == "images":
        from dlkit.data.images.image_inputs import named_images  # which knows the suffixes that Pillow reads

        names = [name for name in inputs if not isinstance(name, Mapping)]
        if len(names) < len(inputs):
            raise RequestError(f"{request.run} is a run of images, not of rows", "give names of files and folders")
        return list(named_images([os.fspath(name) for name in names]))
    found: list[Iterable[Any]] = []
    for item in inputs:
        if isinstance(item, Mapping) or (isinstance(item, str) and request.kind == "text"):
            found.append([item])
        elif request.kind == "text" and new_rows.table_suffix(Path(item)) is None:
            found.append(new_rows.texts_of_file(Path(item)))
        else:
            found.append(new_rows.rows_of_file(Path(item), dialect_request(request.recipe.values["data"])))
    return itertools.chain.from_iterable(found)


def columns_without_rows(request: PredictionRequest, tables: Sequence[str | os.PathLike[str]]) -> list[str]:
    """The columns that a table of predictions has where there is nothing to predict."""
    dialect = dialect_request(request.recipe.values["data"])
    found: list[str] = []
    for table in map(Path, tables):
        if request.kind == "rows" and not found and table.is_file():
            found = new_rows.columns_of_file(table, dialect)
    given = found or ([] if request.kind == "rows" else ["input"])
    number = request.recipe.values["task"] == "tabular-regression"
    answer = ["value", "error"] if number else ["label", "probability", "error"]
    return [*given, *(free_name(name, given) for name in answer)]


def predict_with(
    request: PredictionRequest, inputs: Iterable[Any], device: str = "auto"
) -> Work[Prediction, PredictionSummary]:
    """The prediction of each input; None among them says that the next one is not there yet."""

    def steps() -> Generator[Prediction, None, PredictionSummary]:
        predictor = request.open(device)
        started, count, failed = time.perf_counter(), 0, 0
        first: Prediction | None = None
        for prediction in predictor.predictions(inputs):
            count += 1
            if prediction.error is not None:
                failed, first = failed + 1, first or prediction
            yield prediction
        return PredictionSummary(count, failed, time.perf_counter() - started, first)

    return Work(steps())


def write_features(
    request: PredictionRequest, inputs: Iterable[Any], layer: str, path: Path, device: str = "auto"
) -> PredictionSummary:
    """Write what a layer makes of each input.

    Args:
        request: the checkpoint.
        inputs: as `predict_with` takes them.
        layer: the name of a module, or `penultimate` for what goes into the last one.
        path: ends in .npy or .parquet.
        device: for the model.

    Raises:
        RequestError: there is no such layer.
        DlkitError: no input has features, or the file cannot be written.
    """
    from dlkit.app.features import LayerFeatures, write_vectors

    predictor = replace(request, views="one").open(device)
    features = LayerFeatures(predictor, layer)
    started = time.perf_counter()
    count, dimensions, failed = write_vectors(features.vectors(inputs), path)
    first = failed[0] if failed else None
    return PredictionSummary(count, len(failed), time.perf_counter() - started, first, dimensions)
