"""Which columns of a table are the texts of an example, and how they become one text or two."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dlkit.data.registry import DATASETS, Column
from dlkit.errors import RequestError

Rows = dict[str, list[Any]]  # column -> values


@dataclass(frozen=True)
class TextColumns:
    """Columns by name, and what makes the first and the second texts of their values."""

    names: tuple[str, ...]
    read: Callable[[Rows], tuple[list[str], list[str] | None]]

    def missing(self, row: Mapping[str, Any]) -> str | None:
        """The first column of which a row has no text (of an index: no number); None if it has all."""
        kinds = ((name, int if name.endswith("_index") else str) for name in self.names)
        return next((name for name, kind in kinds if not isinstance(row.get(name), kind)), None)


def plain_columns(first: str, second: str | None = None) -> TextColumns:
    """One column, or two for pairs, taken as they are."""
    names = (first,) if second is None else (first, second)
    return TextColumns(names, lambda rows: (rows[first], rows[second] if second else None))


def _multirc(rows: Rows) -> tuple[list[str], list[str]]:
    return rows["paragraph"], [f"{q} {a}" for q, a in zip(rows["question"], rows["answer"], strict=True)]


def _wic(rows: Rows) -> tuple[list[str], list[str]]:
    pairs = zip(rows["word"], rows["sentence1"], strict=True)
    return [f"{word}: {sentence}" for word, sentence in pairs], rows["sentence2"]


def _wsc(rows: Rows) -> tuple[list[str], list[str]]:
    """The text with asterisks around the pronoun, and the pronoun with what it may refer to."""
    marked: list[str] = []
    for text, index, pronoun in zip(rows["text"], rows["span2_index"], rows["span2_text"], strict=True):
        words = text.split(" ")
        if index < len(words):  # else there is nothing to mark, but the second text names the pronoun
            words[index] = words[index].replace(pronoun, f"* {pronoun} *", 1)
        marked.append(" ".join(words))
    return marked, [f"{b}: {a}" for a, b in zip(rows["span1_text"], rows["span2_text"], strict=True)]


def _columns(name: str, columns: Mapping[str, Column]) -> TextColumns:
    """Those of a downloadable data set: its columns of strings, in their order, unless they are listed here."""
    return _MARKED.get(name) or plain_columns(*(column for column, kind in columns.items() if kind == "string"))


# SuperGLUE's markers and questions become part of the text.
_MARKED = {
    "superglue/multirc": TextColumns(("paragraph", "question", "answer"), _multirc),
    "superglue/wic": TextColumns(("word", "sentence1", "sentence2"), _wic),
    "superglue/wsc": TextColumns(("text", "span1_text", "span2_text", "span2_index"), _wsc),
}
_CANDIDATES = ("superglue/copa", "superglue/record")
# Of the downloadable data sets to train on, but for those whose examples have several candidates.
TEXT_COLUMNS = {
    name: _columns(name, data.columns)
    for name, data in DATASETS.items()
    if data.form == "texts" and "train" in data.rows and name not in _CANDIDATES
}


def columns_of(data: Mapping[str, Any]) -> TextColumns:
    """The columns of the `data` section of a recipe. Raises RequestError where an example has several candidates."""
    if data["name"] == "texts":
        return plain_columns(data["text"], data["pair"])
    if data["name"] == "hub":
        return (
            plain_columns(data["text"], data["pair"]) if isinstance(data["text"], str) else plain_columns(*data["text"])
        )
    name = "/".join(filter(None, (data["name"], data.get("config"))))
    if name not in TEXT_COLUMNS:
        raise RequestError(
            f"a run of {name} chooses among candidates, which predict does not read", "dlkit eval measures it"
        )
    return TEXT_COLUMNS[name]
