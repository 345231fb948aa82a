"""A run that is killed, stopped or starved resumes to the very bytes of one that was left alone."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dlkit.cli.app import run as dlkit

RECIPE = [
    "digits-mlp",
    "train.epochs=6",
    "train.ema=0.9",
    "train.accumulate=2",
    "train.log_every=3",
    "train.checkpoint_every=5 steps",
    "model.dropout=0.2",
    "data.validation=0.1",
    "train.deterministic=true",  # which a CPU is in any case
    "train.precision=fp32",  # runs that begin apart are compared, and `auto` goes by the clock
]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "dlkit", "train", *RECIPE, *arguments]


def digest(run: Path) -> str:
    return hashlib.sha256((run / "checkpoints" / "last" / "model.safetensors").read_bytes()).hexdigest()


def records(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("untouched") / "run"
    subprocess.run(command("--run-dir", str(run)), check=True, capture_output=True)
    return run


def assert_same(run: Path, untouched: Path) -> None:
    assert digest(run) == digest(untouched)
    assert records(run) == records(untouched)
    steps = [record["step"] for record in records(run) if "train/loss" in record]
    assert steps == sorted(set(steps))


@pytest.mark.slow
def test_twenty_kills_leave_no_trace(tmp_path: Path, untouched: Path) -> None:
    run, dice = tmp_path / "run", random.Random(0)
    for _ in range(20):
        process = subprocess.Popen(
            command("--run-dir", str(run), "--resume"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        started, deadline = run / "metrics.jsonl", time.monotonic() + 60
        before = started.stat().st_mtime_ns if started.exists() else 0
        while process.poll() is None and time.monotonic() < deadline:  # wait until it trains, then for a random while
            if started.exists() and started.stat().st_mtime_ns != before:
                break
            time.sleep(0.002)
        time.sleep(dice.random() * 0.12)
        process.kill()
        _, errors = process.communicate()
        assert process.returncode in (-signal.SIGKILL, 0), errors
    subprocess.run(command("--run-dir", str(run), "--resume"), check=True, capture_output=True)
    assert_same(run, untouched)


def kept(run: Path) -> dict[str, Any]:
    """What a user finds in a run that has ended."""
    files = {path.relative_to(run) for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    weights = {name: (run / "checkpoints" / name / "model.safetensors").read_bytes() for name in ("last", "best")}
    return {"files": files, "metrics": records(run), "recipe": (run / "recipe.yaml").read_bytes(), **weights}


@pytest.mark.slow
def test_a_kill_before_any_change_on_the_disk_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = random.Random(0)
    lines = [f"{rows.random()},{rows.random()},{'ab'[rows.random() < 0.5]}" for _ in range(60)]
    Path("rows.csv").write_text("\n".join(["x,y,label", *lines]) + "\n")
    changes = ["data={name: csv, path: rows.csv, label: label, validation: 0.2, batch_size: 16}", "train.epochs=2"]
    settings = ["train.checkpoint_every=2 steps", "train.log_every=1", "model={name: mlp, hidden: [4]}"]

    def train(name: str) -> None:
        assert dlkit(["train", "csv-mlp", *changes, *settings, "--run-dir", name, "--resume", "-q"]) == 0

    train("untouched")
    count = 0
    while killed(count, functools.partial(train, f"run-{count}")):
        train(f"run-{count}")
        assert kept(Path(f"run-{count}")) == kept(Path("untouched")), count
        count += 1
    assert count > 50


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_saves_a_checkpoint_and_resume_is_exact(
    tmp_path: Path, untouched: Path, number: signal.Signals, code: int
) -> None:
    run = tmp_path / "run"
    process = subprocess.Popen(
        command("--run-dir", str(run)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not list((run / "checkpoints").glob("step-*")) and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(number)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert out == ""
    assert f"dlkit train {run} --resume" in errors
    subprocess.run([sys.executable, "-m", "dlkit", "train", str(run), "--resume"], check=True, capture_output=True)
    assert_same(run, untouched)


@pytest.mark.slow
def test_a_flipped_byte_is_named_and_never_restarts_training(tmp_path: Path, untouched: Path) -> None:
    for file in sorted((untouched / "checkpoints" / "last").iterdir()):
        original = file.read_bytes()
        damaged = bytearray(original)
        damaged[len(damaged) // 2] ^= 1
        file.write_bytes(damaged)
        try:
            result = subprocess.run(
                [sys.executable, "-m", "dlkit", "train", str(untouched), "--resume"], capture_output=True, text=True
            )
        finally:
            file.write_bytes(original)
        assert result.returncode == 1
        assert f"damaged checkpoint: {untouched}/checkpoints/" in result.stderr
        assert file.name in result.stderr


@pytest.mark.slow
def test_two_at_once_do_not_share_a_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ("--run-dir", str(run), "--resume", "train.epochs=2000")
    first = subprocess.Popen(command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not list((run / "checkpoints").glob("step-*")) and first.poll() is None:
            time.sleep(0.01)
        second = subprocess.run(command(*arguments), capture_output=True, text=True)
    finally:
        first.kill()
        first.wait()
    assert second.returncode == 1
    assert "is in use by another dlkit" in second.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
def test_a_full_disk_keeps_the_last_checkpoint(tmp_path: Path, untouched: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(disk)], capture_output=True).returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        run, filler = disk / "run", disk / "filler"
        process = subprocess.Popen(command("--run-dir", str(run)), stderr=subprocess.PIPE, text=True)
        while not list((run / "checkpoints").glob("step-*")) and process.poll() is None:
            time.sleep(0.001)
        filler.write_bytes(b"\0" * (disk_free(disk) - 4096))
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1, errors
        assert "no space left on the disk" in errors
        filler.unlink()
        subprocess.run([sys.executable, "-m", "dlkit", "train", str(run), "--resume"], check=True, capture_output=True)
        assert_same(run, untouched)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def disk_free(path: Path) -> int:
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize
