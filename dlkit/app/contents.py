"""What a model will see before it is trained: classes, splits, what was left out, duplicates, lengths, columns, images.

`dlkit data`, and the line that `dlkit train` prints.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlkit.app.events import Remark, Work
from dlkit.app.required_files import require_data, require_weights
from dlkit.recipe import Recipe

if TYPE_CHECKING:
    from dlkit.tasks.task_data import TaskData


def examine_data(recipe: Recipe, sheet: Path | None = None) -> Work[Remark, dict[str, Any]]:
    """Read a recipe's data as training does; the result is the record that `dlkit data` prints.

    Args:
        recipe: names data and task. No model is made, and no weights are needed but where they bring a tokenizer.
        sheet: an SVG, PNG or PDF file for a contact sheet of images.

    Raises:
        RequestError: a contact sheet is asked for, and the data holds no images.
        DlkitError: the data is missing or broken.
    """
    require_data(recipe)
    require_weights(recipe)
    return Work(_examine(recipe, sheet))


def _examine(recipe: Recipe, sheet: Path | None) -> Generator[Remark, None, dict[str, Any]]:
    import torch

    from dlkit.data.examination.duplicates import find_duplicates
    from dlkit.tasks.task_data import load_data

    dataset = load_data(recipe)
    if sheet is not None:
        _draw(recipe, dataset, sheet)
    yield from map(Remark, dataset.sources.get("remarks", ()))
    statistics = dataset.statistics(recipe)
    batches = dataset.batches(recipe, "train", torch.device("cpu"), True)
    steps = -(-len(batches) // recipe.values["train"]["accumulate"])
    keyed = dataset.keyed_examples()
    return {
        "recipe": recipe.name,
        "task": recipe.values["task"],
        "data": recipe.values["data"]["name"],
        "path": dataset.sources.get("path"),
        "splits": {
            split: {dataset.unit: size, "classes": dataset.class_counts(split)} for split, size in dataset.sizes.items()
        },
        "classes": list(dataset.classes),
        "balance": _balance(dataset),
        "taken": dataset.sources.get("taken"),
        "left_out": dataset.sources.get("left_out") or {},
        "remarks": list(dataset.sources.get("remarks", ())),
        "duplicates": None if keyed is None else {"unit": dataset.example_unit, **find_duplicates(keyed)},
        **statistics,
        "batch_size": batches.batch_size,
        "steps_per_epoch": steps,
        "steps": recipe.values["train"]["steps"] or recipe.values["train"]["epochs"] * steps,
        "sha256": dataset.sources.get("sha256"),
        **({"sheet": str(sheet)} if sheet is not None else {}),
    }


def _balance(dataset: TaskData) -> dict[str, Any] | None:
    """The rarest and the most frequent class of the training split, and how many times more frequent the latter is."""
    counts = dataset.class_counts("train") or {}
    seen = {name: count for name, count in counts.items() if count}
    if not seen:
        return None
    least, most = min(seen, key=lambda name: seen[name]), max(seen, key=lambda name: seen[name])
    return {"least": [least, seen[least]], "most": [most, seen[most]], "ratio": round(seen[most] / seen[least], 2)}


def _draw(recipe: Recipe, dataset: TaskData, sheet: Path) -> None:
    from dlkit.data.examination.contact_sheet import COLUMNS, ROWS, draw_contact_sheet

    shown = {"train, augmented": dataset.sheet_images(recipe, "train", True, COLUMNS * ROWS)}
    split = next(iter(dataset.evaluated_splits), "train")
    shown[f"{split}, as evaluated"] = dataset.sheet_images(recipe, split, False, COLUMNS * ROWS)
    draw_contact_sheet(shown, sheet, f"{recipe.name}: {dataset.name}")


def contents_line(dataset: TaskData) -> str:
    """A one-line summary of the data, shown when training starts."""
    sizes = ", ".join(f"{split} {size:,}" for split, size in dataset.sizes.items())
    line = f"data: {dataset.name}: {sizes} {dataset.unit}{_columns_text(dataset)}"
    balance = _balance(dataset)
    if balance is None:
        return line
    return f"{line}; {len(dataset.classes)} classes, {balance_text(balance)} in train"


def _columns_text(dataset: TaskData) -> str:
    """Of a table: how many columns it has, how many of them of categories, and how many values were missing."""
    if not dataset.columns:
        return ""
    categories = sum(kind == "category" for kind in dataset.columns.values())
    missing = sum(dataset.sources.get("missing", {}).get("values", {}).values())
    line = f"; {len(dataset.columns)} column{'s' if len(dataset.columns) > 1 else ''}"
    line += f", {categories} of categories" if categories else ""
    return line + (f"; {missing:,} missing values" if missing else "")


def balance_text(balance: dict[str, Any]) -> str:
    """How many examples the rarest and the most frequent class have."""
    (least, few), (most, many) = balance["least"], balance["most"]
    return f"{few:,} of each" if few == many else f"from {few:,} of {least!r} to {many:,} of {most!r}"
