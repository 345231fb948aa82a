"""The texts of a data set of the Hugging Face Hub as running text, for language models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from dlkit.annotations import HubPath, Rate
from dlkit.data.hub.columns import TEXT, require_hub_column
from dlkit.data.hub.labelled_splits import hub_sources
from dlkit.data.hub.opened import HubData, open_hub_data
from dlkit.data.hub.splits import choose_splits
from dlkit.data.text.corpus import Corpus, Span, Text, make_corpus
from dlkit.errors import DlkitError, RequestError

_AT_ONCE = 1024  # rows


@dataclass(frozen=True)
class RowSpan(Span):
    """The texts of rows that are mapped into memory, a line break after each that does not end with one.

    `rows` is a `datasets.Dataset` with one column, as Arrow; `start` is 0, `stop` the length in bytes.
    """

    rows: Any = None

    def blocks(self) -> Iterator[bytes]:
        for batch in self.rows.iter(_AT_ONCE):
            texts = batch.column(0).cast(pa.large_binary()).to_pylist()
            yield b"".join(text if text.endswith(b"\n") else text + b"\n" for text in texts)


def hub_text(
    *,
    path: HubPath,
    config: str | None = None,
    split: str | None = None,
    text: str | None = None,
    test: Rate = 0.0,
    validation: Rate = 0.1,
) -> Corpus:
    """The texts of a column of a data set in the Hub's layout, a line break after each, read in pieces.

    Its splits are train, val and test by their names. It may be larger than memory.

    Args:
        path: OWNER/NAME as `dlkit download hf:OWNER/NAME` has fetched it, perhaps with @REVISION; or a folder in the
            Hub's layout, or one that `save_to_disk` wrote.
        config: the configuration, where the data set has several.
        split: the only split to take; null for all that are called after train, validation or test.
        text: the column of the text; null for the only one.
        test: share of the training rows, from the end, held out as "test", where there is no test split.
        validation: share of the training rows before these held out as "val", where there is no validation split.

    Raises:
        RequestError: there is no such configuration, split or column, or it holds something else.
        DlkitError: the data set is not here, or damaged; texts are missing; a split would be empty.
    """
    if validation + test >= 1:
        raise RequestError(f"validation: {validation} and test: {test} leave nothing for training")
    data = open_hub_data(path, config)
    column = require_hub_column(data, "text", text, (TEXT,), ("text", "sentence"))
    chosen = choose_splits(data, split, complete=True)
    read = data.rows([column])
    for name, source in list(chosen.names.items()):
        _require_texts(data, source, read[source], column)
        if not len(read[source]) and name != "train":
            chosen.leave_out(name, "no rows")
    rows = {name: read[source] for name, source in chosen.names.items()}
    training = rows["train"]
    held = {"val": 0.0 if "val" in rows else validation, "test": 0.0 if "test" in rows else test}
    end = len(training)
    for name in ("test", "val"):
        begin = end - round(held[name] * len(training))
        if held[name]:
            rows[name] = training.select(range(begin, end))
        end = begin
    rows["train"] = training.select(range(end))
    for name, of in rows.items():
        if not len(of):
            raise DlkitError(f"{data.shown}: {len(training)} rows are too few: none is left for {name!r}")
    splits = {name: _text(rows[name]) for name in ("train", "val", "test") if name in rows}
    sizes = {name: of.size for name, of in splits.items()}
    sources = hub_sources(data, chosen, sizes, (column,), f"text {column!r}", " bytes")
    return make_corpus(data.place.shown.rpartition("/")[2], splits, **sources)


def _require_texts(data: HubData, split: str, rows: Any, column: str) -> None:
    """Raise DlkitError if a row has no text."""
    missing = rows[:].column(0).is_null().to_numpy()
    if missing.any():
        raise DlkitError(
            f"{data.shown}, split {split!r}: {missing.sum()} rows have no text in {column!r}, "
            f"the first is row {int(np.argmax(missing)) + 1}",
            "remove these rows",
        )


def _text(rows: Any) -> Text:
    length = sum(map(len, RowSpan(b"", 0, 0, rows).blocks()))
    return Text((RowSpan(b"", 0, length, rows),))
