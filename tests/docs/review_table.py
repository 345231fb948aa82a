"""The verdicts in README.md (how many, by section) and recipes/README.md (all), from the records of one review.

    dlkit review run --all --out review && python tests/docs/review_table.py review/review.jsonl ["2 cores of ..."]

Run it on the machine that ran the review: hardware, unless it is given, and versions are those of this machine, and the
date is that of the records' file.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from dlkit.review.claim import VERDICTS

ROOT = Path(__file__).parents[2]
README, PAGE = ROOT / "README.md", ROOT / "recipes" / "README.md"
BEGIN, END = "<!-- verdicts: begin -->\n", "<!-- verdicts: end -->\n"
MOST_BYTES = 12_000  # of README.md


def summary(records: Sequence[dict[str, Any]], measured_on: str) -> str:
    """For README.md: a row for each verdict, with how many claims of each section came to it."""
    rows: list[str] = []
    for verdict in VERDICTS:
        sections = [record["section"] for record in records if record["verdict"] == verdict]
        if sections:
            counts = ", ".join(f"{section} {len(list(same))}" for section, same in groupby(sections))
            rows.append(f"| {verdict} | {len(sections)} | {counts} |")
    return "\n".join([
        f"`dlkit review run --all --report review.html` tests {len(records)} sentences of a review and "
        "makes a page of the\nverdicts. "
        f"[What was found](recipes/README.md#what-was-found) ({measured_on}):",
        "",
        "| verdict | claims | of section |",
        "| --- | --- | --- |",
        *rows,
        "",
    ])  # fmt: skip


def table(records: Sequence[dict[str, Any]], measured_on: str) -> str:
    """For recipes/README.md: a sentence on all, a row for each experiment, and one for each property."""
    properties = [record for record in records if record["kind"] == "property"]
    experiments = [record for record in records if record["kind"] == "arms"]
    return "\n".join([
        f"Of {len(properties)} exact properties: {_counted(properties)}. Of {len(experiments)} experiments: "
        f"{_counted(experiments)}. The intervals are at {100 * experiments[0]['level']:.4g} % each, which is 95 % for "
        f"all of them together ({measured_on}).",
        "",
        "| claim | says | verdict | difference (interval) | matters from | seeds |",
        "| --- | --- | --- | --- | --- | --- |",
        *map(experiment_row, experiments),
        "",
        "| property | says | verdict | largest deviation | tolerance |",
        "| --- | --- | --- | --- | --- |",
        *map(property_row, properties),
        "",
    ])  # fmt: skip


def _counted(records: Sequence[dict[str, Any]]) -> str:
    verdicts = [record["verdict"] for record in records]
    return ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in VERDICTS if verdict in verdicts)


def _link(record: dict[str, Any]) -> str:
    return f"[`{record['claim']}`](review/{record['claim']}.yaml)"


def experiment_row(record: dict[str, Any]) -> str:
    if record["difference"] is None:
        found = "a run diverged"
    else:
        found = f"{record['difference']:.3g} ({record['low']:.3g} to {record['high']:.3g})"
    says = f"{record['text']}<br>`{record['expect']}` in `{record['measure']}`"
    return f"| {_link(record)} | {says} | {record['verdict']} | {found} | {record['smallest']:g} | {record['seeds']} |"


def property_row(record: dict[str, Any]) -> str:
    numbers = f"{record['deviation']:.2g} | {record['tolerance']:.2g}"
    return f"| {_link(record)} | {record['text']} | {record['verdict']} | {numbers} |"


def updated(page: str, verdicts: str) -> str:
    """The page with these verdicts between its marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has no place for the verdicts")
    return f"{before}{begin}\n{verdicts}\n{end}{after}"


def place_and_date(records: Path, hardware: str | None) -> str:
    """When and on what the records were made."""
    from dlkit.training.device import pick_device
    from dlkit.training.environment import describe_environment

    found = describe_environment(pick_device("auto"), {})
    hardware = hardware or found["gpu"] or f"{found['cores']} cores of {found['processor']}"
    day = time.strftime("%Y-%m-%d", time.gmtime(records.stat().st_mtime))
    return f"{hardware}, torch {found['packages']['torch']}, dlkit {found['dlkit']}, {day}"


def main(source: Path, hardware: str | None) -> None:
    records = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    records = [record for record in records if record["kind"] != "summary"]  # which stdout has, review.jsonl has not
    if failed := [record["claim"] for record in records if "error" in record]:
        sys.exit(f"without a verdict: {', '.join(failed)}; run them again with --resume first")
    measured_on = place_and_date(source, hardware)
    readme = updated(README.read_text(encoding="utf-8"), summary(records, measured_on))
    if (size := len(readme.encode())) > MOST_BYTES:
        sys.exit(f"README.md would have {size} bytes, {size - MOST_BYTES} too many: shorten its text first")
    page = updated(PAGE.read_text(encoding="utf-8"), table(records, measured_on))
    README.write_text(readme, encoding="utf-8")
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if sys.argv[2:] else None)
