"""`dlkit entropy FILE --model RUN`: what is shown of a text under a GPT."""

from __future__ import annotations

from pathlib import Path

from dlkit.app.score import ALTERNATIVES, score_text
from dlkit.cli.console import Output
from dlkit.cli.entropy import surprisal_view as view
from dlkit.cli.entropy.input import require_input
from dlkit.cli.progress import reading
from dlkit.errors import RequestError


def show_scores(
    file: Path | None, model: str, context: int | None, stride: int | None, tokens: bool, page: Path | None,
    codecs: bool, prequential: bool, device: str, output: Output,
) -> None:  # fmt: skip
    """Print a text's tokens, where they are asked for, and its record."""
    require_input(file)
    if file is None and model == "-":
        raise RequestError("the text and RUN cannot both come from standard input", "name one of them")
    loud = not output.quiet
    shows = tokens and loud
    scoring = score_text(
        file, model, context=context, stride=stride, alternatives=ALTERNATIVES if shows else 0, surprisal=page,
        codecs=codecs and loud, prequential=prequential and loud, exact=output.quiet, device=device,
    )  # fmt: skip
    shown: view.TokenView | None = view.TokenView(output) if shows and page is None else None
    with reading(output.quiet):
        for event in output.without_remarks(scoring):
            shown = shown or view.TokenView(output)
            shown.add(event.record)
    record = scoring.result()
    if shown is not None:
        shown.finish()
    output.emit(record, record.get("bits_per_byte"), lambda: view.summary_table(record))
