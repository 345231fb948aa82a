"""`dlkit review run --full`: without the data it says how to get it, and with the data it ends in a verdict."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlkit.cli.app import run as dlkit
from dlkit.data import store
from dlkit.data.registry import DATASETS
from dlkit.review.claim import VERDICTS
from dlkit.review.find import list_claims

FULL = [claim for claim in list_claims() if claim.full is not None]
SHORT = ("fine-tuning-beats-probe", "transfer-few-images")  # the others train for minutes, even on so few images


def reviewed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict[str, Any]], str]:
    code = dlkit(["review", "run", *arguments, "--full", "--device", "cpu", "--json"])
    out, err = capsys.readouterr()
    return code, [json.loads(line) for line in out.splitlines()], err


def test_claims_without_their_data_say_what_to_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DLKIT_DATA", str(tmp_path))
    monkeypatch.setattr(store, "_chosen", None)
    code, (*records, summary), err = reviewed(capsys, *(claim.name for claim in FULL))
    assert code == 1
    assert (summary["claims"], summary["errors"]) == (len(FULL), len(FULL)) and len(FULL) >= 8
    for record in records:
        assert "verdict" not in record
        name = record["error"].split()[3]
        assert record["error"].startswith(f"the data set {name} is not here")
        assert record["hint"] == f"dlkit download {name}" and name in DATASETS
        assert "\n" not in record["error"]
    last = err.splitlines()[-2:]
    assert last[0].startswith(f"error: {records[0]['claim']}: the data set") and last[1].startswith("hint: dlkit down")


@pytest.mark.slow
@pytest.mark.parametrize("claim", SHORT)
def test_claims_with_their_data_end_in_a_verdict(
    hub: Any,
    obtain: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    claim: str,
) -> None:
    """On a few rows in the form of the real data, whose verdict is worth nothing; every one comes from its own runs."""
    monkeypatch.setattr("dlkit.app.review.usable_cores", lambda: 1)  # a worker takes seconds to begin
    for name in ("cifar10", "cifar100"):
        hub.add(name, {"train": 60, "test": 20})
        obtain(name)
    code, records, err = reviewed(capsys, claim, "--seeds", "2")
    assert code == 0, err
    record, summary = records
    assert record["verdict"] in VERDICTS and record["full"] is True
    assert summary["errors"] == 0
    values = [value for arm in record["arms"].values() for value in arm["values"]]
    assert len(values) == 2 * len(record["arms"]) and None not in values
