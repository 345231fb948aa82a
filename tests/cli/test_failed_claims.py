"""A claim that fails is left without a verdict; those beside it are judged, and nothing that has finished is lost."""

from __future__ import annotations

import json
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from dlkit.app.review import run_review
from dlkit.app.review_events import ArmRunFinished, ClaimJudged, ClaimStarted
from dlkit.cli.review.progress import ReviewProgress
from dlkit.errors import DlkitError
from dlkit.review.find import find_claims
from tests.cli.conftest import Here
from tests.cli.table_claim import CLAIM as FOUR_SEEDS
from tests.cli.table_claim import ROWS

CLAIM = FOUR_SEEDS.replace("seeds: 4", "seeds: 2")


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text(ROWS)
    Path("kind.csv").write_text(ROWS.replace("kind", "sort"))  # which has no column that is called so
    Path("good.yaml").write_text(CLAIM)
    Path("absent.yaml").write_text(CLAIM.replace("rows.csv", "absent.csv"))
    Path("broken.yaml").write_text(CLAIM.replace("rows.csv", "kind.csv"))
    # the first of its arms is that of good.yaml, and its measure is found to be none when that has run
    Path("measured.yaml").write_text(CLAIM.replace("val/accuracy", "val/acuracy"))
    return tmp_path


def test_others_are_judged_and_the_failed_ones_tried_again(here: Here, mine: Path) -> None:
    names = ("measured.yaml", "softmax-sigmoid", "absent.yaml", "broken.yaml", "good.yaml")
    result = here("review", "run", *names, "--out", "kept", "--report", "review.html")
    assert result.code == 1
    *records, summary = result.records
    assert [record["claim"] for record in records] == [Path(name).stem for name in names]
    assert [record.get("verdict") for record in records] == [None, "supported", None, None, records[-1]["verdict"]]
    assert "no measure val/acuracy" in records[0]["error"]
    assert "absent.csv" in records[2]["error"]
    assert "kind" in records[3]["error"]
    assert (summary["claims"], summary["supported"], summary["errors"]) == (5, 2, 3)
    assert "error: measured: no measure val/acuracy" in result.err and ", and 2 more" in result.err
    assert "Traceback" not in result.err
    page = Path("review.html").read_text(encoding="utf-8")
    assert page.count('data-verdict="no verdict"') == 3 and "absent.csv" in page
    # the level of the interval is for all that were asked for, whatever became of them
    assert records[-1]["level"] == pytest.approx(1 - 0.05 / 4)
    assert [json.loads(line) for line in Path("kept/review.jsonl").read_text().splitlines()] == records

    runs = Path("kept/runs.jsonl").read_text()
    Path("absent.csv").write_text(Path("rows.csv").read_text())
    Path("broken.yaml").write_text(CLAIM.replace("rows.csv", "kind.csv").replace("label: kind", "label: sort"))
    Path("measured.yaml").write_text(CLAIM)
    again = here("review", "run", *names, "--out", "kept", "--resume")
    assert again.code == 0, again.err
    assert again.records[-1]["errors"] == 0
    assert again.records[4]["arms"] == records[4]["arms"]
    assert Path("kept/runs.jsonl").read_text().startswith(runs)


def test_quiet_review_says_which_failed(here: Here, mine: Path) -> None:
    result = here("review", "run", "absent.yaml", "softmax-sigmoid", "-q")
    assert (result.code, result.out) == (1, "error\nsupported\n")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (DlkitError("the disk is gone", "find it"), "the disk is gone"),
        (MemoryError(), "out of memory"),
        (BrokenProcessPool("terminated abruptly"), "a process of its runs was killed"),
    ],
)
def test_what_ends_a_claim_ends_no_other(
    here: Here, mine: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def fails(_: object) -> None:
        raise error

    monkeypatch.setattr("dlkit.review.property_test.check_property", fails)
    result = here("review", "run", "softmax-sigmoid", "good.yaml")
    assert result.code == 1
    assert result.records[0]["error"].startswith(message) and "verdict" in result.records[1]
    assert f"hint: {result.records[0]['hint']}" in result.err


def test_mistake_of_the_program_is_none_of_a_claim(here: Here, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr("dlkit.review.property_test.check_property", fails)
    result = here("review", "run", "softmax-sigmoid", "good.yaml")
    assert (result.code, result.out) == (1, "")
    assert "internal error" in result.err


def test_runs_of_a_failed_claim_are_no_longer_waited_for(mine: Path) -> None:
    """The bar ends full, whether a claim fails before its runs or after some of them."""
    said: list[str] = []
    progress = ReviewProgress(None, said.append)
    for event in run_review(find_claims(["absent.yaml", "measured.yaml", "good.yaml"])):
        assert isinstance(event, ClaimStarted | ArmRunFinished | ClaimJudged)
        progress.update(event)
    assert progress.bar.done == progress.bar.total > 0
    assert [line for line in said if "failed" in line] == [
        "absent: failed: no such file or folder: " + str(Path("absent.csv").resolve()),
        "measured: failed: no measure val/acuracy (did you mean val/accuracy?)",
    ]


FIRST = """\
section: Mine
claim: A network that has seen digits before knows them.
kind: arms
fixed: everything, before the first run
first:
  recipe: digits-mlp
  changes: {data: {per_class: 4, shift: 0}, model: {name: cnn, channels: [2]}, train: {epochs: null, steps: 2}}
recipe: digits-mlp
changes: {data: {per_class: 4, shift: 0}, model: {name: cnn, channels: [2]}, train: {epochs: null, steps: 1}}
arms:
  continued: {model: {weights: first}}
  new: {}
measure: test/accuracy
expect: continued > new
smallest: 0.05
seeds: 2
"""


def test_progress_counts_the_first_stage(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs of it, and two of each arm; and none that a review of before has done."""
    monkeypatch.setattr("dlkit.app.review.usable_cores", lambda: 1)  # a worker takes seconds to begin
    Path("first.yaml").write_text(FIRST)
    for seeds, missing in ((2, 6), (2, 0), (3, 3)):
        progress = ReviewProgress(None, lambda line: None)
        events = list(run_review(find_claims(["first.yaml"]), seeds=seeds, out=Path("kept"), resume=True))
        for event in events:
            assert isinstance(event, ClaimStarted | ArmRunFinished | ClaimJudged)
            progress.update(event)
        assert [event.missing for event in events if isinstance(event, ClaimStarted)] == [missing]
        assert (progress.run, progress.bar.done, progress.bar.total) == (missing, 3 * seeds, 3 * seeds)
