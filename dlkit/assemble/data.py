"""The data of a recipe: read for training, or by what a trained model knows; and which part of it is measured."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from dlkit.assemble.components import read_data
from dlkit.assemble.language import CorpusData, LabelledData, LanguageData
from dlkit.catalog import TEXT_TASKS
from dlkit.data.data_folder import data_folder
from dlkit.data.dataset import Dataset, Split
from dlkit.data.splits import name_unsplit as whole_splits
from dlkit.data.tables.table_file import join_names
from dlkit.errors import DlkitError, RequestError
from dlkit.recipe import Recipe

# Keys of `data` that name what is read.
_SOURCES = ("name", "config", "of", "path", "test_path", "validation_path")
# Keys that hold some of it out, or leave some of it away, and how they are set to take all.
_ALL = {"test": 0.0, "validation": 0.0, "per_class": None, "test_path": None, "validation_path": None}
_OWN_FILE = {"val": "validation_path", "test": "test_path"}  # split -> the source that it may have of its own


def load_data(recipe: Recipe, saved: dict[str, Any] | None = None, whole: bool = False) -> Dataset | LanguageData:
    """The recipe's data set, to be read as a checkpoint's description says, if one is given.

    Args:
        recipe: of the data.
        saved: the description.
        whole: whether nothing is held out of the data: it is one split, "all", unless it comes in splits of its own.

    Raises:
        DlkitError: it is missing or broken, or not of the classes, columns and shapes that the checkpoint knows.
    """
    if recipe.values["task"] in TEXT_TASKS:
        labelled = recipe.values["task"] == "text-classification"
        texts = LabelledData(recipe, saved) if labelled else CorpusData(recipe, data_folder() / "tokens", saved)
        if whole:
            texts.take_whole()
        return texts
    dataset: Dataset = read_data(recipe, saved)
    if whole:
        # the statistics are those of the run
        splits = whole_splits(dataset.splits)
        dataset = dataclasses.replace(dataset, splits=splits)
    return dataset if saved is None else _as_known(dataset, saved)


def _as_known(dataset: Dataset, saved: dict[str, Any]) -> Dataset:
    """A data set with the statistics and the numbers of the classes that a checkpoint knows; classes meet by name."""
    shape = list(dataset.input_shape)
    known, count = set(saved["classes"]), len(dataset.classes)
    there = [torch.bincount(split.targets, minlength=count) for split in dataset.splits.values()]
    rows = torch.stack(there).sum(0).tolist()
    strange = [name for name, some in zip(dataset.classes, rows, strict=True) if some and name not in known]
    if strange or shape != saved["input_shape"]:
        raise DlkitError(
            f"{dataset.name} has inputs of {tuple(shape)} and the classes {join_names(dataset.classes)}; the model was "
            f"trained on inputs of {tuple(saved['input_shape'])} and the classes {join_names(saved['classes'])}",
            "classes must have the same names; give the data that the run was trained on",
        )
    classes = tuple(saved["classes"])
    splits = dataset.splits
    if dataset.classes != classes:
        place = {name: number for number, name in enumerate(classes)}
        number = torch.tensor([place.get(name, -1) for name in dataset.classes])  # -1 of names that no example has
        splits = {name: Split(split.inputs, number[split.targets]) for name, split in splits.items()}
    mean, std = (torch.tensor(saved[key], dtype=dataset.mean.dtype) for key in ("mean", "std"))
    return dataclasses.replace(dataset, splits=splits, classes=classes, mean=mean, std=std)


def describe(dataset: Dataset | LanguageData) -> dict[str, Any]:
    """What a checkpoint must know about the data, to evaluate other data in the same way and to go on with the same."""
    content = {key: dataset.sources[key] for key in ("rows", "sha256") if key in dataset.sources}
    if isinstance(dataset, LanguageData):
        return {**dataset.description, "content": content}
    columns = dataset.columns and [{"name": name, "type": kind} for name, kind in dataset.columns.items()]
    return {
        "classes": list(dataset.classes),
        "input_shape": list(dataset.input_shape),
        "mean": dataset.mean.tolist(),
        "std": dataset.std.tolist(),
        **({"columns": columns} if columns else {}),
        "content": content,
    }


def require_same(dataset: Dataset | LanguageData, saved: dict[str, Any]) -> None:
    """Raise DlkitError unless the data is what a checkpoint was trained on: a run goes on with the same bytes."""
    now = json.loads(json.dumps(describe(dataset)))
    if "content" not in saved:  # of an earlier dlkit
        now = {key: value for key, value in now.items() if key in saved}
        if isinstance(dataset, Dataset) and dataset.columns:
            raise DlkitError(
                "the checkpoint does not say which columns it was trained on: an earlier dlkit wrote it",
                "train anew: dlkit train RECIPE",
            )
    for key, before in saved.items():
        if key in now and now[key] != before:
            raise DlkitError(
                f"the data has changed since the run began; {_difference(key, before, now[key])}",
                "put the earlier data back, or begin another run with this data: dlkit train RECIPE",
            )


def _difference(key: str, before: Any, now: Any) -> str:
    if key == "columns":
        before, now = (join_names(f"{one['name']} ({one['type']})" for one in columns) for columns in (before, now))
    elif key == "content" and before.get("rows") == now.get("rows"):
        return "it has other content in as many rows" if "rows" in now else "it has other content"
    elif key == "content":
        key, (before, now) = "rows", (_counts(content["rows"]) for content in (before, now))
    elif key == "classes":
        before, now = join_names(before), join_names(now)
    else:
        return "it has other content"
    return f"{key} before: {before}; now: {now}"


def _counts(rows: dict[str, int]) -> str:
    return ", ".join(f"{rows[split]} {split}" for split in ("train", "val", "test") if split in rows)


def changed_sources(recipe: Recipe, own: Recipe) -> list[str]:
    """Keys of `data` by which a recipe reads other data than its run did."""
    data, before = recipe.values["data"], own.values["data"]
    return [key for key in _SOURCES if _place(data.get(key)) != _place(before.get(key))]


def measured(recipe: Recipe, own: Recipe, split: str | None) -> tuple[Recipe, str | None, bool]:
    """What an evaluation measures: the recipe that reads it, the split, and whether the data is taken whole.

    Data that a run was not trained on is measured whole, whatever shares the recipe holds out of its own.

    Args:
        recipe: of the run with the changes that the user asks for.
        own: the run's own.
        split: as the user asks for it.
    """
    data, other = recipe.values["data"], changed_sources(recipe, own)
    if split not in (None, "all") or (split is None and not other):
        return recipe, split, False
    if split is None and other == ["validation_path"]:
        return recipe, "val", False
    if split is None and set(other) <= {"test_path", "validation_path"}:
        return recipe, None, False  # the rows of the other file are the test split
    kept = set(other) if split is None else set[str]()
    every = {key: value for key, value in _ALL.items() if key in data and key not in kept}
    return Recipe(recipe.name, recipe.path, {**recipe.values, "data": {**data, **every}}), split, True


def _place(value: Any) -> Any:
    """A path, however it is spelled, as the place it leads to."""
    return Path(value).resolve() if isinstance(value, str) and value else value


def extent(dataset: Dataset | LanguageData, split: str) -> dict[str, Any]:
    """Fields of a record: `path`, of which a split is `rows` or `bytes`, "all" or so many of how many; what of the file
    was left out, and remarks, where there are any."""
    if isinstance(dataset, CorpusData):
        unit, sizes = "bytes", {name: text.size for name, text in dataset.corpus.splits.items()}
    elif isinstance(dataset, LabelledData):
        unit, sizes = "rows", {name: len(examples.targets) for name, examples in dataset.data.splits.items()}
    else:
        assert isinstance(dataset, Dataset)
        unit, sizes = "rows", {name: len(examples.targets) for name, examples in dataset.splits.items()}
    path = _file(dataset, split)
    total = sum(size for name, size in sizes.items() if _file(dataset, name) == path)
    more = {key: dataset.sources[key] for key in ("left_out", "remarks") if dataset.sources.get(key)}
    return {"path": path, unit: "all" if sizes[split] == total else f"{sizes[split]} of {total}", **more}


def _file(dataset: Dataset | LanguageData, split: str) -> str | None:
    return dataset.sources.get(_OWN_FILE.get(split, ""), dataset.sources.get("path"))


def evaluated_splits(dataset: Dataset | LanguageData) -> list[str]:
    """The splits to evaluate on, the one to look at during training first: validation data where there is any."""
    return [name for name in ("val", "test") if name in dataset.splits]


def default_split(dataset: Dataset | LanguageData) -> str:
    """The split that a trained model is measured on: test data, or else validation data, or else all of other data."""
    return next((name for name in ("test", "val", "all") if name in dataset.splits), "val")


def require_split(dataset: Dataset | LanguageData, split: str) -> None:
    """Raise RequestError if the data set has no such split."""
    if split not in dataset.splits:
        raise RequestError(f"{dataset.name} has no split {split!r}", f"its splits: {', '.join(dataset.splits)}")
