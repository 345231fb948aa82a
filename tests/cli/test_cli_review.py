"""`dlkit review`: claims are listed, run, judged, kept and resumed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dlkit.app.events import Remark
from dlkit.app.review import run_review
from dlkit.cli.review.progress import ReviewProgress
from dlkit.review.find import find_claims
from tests.cli.conftest import Here
from tests.cli.table_claim import CLAIM, ROWS


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text(ROWS)
    Path("mine.yaml").write_text(CLAIM)
    return tmp_path


def test_list(here: Here) -> None:
    records = here("review", "list", "softmax").records
    assert {record["section"] for record in records} == {"Softmax"}
    assert "softmax-sigmoid" in here("review", "list", "-q").out.splitlines()


def test_properties_are_judged(here: Here) -> None:
    result = here("review", "run", "softmax-sigmoid", "errata-code", "--assert")
    assert result.code == 0, result.err
    *claims, summary = result.records
    assert [record["verdict"] for record in claims] == ["supported", "supported"]
    assert claims[0]["deviation"] <= claims[0]["tolerance"]
    assert (summary["kind"], summary["claims"], summary["supported"]) == ("summary", 2, 2)
    assert here("review", "run", "softmax-sigmoid", "-q").out == "supported\n"


def test_claim_of_ones_own_is_kept_and_resumed(here: Here, mine: Path) -> None:
    result = here("review", "run", "mine.yaml", "--out", "kept", "--assert")
    assert result.code == 0, result.err
    record = result.records[0]
    assert (record["verdict"], record["seeds"], record["section"]) == ("supported", 4, "My table")
    learning, standing = (record["arms"][arm]["values"] for arm in ("learning", "standing"))
    differences = [a - b for a, b in zip(learning, standing, strict=True)]
    assert record["difference"] == pytest.approx(sum(differences) / 4)
    assert record["low"] <= record["difference"] <= record["high"]
    assert json.loads(Path("kept/review.jsonl").read_text()) == record
    runs = Path("kept/runs.jsonl").read_text()
    again = here("review", "run", "mine.yaml", "--out", "kept", "--resume")
    assert again.records[0] == record
    assert Path("kept/runs.jsonl").read_text() == runs  # nothing was run again
    Path("kept/runs.jsonl").write_text("\n".join(runs.splitlines()[:5]) + '\n{"cut sho')
    assert here("review", "run", "mine.yaml", "--out", "kept", "--resume").records[0]["arms"] == record["arms"]
    refused = here("review", "run", "mine.yaml", "--out", "kept")
    assert refused.code == 2
    assert "already holds a review" in refused.err


def test_another_table_is_run_anew(here: Here, mine: Path) -> None:
    """Runs on what the file held before are not taken for runs on what it holds now."""
    kept = here("review", "run", "mine.yaml", "--out", "kept").records[0]
    Path("rows.csv").write_text(ROWS.replace(",a", ",c").replace(",b", ",a").replace("0,c", "0,b"))
    again = here("review", "run", "mine.yaml", "--out", "kept", "--resume").records[0]
    fresh = here("review", "run", "mine.yaml").records[0]
    assert again["arms"] == fresh["arms"]
    assert again["arms"] != kept["arms"]


def test_progress_counts_all_runs(mine: Path) -> None:
    """At every size of a claim, those that an earlier review has finished among them."""
    Path("mine.yaml").write_text(CLAIM + "full: {seeds: 3}\n")
    claims = find_claims(["mine.yaml"])
    for seeds in (2, None):
        progress = ReviewProgress(None, lambda line: None)
        for event in run_review(claims, full=True, seeds=seeds, out=Path("kept"), resume=True):
            if not isinstance(event, Remark):
                progress.update(event)
    assert (progress.run, progress.bar.done, progress.bar.total) == (2, 6, 6)


def test_progress_names_the_claim_and_the_time_left(here: Here, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which of all claims runs, and of how many; exact properties count as claims, too."""
    monkeypatch.setattr("dlkit.cli.review.progress._LINE_EVERY_SECONDS", 0.0)
    result = here("review", "run", "softmax-sigmoid", "mine.yaml")
    assert result.code == 0, result.err
    assert "claim 2 of 2, mine: 8 runs" in result.err
    assert re.search(r"^claim 2 of 2, 8 of 8 runs, .* left$", result.err, re.MULTILINE), result.err


def test_claims_share_an_arm(here: Here, mine: Path) -> None:
    """The arm of one claim is not trained again for another, whatever it is called there."""
    Path("other.yaml").write_text(CLAIM.replace("learning", "quick").replace("lr: 1e-6", "lr: 1e-5"))
    records = here("review", "run", "mine.yaml", "other.yaml", "--out", "kept").records
    assert records[0]["arms"]["learning"]["values"] == records[1]["arms"]["quick"]["values"]
    assert len(Path("kept/runs.jsonl").read_text().splitlines()) == 3 * 4


def test_claim_of_the_documentation(here: Here, mine: Path) -> None:
    """As it is printed, on a table whose kind is that of x: both arms run, and neither is wired to a verdict."""
    page = (Path(__file__).parents[2] / "recipes" / "README.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```yaml\n(section: .*?)```", page, flags=re.DOTALL)
    Path("documented.yaml").write_text(text)
    Path("rows.csv").write_text(ROWS)
    record = here("review", "run", "documented.yaml").records[0]
    assert (record["measure"], record["seeds"]) == ("val/accuracy", 8)
    assert record["arms"].keys() == {"deep", "linear"}


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        ("learning > standing", "learning < standing", "contradicted"),
        ("lr: 1e-6", "lr: 0.05", "not supported"),  # equal arms
    ],
)
def test_sabotaged_claim_is_not_supported(here: Here, mine: Path, old: str, new: str, verdict: str) -> None:
    Path("mine.yaml").write_text(CLAIM.replace(old, new))
    result = here("review", "run", "mine.yaml", "--assert")
    assert result.code == 3
    assert result.records[0]["verdict"] == verdict
    assert f"mine is {verdict}" in result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], None),
        (["run", "--all", "gelu-cdf"], "give names of claims, or --section, or --all"),
        (["run", "gelu-cdf", "--resume"], "--resume needs --out"),
        (["run", "gelu-cdf", "--full"], "none of these claims has a full size"),
        (["show", "rows.npy"], "rows.npy:1: not UTF-8"),
        (["run", "no.yaml"], "no such file: no.yaml"),
        (["run", "mine.yaml", "--seeds", "1"], "--seeds"),
    ],
)
def test_wrong_requests(here: Here, mine: Path, arguments: list[str], message: str | None) -> None:
    Path("rows.npy").write_bytes(b"\x93NUMPY")
    result = here("review", *arguments)
    assert result.code == 2
    assert message is None or message in result.err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("hidden: [8]", "hiden: [8]", "mine.yaml:8: model.hiden: unknown key (did you mean hidden?)"),
        ("lr: 1e-6", "lr: fast", "mine.yaml:13: optimizer.lr: expected a number > 0, got 'fast'"),
        ("recipe: csv-mlp", "recipe: csv-mpl", "no recipe named 'csv-mpl' (did you mean csv-mlp?)"),
        ("path: rows.csv", "path: row.csv", "row.csv"),
        ("val/accuracy", "val/acuracy", "no measure val/acuracy (did you mean val/accuracy?)"),
    ],
)
def test_wrong_claims(here: Here, mine: Path, old: str, new: str, message: str) -> None:
    Path("mine.yaml").write_text(CLAIM.replace(old, new))
    result = here("review", "run", "mine.yaml")
    assert result.code in (1, 2)
    assert message in result.err
    assert "Traceback" not in result.err


def test_report_and_show(here: Here, elsewhere: None) -> None:
    assert here("review", "run", "gelu-cdf", "softmax-sigmoid", "-q", "--report", "review.html").code == 0
    page = Path("review.html").read_text(encoding="utf-8")
    assert page.count("<article") == 2
    assert "dlkit review run gelu-cdf" in page
    refused = here("review", "run", "gelu-cdf", "--report", "review.pdf")
    assert refused.code == 2
    Path("copy.yaml").write_text(here("review", "show", "gelu-cdf").out)
    assert here("review", "run", "copy.yaml", "-q").out == "supported\n"


def test_figures(here: Here, elsewhere: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from dlkit.review.figures import FIGURES

    only = {"figure-13-bernoulli-entropy": FIGURES["figure-13-bernoulli-entropy"]}
    monkeypatch.setattr("dlkit.review.figures.FIGURES", only)
    result = here("review", "figures", "drawn")
    assert result.code == 0, result.err
    assert Path(result.record["svg"]).is_file()
    assert Path(result.record["png"]).is_file()
    Path("file").touch()
    assert here("review", "figures", "file").code == 2
