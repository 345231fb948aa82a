"""Passages of Python's language reference and the topics they are from: labelled texts that need no download."""

from __future__ import annotations

import hashlib

import numpy as np

from dlkit.data.text.labelled import Examples, LabelledTexts, make_labelled_texts
from dlkit.data.text.pydoc import read_topics

# The longest topics, each of which is about something else: class -> topic in `pydoc_data.topics`.
_TOPICS = {
    "compound statements": "compound", "debugger": "debugger", "format strings": "formatstrings",
    "mappings": "typesmapping", "sequences": "typesseq", "special methods": "specialnames",
    "string methods": "string-methods", "types": "types",
}  # fmt: skip
_SHORTEST = 60  # characters of a passage; less is a heading or a line of code
_SALT = "dlkit passages"


def passages() -> LabelledTexts:
    """Paragraphs of eight topics of `pydoc_data.topics` as "train", "val" and "test"; the class is the topic.

    White space is collapsed. A paragraph that several topics hold is left out. Its split depends on a hash of its text:
    about 70, 10 and 20 % of them. Python 3.11: 656, 95 and 210.

    Raises:
        DlkitError: this Python lacks the module.
    """
    topics = read_topics()
    classes = tuple(_TOPICS)
    found: dict[str, set[int]] = {}
    for index, name in enumerate(classes):
        for paragraph in topics[_TOPICS[name]].split("\n\n"):
            text = " ".join(paragraph.split())
            if len(text) >= _SHORTEST:
                found.setdefault(text, set()).add(index)
    splits: dict[str, list[tuple[str, int]]] = {"train": [], "val": [], "test": []}
    for text, owners in found.items():
        if len(owners) == 1:
            splits[_split_of(text)].append((text, owners.pop()))
    return make_labelled_texts(
        "passages",
        {
            split: Examples([text for text, _ in rows], None, np.array([label for _, label in rows], np.int64))
            for split, rows in splits.items()
        },
        classes,
        sources={},
    )


def _split_of(text: str) -> str:
    position = int.from_bytes(hashlib.sha256(f"{_SALT} {text}".encode()).digest()[:8], "big") / 2**64
    return "train" if position < 0.7 else "val" if position < 0.8 else "test"
