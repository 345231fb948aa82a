"""Unlabelled rows for a trained model: columns are matched by name and standardized as in training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import torch

from dlkit.data.batch import ClassificationBatch
from dlkit.data.class_spelling import is_number, visible
from dlkit.data.dataset import standardize
from dlkit.data.tables.column_values import category_text, missing_texts
from dlkit.data.tables.csv_stream import DecimalCommaRow
from dlkit.data.tables.dialect import as_point
from dlkit.data.tables.table_file import join_names
from dlkit.errors import RequestError
from dlkit.recipe import Recipe
from dlkit.tasks.array_data import ArrayData, known_columns
from dlkit.tasks.new_inputs import NewBatch, NewInputs, read_in_batches
from dlkit.tasks.number_data import NumberData

_BOOLEANS = {"true": 1.0, "false": 0.0}


class NewRows(NewInputs):
    """Inputs are mappings from column names to numbers, booleans or text that spells one.

    Args:
        recipe: of the run.
        saved: the description in its checkpoint.
        batch_size: rows per batch.
    """

    of: type[ArrayData] = ArrayData  # what a run predicts

    def __init__(self, recipe: Recipe, saved: dict[str, Any], batch_size: int) -> None:
        self.data = self.of.described(saved)
        self.columns = known_columns(recipe, saved)
        self.batch_size = batch_size
        data = self.data.dataset
        self._mean, self._std = data.mean, data.std  # (F,) float64
        asked = recipe.values["data"]
        self._unknown: bool = asked.get("unknown") == "ignore"
        self._missing: bool = asked.get("missing") in ("mean", "median")
        self._stand_ins = data.stand_ins or dict(zip(self.columns, data.mean.tolist(), strict=True))
        self._categories = {
            name: {category: number for number, category in enumerate(categories, 1)}
            for name, categories in data.categories.items()
        }

    def batches(self, inputs: Iterable[Any], device: torch.device, channels_last: bool) -> Iterator[NewBatch]:
        for items, good, errors in read_in_batches(inputs, self.batch_size):
            values = np.empty((len(items), len(self.columns)))  # (n, F)
            for position in good:
                try:
                    values[position] = [self._value(items[position], name) for name in self.columns]
                except ValueError as error:
                    errors[position] = str(error)
            good = [position for position in good if position not in errors]
            rows = standardize(torch.from_numpy(values[good]), self._mean, self._std)  # (n, F) float32
            for index in (~rows.isfinite()).any(1).nonzero()[:, 0].tolist():
                errors[good[index]] = "a value is too far from the training rows' mean for float32"
            kept = [index for index, position in enumerate(good) if position not in errors]
            targets = torch.zeros(len(kept), dtype=torch.int64, device=device)
            batch = ClassificationBatch(rows[kept].to(device), targets)
            good = [position for position in good if position not in errors]
            yield NewBatch(items, [(good, batch)] if good else [], errors)

    def _value(self, row: Mapping[str, Any], name: str) -> float:
        """The model's input for a column. Raises ValueError, with a message for the user, if there is none."""
        if name not in self._categories:
            number = _number(row, name)
            if math.isnan(number) and self._missing:
                return self._stand_ins[name]
            if math.isnan(number):
                raise ValueError(f"column {name!r} has no value")
            return number
        category, known = category_text(row.get(name)), self._categories[name]
        if category in known:
            return known[category]
        if not visible(category) or category in missing_texts():
            if self._missing:
                return 0
            raise ValueError(f"column {name!r} has no value")
        if self._unknown:
            return 0
        raise ValueError(f"column {name!r} has a category that no training row has: {category[:80]!r}")

    def require(self, item: Any) -> None:
        gone = [name for name in self.columns if name not in item]
        if gone:
            raise RequestError(
                f"the rows have no column {join_names(map(repr, gone), 3)}; theirs are {join_names(item)}; "
                f"the run was trained on {join_names(self.columns)}",
                "columns are read by their names; their order and further ones do not matter",
            )


class NewNumberRows(NewRows):
    """`NewRows` for a run that predicts numbers."""

    of = NumberData


def _number(row: Mapping[str, Any], name: str) -> float:
    """The value of a column, NaN if missing; true is 1, false 0.

    Raises ValueError, with a message for the user, if it is not a number.
    """
    value = row.get(name)
    try:
        if isinstance(value, str):
            text = as_point(value.strip()) if isinstance(row, DecimalCommaRow) else value.strip()
            number = _BOOLEANS[text.lower()] if text.lower() in _BOOLEANS else _written(text)
        elif isinstance(value, (bool, int, float, Decimal)):
            number = float(value)
        elif value is None:
            number = math.nan
        else:
            raise ValueError
    except (ValueError, OverflowError):
        raise ValueError(f"column {name!r} is not a number: {str(value)[:80]!r}") from None
    if math.isinf(number):
        raise ValueError(f"column {name!r} is infinite")
    return number


def _written(text: str) -> float:
    """Parse a number as in training: Python's float would also accept 1_000 and digits of other scripts."""
    if text in missing_texts():
        return math.nan
    if not is_number(text):
        raise ValueError
    return float(text)
