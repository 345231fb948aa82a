"""The paper that a component is from, as its docstring cites it: `He et al., arXiv:1512.03385`."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from typing import Any

from dlkit.catalog import import_object

_AUTHOR = r"[A-Z][a-z]+(?:[-']?[A-Z]?[a-z]+)*"
_YEAR, _ARXIV = r"(?:18|19|20)\d\d", r"arXiv:\d{4}\.\d{4,5}"
_CITATION = re.compile(
    rf"(?:(?P<label>[\w-]+): )?"
    rf"(?P<text>{_AUTHOR}(?:, {_AUTHOR})*(?: & {_AUTHOR})?(?: et al\.)?,? (?:{_YEAR}(?:, {_ARXIV})?|{_ARXIV}))"
)


def paper_of(target: str, name: str) -> str | None:
    """The first citation in the docstring of a constructor, without its Args, or else in its module's.

    Where a module's has labels, as in `GPT-1: Radford et al. 2018; GPT-2: Radford et al. 2019`, the one that `name`
    begins with goes first.
    """
    constructor: Any = import_object(target)
    function = constructor.func if isinstance(constructor, functools.partial) else constructor
    own = (inspect.getdoc(function) or "").partition("\nArgs:")[0]
    module = inspect.getdoc(sys.modules[function.__module__]) or ""
    for text in (own, module) if function.__module__.startswith("dlkit.") else ():
        found = list(_CITATION.finditer(" ".join(text.split())))
        labelled = [match for match in found if match["label"] and _begins(name, match["label"])]
        if found:
            return (labelled or found)[0]["text"]
    return None


def _begins(name: str, label: str) -> bool:
    return re.sub(r"\W|_", "", name).lower().startswith(re.sub(r"\W|_", "", label).lower())
