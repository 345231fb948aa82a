"""Unlabelled texts and pairs of texts for a trained model, tokenized as in training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from dlkit import user_code
from dlkit.data.tables.table_file import join_names
from dlkit.data.text.labelled import Examples
from dlkit.data.text.padded_batches import SequenceBatches
from dlkit.data.text.text_columns import columns_of, plain_columns
from dlkit.errors import RequestError
from dlkit.recipe import Recipe
from dlkit.tasks.labelled_text_data import LabelledTextData
from dlkit.tasks.new_inputs import NewBatch, NewInputs, read_in_batches


class NewTexts(NewInputs):
    """Inputs are texts, for a run on single texts, or mappings from column names to texts.

    Args:
        recipe: of the run.
        saved: the description in its checkpoint.
        batch_size: texts per batch.

    Raises:
        RequestError: the run chooses among candidates.
    """

    pool = 16  # batches, whose texts are sorted by length together

    def __init__(self, recipe: Recipe, saved: dict[str, Any], batch_size: int) -> None:
        if user_code.is_reference(recipe.values["data"]["name"]):
            self.columns = plain_columns("text", "second" if saved["pairs"] else None)
        else:
            self.columns = columns_of(recipe.values["data"])
        self.data = described = LabelledTextData.described(recipe, saved)
        self.tokenizer = described.tokenizer
        self.batch_size = batch_size
        self.context: int = recipe.values["data"]["context"]

    def batches(self, inputs: Iterable[Any], device: torch.device, channels_last: bool) -> Iterator[NewBatch]:
        for items, readable, errors in read_in_batches(inputs, self.pool * self.batch_size):
            rows: list[dict[str, Any]] = []
            good: list[int] = []
            for position in readable:
                row = self._row(items[position])
                wrong = self.columns.missing(row)
                if wrong is not None:
                    errors[position] = f"column {wrong!r} has no text: {row.get(wrong)!r}"[:200]
                else:
                    rows.append(row)
                    good.append(position)
            yield NewBatch(items, self._encoded(rows, good, device) if rows else [], errors)

    def _encoded(self, rows: list[dict[str, Any]], positions: list[int], device: torch.device) -> list[Any]:
        first, second = self.columns.read({name: [row[name] for row in rows] for name in self.columns.names})
        examples = Examples(first, second, np.zeros(len(rows), dtype=np.int64))
        source = SequenceBatches(
            examples, self.tokenizer, device, 0, False, batch_size=self.batch_size, context=self.context
        )
        chosen = ([positions[i] for i in order] for order in source.order(0))
        return list(zip(chosen, source.epoch(0), strict=True))

    def _row(self, item: Any) -> dict[str, Any]:
        if isinstance(item, Mapping):
            return dict(item)  # pyright: ignore[reportUnknownArgumentType]
        if len(self.columns.names) > 1:
            raise RequestError(
                f"this run reads {join_names(self.columns.names)} of each example, not one text",
                "give a table with these columns: `rows` FILE.csv, .jsonl or .parquet, or `rows` - for a pipe",
            )
        return dict.fromkeys(self.columns.names, item)

    def require(self, item: Any) -> None:
        row = self._row(item)
        gone = [name for name in self.columns.names if name not in row]
        if gone:
            raise RequestError(
                f"the rows have no column {join_names(map(repr, gone))}; theirs are {join_names(row)}",
                f"the run reads {join_names(self.columns.names)}",
            )
