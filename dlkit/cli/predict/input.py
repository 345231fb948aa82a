"""Where the inputs of `dlkit predict` come from: arguments, a table, standard input."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dlkit.app.predict import PredictionRequest, named_inputs
from dlkit.data import new_rows
from dlkit.data.tables.dialect import dialect_request
from dlkit.errors import DlkitError, RequestError, shell_word
from dlkit.lines import lines_as_they_come

_PIPED = {
    "images": "find photos -name '*.jpg' | dlkit predict {run} -",
    "rows": "dlkit predict {run} - < new.csv",
    "text": "dlkit predict {run} - < texts.txt",
}


def given_inputs(request: PredictionRequest, run: str, inputs: Sequence[str], rows: str | None) -> Iterable[Any]:
    """The inputs that a command line names, opened as far as it takes to know that they are there.

    Args:
        request: says what the run reads.
        run: as it was given.
        inputs: the arguments.
        rows: a table, or `-`.

    Raises:
        RequestError: there are none, or not such as the run reads; standard input is to be two things.
        DlkitError: one is not there.
    """
    if rows is not None and request.kind == "images":
        raise RequestError(
            f"--rows {rows}: {request.run} is a run of images", f"dlkit predict {shell_word(run)} IMAGE_OR_FOLDER"
        )
    names = [*inputs, *([rows] if rows is not None else [])]
    piped = "-" in names or (not names and run != "-" and not sys.stdin.isatty())
    if run == "-" and piped:
        raise RequestError("RUN and INPUT cannot both come from standard input", "name one of them")
    if piped and len(names) > 1:
        raise RequestError("- stands beside other inputs", "give names, or - alone to read a pipe")
    if piped:
        return _after_the_first(_from_pipe(request, rows is not None), request)
    if not names:
        example = _PIPED[request.kind].format(run=shell_word(run))
        raise RequestError("no INPUT to predict", f"name some, or pipe them in: {example}")
    if request.kind != "text":
        return named_inputs(request, names)
    gone = next((name for name in inputs if not _is_text(name) and not os.path.lexists(name)), None)
    if gone is not None:
        one_word = (
            f"a text of one word comes through a pipe: echo {shell_word(gone)} | dlkit predict {shell_word(run)} -"
        )
        raise DlkitError(f"no such file: {gone}", one_word)
    texts = [name if _is_text(name) else Path(name) for name in inputs]
    table = iter(()) if rows is None else new_rows.rows_of_file(Path(rows))
    return itertools.chain(named_inputs(request, texts), table)


def _is_text(argument: str) -> bool:
    """Whether an argument is a text itself and not the name of a file: it has a space, and there is no such file."""
    return any(c.isspace() for c in argument) and not os.path.lexists(argument)


def _from_pipe(request: PredictionRequest, table: bool) -> Iterator[Any]:
    if request.kind == "images":
        return _paths(lines_as_they_come(sys.stdin.buffer))
    if table or request.kind == "rows":
        return new_rows.rows_of_pipe(sys.stdin.buffer, dialect_request(request.recipe.values["data"]))
    return new_rows.texts_of_pipe(sys.stdin.buffer)


def _paths(lines: Iterable[bytes | None]) -> Iterator[str | None]:
    """One path a line, or each ended by a NUL as `find -print0` writes them; empty lines are left out."""
    for line in lines:
        if line is None:
            yield None
        else:
            yield from (os.fsdecode(path) for path in line.split(b"\0") if path)


def _after_the_first(items: Iterator[Any], request: PredictionRequest) -> Iterator[Any]:
    """The same, with the first one waited for now, before torch is imported. Raises RequestError if there is none."""
    first = next((item for item in items if item is not None), None)
    if first is None:
        example = _PIPED[request.kind].format(run=shell_word(request.run))
        raise RequestError("nothing to predict on standard input", f"pipe it in: {example}")
    return itertools.chain([first], items)
