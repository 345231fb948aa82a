"""`dlkit entropy FILE --model RUN`: what is shown of a text under a GPT, and the page of its surprisal."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from dlkit.app.score import score_text
from dlkit.cli.console import Output, note
from dlkit.cli.entropy import surprisal_view as view
from dlkit.cli.entropy.input import require_input
from dlkit.cli.progress import reading
from dlkit.errors import RequestError

ALTERNATIVES = 5
MOST_ON_PAGE = 50_000  # tokens


def show_scores(
    file: Path | None, model: str, context: int | None, stride: int | None, tokens: bool, page: Path | None,
    codecs: bool, prequential: bool, device: str, output: Output,
) -> None:  # fmt: skip
    """Print a text's tokens, where they are asked for, and its record; the page is there before either."""
    require_input(file)
    if file is None and model == "-":
        raise RequestError("the text and RUN cannot both come from standard input", "name one of them")
    loud = not output.quiet
    scoring = score_text(
        file, model, context=context, stride=stride, alternatives=ALTERNATIVES if tokens or page else 0,
        codecs=codecs and loud, prequential=prequential and loud, exact=output.quiet, device=device,
    )  # fmt: skip
    on_page: list[dict[str, Any]] = []
    shows = tokens and loud
    shown = view.TokenView(output) if shows and page is None else None
    with tempfile.TemporaryFile("w+", encoding="ascii") as held:  # what is to be printed once the page is there
        with reading(output.quiet):
            for event in output.without_remarks(scoring):
                if shown is not None:
                    shown.add(event.record)
                elif shows:
                    held.write(json.dumps(event.record) + "\n")
                if page is not None and len(on_page) < MOST_ON_PAGE:
                    on_page.append(event.record)
            record = scoring.result()
        if page is not None:
            from dlkit.information.surprisal_page import write_surprisal_page

            write_surprisal_page(page, record, on_page)
            record["page"] = str(page)
            if len(on_page) < record["n"]:
                note(f"{page} shows the first {len(on_page):,} of {record['n']:,} tokens")
        if shows and shown is None:
            held.seek(0)
            shown = view.TokenView(output)
            for line in held:
                shown.add(json.loads(line))
    if shown is not None:
        shown.finish()
    output.emit(record, record.get("bits_per_byte"), lambda: view.summary_table(record))
