"""The numbers behind a verdict, in words. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dlkit.errors import shell_word


def evidence_of(record: Mapping[str, Any]) -> str:
    """The numbers of a claim's record in a line, or the error that there is in place of them."""
    if "error" in record:
        return f"failed: {record['error']}"
    if record["kind"] == "property":
        return f"largest deviation {record['deviation']:.2g} over {record['draws']} draws"
    if record["difference"] is None:
        return f"{record['expect']} in {record['measure']}: a run diverged"
    text = (
        f"{record['expect']} in {record['measure']}: by {record['difference']:.3g} "
        f"({record['low']:.3g} to {record['high']:.3g}), {record['seeds']} seeds"
    )
    if record["verdict"] == "cannot tell" and record["seeds_needed"]:
        text += f"; about {record['seeds_needed']} seeds would tell {record['smallest']:g}"
    return text


def command_of(record: Mapping[str, Any], shipped: bool) -> str:
    """The command that runs the claim again; one of the user's own by its file."""
    name = record["claim"] if shipped else record["path"]
    seeds = f" --seeds {record['seeds']}" if "seeds" in record else ""
    full = " --full" if record.get("full") else ""
    return f"dlkit review run {shell_word(name)}{full}{seeds}"
