"""The verdicts in recipes/README.md, made from the records of a review.

dlkit review run --all --out review && python tests/docs/review_table.py review/review.jsonl "2 cores of ..."
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlkit.review.claim import VERDICTS

PAGE = Path(__file__).parents[2] / "recipes" / "README.md"
BEGIN, END = "<!-- verdicts: begin -->\n", "<!-- verdicts: end -->\n"


def table(records: Sequence[dict[str, Any]], measured_on: str) -> str:
    """A sentence on the properties, and a row for each experiment."""
    properties = [record for record in records if record["kind"] == "property"]
    experiments = [record for record in records if record["kind"] == "arms"]
    held = sum(record["verdict"] == "supported" for record in properties)
    counts = ", ".join(
        f"{count} {verdict}" for verdict in VERDICTS if (count := [r["verdict"] for r in experiments].count(verdict))
    )
    level = f"{100 * experiments[0]['level']:.4g} %"
    return "\n".join([
        f"Of {len(properties)} exact properties {held} held. Of {len(experiments)} experiments: {counts}. The "
        f"intervals are at {level} each, which is 95 % for all of them together ({measured_on}).",
        "",
        "| claim | says | verdict | difference (interval) | matters from | seeds |",
        "| --- | --- | --- | --- | --- | --- |",
        *map(row, experiments),
        "",
    ])  # fmt: skip


def row(record: dict[str, Any]) -> str:
    if record["difference"] is None:
        found = "a run diverged"
    else:
        found = f"{record['difference']:.3g} ({record['low']:.3g} to {record['high']:.3g})"
    link = f"[`{record['claim']}`](review/{record['claim']}.yaml)"
    says = f"{record['text']}<br>`{record['expect']}` in `{record['measure']}`"
    return f"| {link} | {says} | {record['verdict']} | {found} | {record['smallest']:g} | {record['seeds']} |"


def updated(page: str, verdicts: str) -> str:
    """The page with these verdicts between its marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE} has no place for the verdicts")
    return f"{before}{begin}\n{verdicts}\n{end}{after}"


if __name__ == "__main__":
    lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    verdicts = table([json.loads(line) for line in lines], sys.argv[2])
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8"), verdicts), encoding="utf-8")
