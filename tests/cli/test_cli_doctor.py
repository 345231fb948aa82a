"""`dlkit doctor`: the machine, the table of checks, the report, the exit code."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pytest
import scipy
import tokenizers
import torch

from dlkit import __version__
from dlkit.cli.doctor.command import verdict_of
from dlkit.doctor import runner
from dlkit.doctor.finding import CheckedFinding, Finding, judged

from .conftest import Here


def test_the_machine(here: Here, tmp_path: Path) -> None:
    record = here("doctor", "--device", "cpu", "--data-dir", str(tmp_path)).record
    assert record["kind"] == "machine"
    assert (record["dlkit"], record["packages"]["torch"]) == (__version__, torch.__version__.split("+")[0])
    assert (record["device"], record["threads"]) == ("cpu", torch.get_num_threads())
    assert record["data_dir"] == str(tmp_path)
    assert record["disk_free_bytes"] > 0
    assert record["precision"] in ("bf16", "fp32")
    assert here("doctor", "-q", "--device", "cpu").out == "cpu\n"
    installed = {
        name: value for name, value in record["packages"].items() if name in ("tokenizers", "pyarrow", "scipy")
    }
    assert installed == {
        "tokenizers": tokenizers.__version__,
        "pyarrow": pyarrow.__version__,
        "scipy": scipy.__version__,
    }
    assert record["devices"] == ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    assert record["data_sets"] == []
    assert record["here"] == str(Path.cwd())


def test_what_is_absent_is_told(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    from dlkit.doctor import system

    monkeypatch.delitem(sys.modules, "sklearn", raising=False)
    monkeypatch.setattr(system, "find_spec", lambda name: None if name == "sklearn" else name)
    assert here("doctor", "--device", "cpu").record["absent"] == {"scikit-learn": "the embedded digits"}


def test_checks_and_their_verdict(here: Here, tmp_path: Path) -> None:
    report = tmp_path / "here.json"
    result = here("doctor", "--device", "cpu", "--only", "attention,stacks", "--report", str(report))
    machine, *checks, verdict = map(json.loads, result.out.splitlines())
    assert result.code == 0
    assert [line["kind"] for line in (machine, checks[0], verdict)] == ["machine", "check", "verdict"]
    assert {line["check"] for line in checks} == {"attention", "stacks"}
    assert {line["verdict"] for line in checks} == {"pass"}
    assert (verdict["verdict"], verdict["pass"], verdict["fail"]) == ("pass", len(checks), 0)
    assert json.loads(report.read_text()) == {"machine": machine, "checks": checks, "verdict": verdict}
    assert result.err == "checking attention\nchecking stacks\n"


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two checks: one holds, the other does not."""

    def check(_: Any) -> Iterator[Finding]:
        yield judged("good", "1", "1", True, seconds_of=2.0)
        yield judged("bad", "1", "2", False, error=float("nan"))

    monkeypatch.setattr(runner, "import_object", lambda target: check)


@pytest.mark.usefixtures("two")
def test_a_failed_check_is_exit_code_1(here: Here) -> None:
    result = here("doctor", "--device", "cpu", "--only", "waits")
    verdict = json.loads(result.out.splitlines()[-1])
    assert result.code == 1
    assert (verdict["verdict"], verdict["failed"]) == ("fail", ["waits: bad"])
    assert json.loads(result.out.splitlines()[2])["error"] is None
    quiet = here("doctor", "--device", "cpu", "--only", "waits", "-q")
    said = "error: 1 of 2 checks failed: waits: bad\nhint: run only what failed: dlkit doctor --only waits\n"
    assert (quiet.code, quiet.out, quiet.err) == (1, "fail\n", said)


@pytest.mark.usefixtures("two")
def test_what_is_asked_for(here: Here, tmp_path: Path) -> None:
    from dlkit.doctor.registry import BENCHMARKS, CHECKS

    def names(*options: str) -> list[str]:
        lines = map(json.loads, here("doctor", "--device", "cpu", *options).out.splitlines())
        return list(dict.fromkeys(line["check"] for line in lines if line["kind"] == "check"))

    report = ["--report", str(tmp_path / "r.json")]
    assert names("--check") == list(CHECKS)
    assert names("--benchmark", "--quick") == list(BENCHMARKS)
    assert names(*report) == [*CHECKS, *BENCHMARKS]
    assert names(*report, "--benchmark") == list(BENCHMARKS)
    assert names("--only", "race, waits") == ["waits", "race"]


def test_an_interrupt_keeps_what_was_measured(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(_: Any) -> Iterator[Finding]:
        yield judged("good", "1", "1", True)
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "import_object", lambda target: check)
    report = tmp_path / "r.json"
    result = here("doctor", "--device", "cpu", "--check", "--report", str(report))
    verdict = json.loads(result.out.splitlines()[-1])
    assert result.code == 130
    assert (verdict["pass"], verdict["interrupted"]) == (1, True)
    written = json.loads(report.read_text())
    assert [line["subject"] for line in written["checks"]] == ["good"]
    assert written["verdict"]["interrupted"] is True


@pytest.mark.slow
def test_a_real_interrupt(tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    command = [sys.executable, "-m", "dlkit", "doctor", "--check", "--device", "cpu", "--report", str(report)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read().splitlines()
    assert process.returncode == 130
    assert json.loads(rest[-1])["interrupted"] is True
    assert json.loads(report.read_text())["checks"][: len(lines) - 1] == [json.loads(line) for line in lines[1:]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "lauders"], r"--only: no check 'lauders' \(did you mean loaders\?\)"),
        (["--only", ""], "--only: no check ''"),
        (["--check", "--only", "race"], "--only: no check 'race'"),
        (["--quick"], "--quick is about what is tried"),
        (["--report", "nowhere/r.json"], "there is no folder nowhere"),
        (["--report", "r.txt"], "does not end in .json"),
        (["--device", "tpu"], "no such kind of device: 'tpu'"),
    ],
)
def test_wrong_requests(here: Here, options: list[str], message: str) -> None:
    result = here("doctor", *options)
    assert (result.code, result.out) == (2, "")
    error, hint = result.err.splitlines()
    assert re.search(message, error)
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")


def test_tables(tmp_path: Path) -> None:
    from rich.console import Console

    from dlkit.cli.doctor import view
    from dlkit.doctor import system

    good, bad = judged("good", "1", "1", True), judged("[bad]", "1", "2", False)
    lines = [CheckedFinding("waits", good, 1.0), CheckedFinding("waits", bad, 1.0)]
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(view.machine(system.describe_system(torch.device("cpu"))))
    console.print(view.results(lines, verdict_of(lines, time.perf_counter(), True)))
    shown = re.sub(" +\n", "\n", console.export_text())
    assert re.search(r"^device +cpu$", shown, re.M)
    assert re.search(r"waits +good +1 +1 +pass\n +\[bad\] +1 +2 +fail\nfail: 1 passed, 1 failed in 0 s; interr", shown)
