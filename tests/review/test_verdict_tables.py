"""The verdicts of the two pages come from one review: they agree, and no claim is left out."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dlkit.review.claim import VERDICTS
from dlkit.review.find import list_claims

ROOT = Path(__file__).parents[2]
ON = "2 cores of a machine, torch 2.14.1, dlkit 0.1.0, 2026-11-27"


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("review_table", ROOT / "tests" / "docs" / "review_table.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules["review_table"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def between_marks(page: str) -> str:
    return page.split("<!-- verdicts: begin -->")[1].split("<!-- verdicts: end -->")[0]


def rows(block: str) -> list[list[str]]:
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in block.splitlines() if "|" in line]
    return [row for row in cells if not set("".join(row)) <= {"-"}]


def check_agreement(readme: str, page: str) -> None:
    """Both blocks name the same numbers of each verdict, and the second every claim, once."""
    listed = [row for row in rows(page) if row[0].startswith("[")]
    names = [re.findall(r"`(.*?)`", row[0])[0] for row in listed]
    claims = {claim.name: claim for claim in list_claims()}
    assert sorted(names) == sorted(claims), "run the review again: python tests/docs/review_table.py"
    counted = {row[0]: row for row in rows(readme) if row[0] in VERDICTS}
    found = [row[2] for row in listed]
    assert {verdict: int(row[1]) for verdict, row in counted.items()} == {v: found.count(v) for v in set(found)}
    for verdict, row in counted.items():
        sections = {name.rpartition(" ")[0]: int(name.rpartition(" ")[2]) for name in row[2].split(", ")}
        own = [claims[name].section for name, v in zip(names, found, strict=True) if v == verdict]
        assert sections == {section: own.count(section) for section in set(own)}
    assert f"tests {len(claims)} sentences" in readme
    stamps = [re.findall(r"\(([^()]*torch [^()]*, dlkit [^()]*, \d{4}-\d\d-\d\d)\)", block) for block in (readme, page)]
    assert len(stamps[0]) == 1 and stamps[0] == stamps[1]


def test_pages_agree() -> None:
    readme, page = (
        between_marks(path.read_text(encoding="utf-8")) for path in (ROOT / "README.md", ROOT / "recipes" / "README.md")
    )
    if "| property |" not in page:
        pytest.skip("the tables are yet to be made from a whole review: python tests/docs/review_table.py")
    check_agreement(readme, page)


def made_up_records() -> list[dict[str, Any]]:
    """Every claim with some verdict, as long as records may be."""
    found: list[dict[str, Any]] = []
    for number, claim in enumerate(list_claims()):
        record: dict[str, Any] = {**claim.described(), "verdict": VERDICTS[0 if number % 9 else number // 9 % 4]}
        if claim.kind == "property":
            record |= {"deviation": 1.25e-16, "tolerance": 1e-10}
        else:
            record |= {"difference": 0.1, "low": -0.1, "high": 0.3, "smallest": 0.05, "seeds": 5, "level": 0.9967,
                       "expect": "a > b", "measure": "test/accuracy"}  # fmt: skip
        found.append(record)
    return found


def test_made_up_verdicts_are_told_apart_and_fit() -> None:
    """What the program makes of any verdicts passes the test above, and one changed verdict does not."""
    made = script()
    records = made_up_records()
    readme, page = made.summary(records, ON), made.table(records, ON)
    check_agreement(readme, page)
    whole = made.updated((ROOT / "README.md").read_text(encoding="utf-8"), readme)
    assert len(whole.encode()) <= 12_000
    records[1]["verdict"] = "contradicted"
    with pytest.raises(AssertionError):
        check_agreement(readme, made.table(records, ON))
    with pytest.raises(AssertionError):
        check_agreement(made.summary(records[1:], ON), made.table(records[1:], ON))
