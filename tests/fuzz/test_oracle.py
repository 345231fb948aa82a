"""The oracle of the fuzz suite sees every bad end: each fault of these, in an end that is well but for it, is named."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from oracle import Ended, complaints

sys.path.pop(0)

GOOD = Ended(0, b'{"run": "run", "metrics": {"test/loss": 0.5}}\n', "step 1/1\n", 0.5)
REFUSED = Ended(2, b"", "error: no such file: x\nhint: give another\n", 0.5)
EVAL = ["eval", "run"]


@pytest.mark.parametrize(
    ("changes", "arguments", "word"),
    [
        ({"code": None}, EVAL, "did not end"),
        ({"code": -11}, EVAL, "exit code -11"),
        ({"code": 130}, EVAL, "exit code 130"),
        ({"code": 143}, EVAL, "exit code 143"),
        ({"code": 3}, EVAL, "exit code 3"),
        ({"code": 141}, EVAL, "exit code 141"),
        ({"code": 143, "terminated": True, "worked": 0.1}, EVAL, "waited"),
        ({"code": 143, "terminated": True, "worked": 20, "out": b"", "err": ""}, EVAL, "without a word"),
        ({"code": 1, "err": "error: internal error: KeyError: 'loss'\nhint: x\n"}, EVAL, "internal error"),
        ({"err": "Traceback (most recent call last):\n"}, EVAL, "Traceback"),
        ({"err": "UserWarning: overflow\n"}, EVAL, "Warning"),
        ({"err": "error: x\nhint: y\n"}, EVAL, "exit code 0 after an error"),
        ({"code": 1, "err": ""}, EVAL, "0 lines begin"),
        ({"code": 2, "err": "error: x\nerror: y\nhint: z\n"}, EVAL, "2 lines begin"),
        ({"out": b'{"metrics": {"test/loss": NaN}}\n'}, EVAL, "not JSON Lines"),
        ({"out": b'{"entropy": Infinity}\n'}, ["entropy", "x"], "not JSON Lines"),
        ({"out": b'{"valid": NaN}\n'}, ["recipes", "check", "x"], "not JSON Lines"),
        ({"out": b'{"name": "\xff"}\n'}, EVAL, "not JSON Lines"),
        ({"out": b"accuracy 0.5\n"}, EVAL, "not JSON Lines"),
        ({"out": b"12\n"}, EVAL, "a record is 12"),
        ({"out": b'{"metrics": {"test/loss": null}}\n'}, EVAL, "test/loss is not finite"),
        ({"out": b"nan\n"}, [*EVAL, "-q"], "nan on stdout"),
        ({"made": [Path("run/x.tmp")]}, EVAL, "left behind"),
        ({"temporary": ["tmpab"]}, EVAL, "left behind"),
        ({"temporary": ["torchinductor_root", "dlkit-x"]}, EVAL, "dlkit-x is left behind"),
        ({"orphans": True}, EVAL, "processes"),
        ({"wrong_files": ["new/summary.json is no JSON: NaN"]}, EVAL, "no JSON"),
    ],
)
def test_a_bad_end_is_named(changes: dict[str, object], arguments: list[str], word: str) -> None:
    assert complaints(GOOD, arguments) == []
    assert word in "\n".join(complaints(dataclasses.replace(GOOD, **changes), arguments))


def test_a_refused_request_changes_nothing() -> None:
    assert complaints(REFUSED, EVAL) == []
    for changes in ({"made": [Path("out.svg")]}, {"touched": [Path("rows.csv")]}):
        assert "exit code is 2" in complaints(dataclasses.replace(REFUSED, **changes), EVAL)[0]
    half = dataclasses.replace(REFUSED, code=1, made=[Path("out")])
    assert "exit code is 1" in complaints(half, ["export", "run", "out"])[0]
    assert complaints(half, ["train", "csv.yaml"]) == []  # whose run folder says how far it came


def test_a_command_that_shall_be_quiet_works_without_a_word() -> None:
    ended = dataclasses.replace(GOOD, code=143, terminated=True, worked=20, out=b"", err="")
    assert complaints(ended, ["runs", "list", "/", "-q"]) == []


def test_damage_that_changes_a_number_is_named() -> None:
    other = dataclasses.replace(GOOD, out=GOOD.out.replace(b"0.5", b"0.51"))
    assert complaints(GOOD, EVAL, GOOD) == complaints(REFUSED, EVAL, GOOD) == []
    assert complaints(other, EVAL, GOOD) == ["the damage went unseen, and changed the result"]
    wrote, wrong = (dataclasses.replace(GOOD, contents={"out": x}) for x in ("a1", "b2"))
    assert complaints(wrong, ["decompress", "x.dlk"], wrote) == ["the damage went unseen, and changed the result"]
    assert "intact" in complaints(REFUSED, EVAL, REFUSED)[0]


def test_what_a_full_or_a_live_terminal_does_is_no_fault() -> None:
    full = dataclasses.replace(REFUSED, code=1, environment="full", made=[Path("out/config.json")])
    assert complaints(full, ["export", "run", "out"]) == []
    assert complaints(dataclasses.replace(full, environment="plain"), ["export", "run", "out"])
    wiped = dataclasses.replace(REFUSED, code=1, environment="terminal", err="\x1b[?25h\r\x1b[1A\x1b[2K" + REFUSED.err)
    assert complaints(wiped, EVAL) == []


def test_a_cache_of_the_compiler_is_not_left_behind() -> None:
    assert complaints(dataclasses.replace(GOOD, temporary=["torchinductor_root"]), EVAL) == []
