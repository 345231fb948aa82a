"""The texts of a labelled data set without their labels: what a model is pre-trained on before it learns from them."""

from __future__ import annotations

from typing import Literal

from dlkit.data.text import glue
from dlkit.data.text.corpus import Corpus, Text, corpus
from dlkit.data.text.labelled import Examples
from dlkit.data.text.pydoc import pydoc


def running_text(examples: Examples) -> Text:
    """Texts one a line, the first ones and then the second ones."""
    return Text.of("\n".join((*examples.first, *(examples.second or ()))) + "\n")


def sentences(*, of: Literal["sst2", "imdb"], manual: bool = True) -> Corpus:
    """The texts of a data set as running text, for masked or causal language models. Its test texts are left out.

    Args:
        of: which data set.
        manual: put the reference manual of Python (pydoc) before the training texts.

    Raises:
        DlkitError: the data set is not here; the hint is the command that downloads it.
    """
    data = (glue.sst2 if of == "sst2" else glue.imdb)()
    parts = {name: running_text(data.splits[name]) for name in ("train", "val")}
    if manual:
        parts["train"] = Text((*pydoc().splits["train"].spans, *Text.of("\n").spans, *parts["train"].spans))
    return corpus(f"sentences of {of}", parts, data=data.sources)
