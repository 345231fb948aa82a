"""How surprisal looks on a terminal: the text on a scale of colours, and the totals."""

from __future__ import annotations

import sys
from typing import Any

from dlkit.cli.console import Output, is_plain, printable
from dlkit.cli.entropy.view import facts_table, sizes
from dlkit.information.surprisal_page import THRESHOLDS, colour_level, display_text

# Background and text of each step of the scale, light to dark, as on a light page; the first step has none.
_COLOURS = (
    "",
    "#000000 on #fff7bc",
    "#000000 on #fee391",
    "#000000 on #fec44f",
    "#000000 on #fe9929",
    "#ffffff on #cc4c02",
    "#ffffff on #662506",
)


class TokenView:
    """Token by token: a record each in a pipe, coloured text on a terminal, a row each where there are no colours."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.console: Any = None
        if output.tables:
            from rich.console import Console

            self.console = Console(highlight=False, soft_wrap=True)
            self.rows = is_plain(sys.stdout)
            self._head()

    def _head(self) -> None:
        from rich.text import Text

        if self.rows:
            self.console.print(Text(f"{'bits':>7}  {'rank':>6}  token"))
            return
        legend = Text("bits ")
        for bits, colour in zip(THRESHOLDS, _COLOURS, strict=True):
            legend.append(f" {bits}+ ", colour)
        self.console.print(legend, "\n")

    def add(self, token: dict[str, Any]) -> None:
        if self.console is None:
            self.output.emit(token, None, lambda: None)
            return
        from rich.text import Text

        if self.rows:
            shown = printable(token["text"]).replace("\n", "\\n").replace("\t", "\\t")
            self.console.print(Text(f"{token['bits']:7.2f}  {token['rank'] or '-':>6}  {shown}"))
            return
        step = colour_level(token["bits"])
        # the sign for a line break shows how much of a surprise that was; where it was none, it can go
        shown = display_text(token["text"]) if step else printable(token["text"])
        self.console.print(Text(shown, _COLOURS[step]), end="")

    def finish(self) -> None:
        if self.console is not None:
            self.console.print("\n")


def summary_table(record: dict[str, Any]) -> Any:
    """The totals of a text under a model, with their intervals, from its record."""
    convention, interval = record["convention"], record["interval"]

    def spread(name: str) -> str:
        between = record[f"{name}_interval"]
        return "" if between is None else f"  ({between[0]:.4f} to {between[1]:.4f})"

    exact = "left_out" not in record
    facts = [
        ("model", record["run"]),
        *([("bits per byte", f"{record['bits_per_byte']:.4f}{spread('bits_per_byte')}")] if exact else []),
        ("bits per token", f"{record['bits_per_token']:.4f}{spread('bits_per_token')}"),
        ("text", f"{record['bytes']:,} bytes, {record['n']:,} tokens"),
        ("convention", f"context {convention['context']}, stride {convention['stride']} tokens"),
        ("first token", convention["first_token"]),
        ("bytes", convention["bytes"]),
    ]
    if interval is not None:
        blocks = f"{interval['method']}, blocks of {interval['block_tokens']:,} tokens"
        facts.append((f"{interval['level']:.0%} interval", blocks))
    if exact:
        facts += [
            ("payload", f"{record['payload_bytes']:,} bytes (ideal code length)"),
            ("payload + model", f"{record['total_bytes']:,} bytes"),
        ]
    return facts_table(facts + sizes(record))
