"""The folder of a race from the shell: cut short, damaged, of another, on a full disk, of two at once."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

RACE = ("digits-mlp", "--optimizers", "sgd,adam", "--lr", "1e-3,1e-2", "--seeds", "2", "--steps", "10")


pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.mark.usefixtures("undrawn")
def test_a_line_that_a_kill_cut_short_is_taken_away_only_to_go_on(here: Any, tmp_path: Path) -> None:
    arguments = ("compare-optimizers", *RACE, "--engine", "loop", "--out", "race", "--resume")
    assert here(*arguments).code == 0
    runs = tmp_path / "race" / "runs.jsonl"
    whole = runs.read_bytes()
    torn = whole + b'{"kind": "ru'
    runs.write_bytes(torn)
    assert here("compare-optimizers", "--from", "race").code == 0
    assert here("compare-optimizers", "digits-mlp", "--steps", "11", "--out", "race", "--resume").code == 2
    assert runs.read_bytes() == torn
    assert here(*arguments).code == 0
    assert runs.read_bytes() == whole
    runs.write_bytes(b"mine")
    assert here(*arguments).code == 1
    assert runs.read_bytes() == b"mine"
    for begun in (b"", whole[:20]):  # killed before the first line was written
        runs.write_bytes(begun)
        assert here(*arguments[:-1]).code == 0
        drop = "seconds_share"
        again, first = ([json.loads(line) for line in text.splitlines()] for text in (runs.read_bytes(), whole))
        assert [{**r, drop: 0} for r in again] == [{**r, drop: 0} for r in first]


@pytest.mark.usefixtures("undrawn")
def test_a_disk_that_is_full_is_named_and_the_race_goes_on_behind_it(
    here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("compare-optimizers", *RACE, "--engine", "loop", "--out", "race")
    original, lines_written = Path.open, 0

    def full(path: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        nonlocal lines_written
        lines_written += path.name == "runs.jsonl" and mode == "ab"
        if lines_written == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(path, mode, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        result = here(*arguments)
    assert result.code == 1
    assert "error: cannot write race/runs.jsonl: No space left on device\nhint: free some space" in result.err
    assert len((tmp_path / "race" / "runs.jsonl").read_text().splitlines()) == 3
    assert here(*arguments, "--resume").code == 0


def test_two_at_once_do_not_share_a_folder(here: Any, tmp_path: Path) -> None:
    arguments = ["compare-optimizers", *RACE, "--engine", "loop", "--out", "race"]
    command = [sys.executable, "-m", "dlkit", *arguments, "--seeds", "1000"]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        runs = tmp_path / "race" / "runs.jsonl"
        while first.poll() is None and not runs.exists():
            time.sleep(0.01)
        second = here(*arguments, "--seeds", "1000", "--resume")
    finally:
        first.kill()
        first.wait()
    assert (second.code, second.out) == (1, "")
    assert "error: race is in use by another dlkit\nhint: wait for it, or choose another --out" in second.err


def test_folders_that_hold_no_race(here: Any, tmp_path: Path) -> None:
    assert here("compare-optimizers", "--from", "absent").code == 1
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "runs.jsonl").write_text('{"kind": "other"}\n')
    result = here("compare-optimizers", "--from", "bad")
    assert (result.code, "holds no race" in result.err) == (1, True)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("runs", "summary", "words"),
    [
        (b"\x80\x81\n", b"{}", "is damaged"),
        (b"garbage\n", b"{}", "runs.jsonl:1: not JSON"),
        (b"[1]\n", b"{}", "runs.jsonl:1: no record"),
        (b'{"kind": "race", "title": "beale"}\n', b"{}", "holds no finished run"),
        (b'{"kind": "race", "title": "beale"}\n{"kind": "run"}\n', b"{}", "no record of a run"),
        (None, b'{"verdict": 3}', "holds no whole race"),
        (None, b"{", "summary.json"),
        (None, b'{"verdict": {"metric": "nope"}}', "no metric 'nope'"),
    ],
)
def test_damaged_folders_are_named(here: Any, tmp_path: Path, runs: bytes | None, summary: bytes, words: str) -> None:
    assert here("compare-optimizers", "beale", "--optimizers", "sgd", "--lr", "1e-3", "--steps", "2",
                "--out", "race", "-q").code == 0  # fmt: skip
    if runs is not None:
        (tmp_path / "race" / "runs.jsonl").write_bytes(runs)
    (tmp_path / "race" / "summary.json").write_bytes(summary)
    result = here("compare-optimizers", "--from", "race")
    assert (result.code in (1, 2), result.out) == (True, ""), result.err
    assert words in result.err
    assert [line.partition(":")[0] for line in result.err.splitlines()[-2:]] == ["error", "hint"]
