"""Predictions as they come: a line of JSON, the label alone, or on a terminal a row with a bar."""

from __future__ import annotations

import shutil
from typing import Any

from dlkit.app.prediction import Prediction
from dlkit.cli.console import Output, escaped
from dlkit.strict_json import json_text

_LONGEST_NAME, _SHORTEST_NAME, _LONGEST_LABEL, _LONGEST_BAR = 60, 12, 24, 24  # columns


class PredictionView:
    """Shows predictions one by one.

    Args:
        output: of the command.
        top: how many classes a row of the terminal names; None for the first alone.
        kind: of the inputs; long names of images are cut at the beginning.
    """

    def __init__(self, output: Output, top: int | None, kind: str) -> None:
        self.output, self.top, self.paths = output, top or 1, kind == "images"
        self._console: Any = None

    def show(self, prediction: Prediction) -> None:
        """Print one prediction."""
        if self.output.quiet:
            value = prediction.label if prediction.value is None else prediction.value
            self.output.line("" if value is None or prediction.error is not None else str(value))
        elif self.output.tables:
            self._row(prediction)
        else:
            self.output.line(json_text(prediction.record()))

    def _row(self, prediction: Prediction) -> None:
        from rich.console import Console
        from rich.text import Text

        if self._console is None:
            self._console = Console(width=shutil.get_terminal_size().columns)
        lines = prediction_lines(prediction, self.top, self._console.width, self.paths)
        self._console.print(Text("\n").join(lines), soft_wrap=True)


def prediction_lines(prediction: Prediction, top: int, width: int, paths: bool = True) -> list[Any]:
    """The lines of a prediction on a terminal: the name, and a class, its probability and a bar on each line.

    Where the terminal is too narrow for all of them, the name has a line of its own. Names are cut, numbers never: of a
    row that is too long the first columns are shown, each whole.
    """
    from rich.text import Text

    name = escaped(prediction.shown)
    fitted = _end if paths else _beginning if isinstance(prediction.input, str) else _columns
    if prediction.error is not None:
        return [
            Text.assemble(fitted(name, min(_LONGEST_NAME, width)).rstrip(), "  ", (escaped(prediction.error), "red"))
        ]
    if prediction.value is not None:
        return [Text.assemble((fitted(name, min(_LONGEST_NAME, width // 2)), "bold"), f"  {prediction.value:.6g}")]
    bar_width, label_width = min(_LONGEST_BAR, width // 5), min(_LONGEST_LABEL, 3 * width // 10)
    room = min(_LONGEST_NAME, width - label_width - bar_width - 12)  # 6 of the number, 2 between columns
    own_line = room < _SHORTEST_NAME
    if own_line:
        label_width = max(4, width - bar_width - 12)
    lines = [Text(fitted(name, width), "bold")] if own_line else []
    for rank, (label, probability) in enumerate(prediction.top[:top]):
        sure = rank > 0 or prediction.label is not None
        line = Text() if own_line else Text.assemble((fitted("" if rank else name, room), "bold"))
        line.append("  " + _beginning(escaped(label), label_width), "" if rank else "bold cyan" if sure else "dim")
        line.append(f"  {probability:6.4f}  ")
        line.append("━" * round(probability * bar_width), "cyan" if sure else "dim")
        lines.append(line)
    return lines


def _end(text: str, width: int) -> str:
    """The text in `width` columns of a terminal; of one that is too long the end."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return set_cell_size(text, width)
    text = text[-width:]
    while cell_len(text) > width - 1:
        text = text[1:]
    return set_cell_size("…" + text, width)


def _beginning(text: str, width: int) -> str:
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, width - 1) + "…"


def _columns(text: str, width: int) -> str:
    """The beginning of `a=1, b=2` up to a comma; of a first column that is too long nothing."""
    from rich.cells import cell_len, set_cell_size

    parts, more = text.split(", "), "…"
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    while parts and cell_len(", ".join([*parts, more])) > width:
        parts.pop()
    return set_cell_size(", ".join([*parts, more]), width)


def written_table(record: dict[str, Any]) -> Any:
    """Of a table that was written: where it is, and how many inputs are in it."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for name in ("run", "out", "layer", "inputs", "failed", "dimensions"):
        if name in record:
            table.add_row(Text(name, style="bold"), Text(str(record[name])))
    return table
