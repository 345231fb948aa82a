"""The language reference that CPython ships for its `help()`: English text on every machine, without a download."""

from __future__ import annotations

import hashlib

from dlkit.data.text.corpus import Corpus, Text, corpus
from dlkit.errors import DlkitError

_SEPARATOR = "\n\n\n"
_SALT = "dlkit 19"  # one under which the large topics fall near 90/5/5


def pydoc() -> Corpus:
    """The text of `pydoc_data.topics` as "train", "val" and "test", whole topics, sorted by name.

    A topic's split is a hash of its name, so that it stays in its split from one version of Python to the next.
    Python 3.11: 79 topics, 466 kB: 420 kB, 19 kB and 27 kB.

    Raises:
        DlkitError: this Python comes without the module.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise DlkitError(
            "this Python has no module pydoc_data.topics, the text of its language reference",
            "some distributions leave it out of their minimal Python: install the full one",
        ) from error
    parts: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for name, text in sorted(topics.items()):
        parts[split_of(name)].append(text)
    return corpus("pydoc", {split: Text.of(_SEPARATOR.join(texts)) for split, texts in parts.items()})


def split_of(topic: str) -> str:
    """The split of a topic: "train" for 90 % of all names, "val" and "test" for 5 % each."""
    place = int.from_bytes(hashlib.sha256(f"{_SALT} {topic}".encode()).digest()[:8], "big") / 2**64
    return "train" if place < 0.9 else "val" if place < 0.95 else "test"
