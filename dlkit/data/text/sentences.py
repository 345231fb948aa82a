"""The texts of a labelled data set without their labels, to pre-train a model on before it is fine-tuned on them."""

from __future__ import annotations

from typing import Literal

from dlkit.data.text import glue
from dlkit.data.text.corpus import Corpus, Text, make_corpus
from dlkit.data.text.labelled import Examples
from dlkit.data.text.pydoc import pydoc


def running_text(examples: Examples) -> Text:
    """The texts of examples, one per line: all first texts, then all second texts."""
    return Text.of("\n".join((*examples.first, *(examples.second or ()))) + "\n")


def sentences(*, of: Literal["sst2", "imdb"], manual: bool = True) -> Corpus:
    """The texts of a data set as running text, for masked or causal language models, without its test split.

    Args:
        of: the data set.
        manual: put Python's language reference (pydoc) before the training texts.

    Raises:
        DlkitError: the data set is not here; the hint is the command that downloads it.
    """
    data = (glue.sst2 if of == "sst2" else glue.imdb)()
    splits = {name: running_text(data.splits[name]) for name in ("train", "val")}
    if manual:
        splits["train"] = Text((*pydoc().splits["train"].spans, *Text.of("\n").spans, *splits["train"].spans))
    return make_corpus(f"sentences of {of}", splits, data=data.sources)
