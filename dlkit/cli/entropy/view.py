"""How `dlkit entropy` shows its records: tables on a terminal."""

from __future__ import annotations

import math
from typing import Any

from dlkit.information.units import unit_of


def stream_table(record: dict[str, Any]) -> Any:
    """The facts and the entropies by order of a stream, from its record."""
    from rich.console import Group
    from rich.table import Table

    unit, facts = unit_of(record["base"]), [(record["symbols"], f"{record['n']:,}, {record['distinct']:,} different")]
    if "mean" in record and record["n"]:
        facts += [
            ("mean", f"{record['mean']:.4f} (127.5 if random)"),
            ("chi square", f"{record['chi_square']:,.2f} (p = {record['chi_square_p']:.4g} if random)"),
            (
                "serial correlation",
                "none" if math.isnan(record["serial_correlation"]) else f"{record['serial_correlation']:.6f}",
            ),
        ]
    facts += sizes(record)
    orders = Table("order", f"entropy ({unit})", "Miller-Madow", "contexts", box=None, pad_edge=False)
    for column in orders.columns:
        column.justify = "right"
    for o in record["orders"]:
        orders.add_row(str(o["order"]), f"{o['entropy']:.6f}", f"{o['corrected']:.6f}", f"{o['contexts']:,}")
    return Group(facts_table(facts), orders, *([code_table(record["code"])] if "code" in record else []))


def measures_table(record: dict[str, Any]) -> Any:
    """The measures of a distribution, from its record."""
    from rich.console import Group

    unit = unit_of(record["base"])
    skipped = ("base", "form", "infinite", "code", "row", "label", "outcomes", "rows", "columns")
    title = record.get("label") or (f"row {record['row']}" if "row" in record else None)
    facts = [("distribution", title)] if title else []
    for name, value in record.items():
        if name not in skipped:
            facts.append((name.replace("_", " "), f"{value:.6f}" + ("" if name == "perplexity" else f" {unit}")))
    return Group(facts_table(facts), *([code_table(record["code"])] if "code" in record else []))


def check_table(record: dict[str, Any]) -> Any:
    """Whether code words are prefix-free and uniquely decodable, from the record of a check."""
    facts = [("Kraft sum", f"{record['kraft_sum']:.6g}")]
    clash = record.get("prefix")
    facts.append(("prefix-free", f"no: {clash[0]}'s word begins {clash[1]}'s" if clash else "yes"))
    found = record.get("ambiguous")
    if found:
        facts.append(
            ("uniquely decodable", f"no: {found['bits']} is {' '.join(found['first'])} or {' '.join(found['second'])}")
        )
    else:
        facts.append(("uniquely decodable", "yes"))
    if "expected_length" in record:
        facts.append(
            ("expected length", f"{record['expected_length']:.6f} bits (entropy {record['entropy_bits']:.6f})")
        )
    return facts_table(facts)


def code_table(record: dict[str, Any]) -> Any:
    """A code: its expected length in bits, and its words, the most probable symbol first."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    facts = [
        ("code", record["name"]),
        ("expected length", f"{record['expected_length']:.6f} bits"),
        ("redundancy", f"{record['redundancy']:.6f} bits"),
        ("Kraft sum", f"{record['kraft_sum']:.6g}"),
    ]
    if "words" not in record:
        return facts_table(facts)
    table = Table(
        "symbol", "p", "length", *(["word"] if record["words"] and "word" in record["words"][0] else []), box=None
    )
    for word in sorted(record["words"], key=lambda word: -word["p"]):
        shown = Text(word["symbol"] if word["symbol"].isprintable() else repr(word["symbol"])[1:-1])
        rest = [Text(word["word"])] if "word" in word else []
        table.add_row(shown, f"{word['p']:.6g}", f"{word['length']:.6g}", *rest)
    return Group(facts_table(facts), table)


def sizes(record: dict[str, Any]) -> list[tuple[str, str]]:
    """The sizes as rows of a table."""
    from dlkit.information.compressors import COMPRESSOR_OPTIONS

    def size(count: int) -> str:
        return f"{count:,} bytes, {8 * count / max(record['bytes'], 1):.4f} bits per byte"

    rows: list[tuple[str, str]] = []
    if "prequential_bytes" in record:
        rows.append(("prequential", f"{size(record['prequential_bytes'])}, no model sent"))
    codecs: dict[str, int] = record.get("codecs", {})
    return rows + [(f"{name} {COMPRESSOR_OPTIONS[name]}", size(count)) for name, count in codecs.items()]


def facts_table(facts: list[tuple[str, Any]]) -> Any:
    """Names and values in two columns without a header."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in facts:
        table.add_row(Text(name, style="bold"), Text(str(value)))
    return table
