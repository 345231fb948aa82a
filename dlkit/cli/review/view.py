"""What a review shows: a record a claim in a pipe, a line a claim on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlkit.cli.written_table import WrittenTable, table_of
from dlkit.review.claim import VERDICTS, Claim
from dlkit.review.evidence import evidence_of

COLORS = {
    "supported": "green", "not supported": "yellow", "contradicted": "red", "cannot tell": "cyan", "error": "bold red",
}  # fmt: skip


def claim_table(claims: Sequence[Claim]) -> Any:
    """The claims by section."""
    from rich.table import Table
    from rich.text import Text

    table = Table("section", "claim", "what it says", box=None, pad_edge=False)
    section = ""
    for claim in claims:
        table.add_row(
            claim.section if claim.section != section else "", Text(claim.name, style="bold"), Text(claim.text)
        )
        section = claim.section
    return table


def written_claims(claims: Sequence[Claim]) -> WrittenTable:
    """The claims, what each says, and the paper that says so."""
    names = ("section", "claim", "text", "paper")
    return table_of([claim.described() for claim in claims], {name: name for name in names})


def written_verdicts(records: Sequence[dict[str, Any]]) -> WrittenTable:
    """The verdicts and the numbers behind them."""
    names = (
        "section", "claim", "verdict", "expect", "measure", "difference", "low", "high", "seeds", "deviation",
        "tolerance", "error",
    )  # fmt: skip
    return table_of(records, {name: name for name in names})


def verdict_table(records: Sequence[dict[str, Any]], summary: dict[str, Any]) -> Any:
    """The verdicts and the numbers behind them."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table("claim", "verdict", "measured", box=None, pad_edge=False)
    for record in records:
        found = record.get("verdict", "error")
        verdict = Text(found, style=COLORS[found])
        table.add_row(Text(record["claim"], style="bold"), verdict, Text(evidence_of(record)))
    counts = ", ".join(f"{summary[verdict]} {verdict}" for verdict in VERDICTS if summary[verdict])
    counts += f"{', ' * bool(counts)}{summary['errors']} without a verdict" if summary["errors"] else ""
    return Group(table, Text(f"{summary['claims']} claims: {counts}", style="bold"))
