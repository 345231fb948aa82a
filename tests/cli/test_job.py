"""Commands in the processes of a job, each of which is played here; the rest is in tests/distributed."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dlkit.cli import job
from dlkit.cli.signals import GracefulStop
from dlkit.distributed import meeting_store, process_group
from dlkit.errors import DlkitError

Here = Callable[..., Any]


def test_what_needs_one_process_is_done_by_the_first(rank: Callable[..., None], here: Here) -> None:
    rank(0)
    first = here("recipes", "list")
    assert first.code == 0
    assert len(first.out.splitlines()) > 10
    assert first.err == "recipes needs one process: the others of this job have ended\n"
    rank(1)
    other = here("recipes", "list")
    assert (other.code, other.out, other.err) == (0, "", "")


def test_an_error_of_all_is_shown_once_and_left_to_torchrun(
    rank: Callable[..., None], here: Here, tmp_path: Path
) -> None:
    shown: list[str] = []
    for number in (1, 0):
        rank(number)
        result = here("train", "nosuchrecipe")
        assert result.code == 2
        shown.append(result.err)
        left = json.loads((tmp_path / f"error-{number}.json").read_text())["message"]["message"]
        assert "no recipe named 'nosuchrecipe'" in left
    assert shown[0].startswith("error: no recipe named 'nosuchrecipe'\nhint: ")
    assert shown[1] == ""
    other = here("train", "anothernosuch")  # an error of this process alone
    assert other.err.startswith("error: no recipe named 'anothernosuch'")
    rank(0, TORCHELASTIC_RESTART_COUNT="1")
    assert here("train", "nosuchrecipe").err == shown[0]  # torchrun has started all of them again


def test_a_process_whose_peers_are_gone_says_so(rank: Callable[..., None]) -> None:
    error = RuntimeError("[/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:29500")
    assert job.lost_process(error) is None  # of no job
    rank(1)
    found = job.lost_process(error)
    assert found is not None and found.message.startswith("another process of this job has ended")
    assert job.lost_process(torch.distributed.DistNetworkError("timed out")) is not None
    assert job.lost_process(RuntimeError("shapes do not fit")) is None
    assert job.lost_process(ValueError("gloo/")) is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"RANK": ""}, "RANK is not set"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two', no number"),
        ({"MASTER_PORT": "-1"}, "MASTER_PORT is '-1', no number"),
        ({"RANK": "2"}, "RANK is 2, and WORLD_SIZE is 2: there is no such process"),
    ],
)
def test_what_torchrun_said_must_be_whole(
    rank: Callable[..., None], here: Here, changed: dict[str, str], message: str
) -> None:
    rank(0, **changed)
    result = here("train", "digits-mlp")
    assert result.code == 2
    error, hint = result.err.splitlines()
    assert error == f"error: torchrun started this process, but {message}"
    assert hint.startswith("hint: start it anew: torchrun --nproc-per-node")


def test_variables_of_another_launcher_make_no_job(monkeypatch: pytest.MonkeyPatch, here: Here) -> None:
    for name, value in {"RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    result = here("train", "nosuchrecipe")
    assert result.err.startswith("WORLD_SIZE is 2, but torchrun did not start this process: it works alone\nerror: no")


def test_a_meeting_place_that_is_not_there_is_named(rank: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting_store, "MEETING_SECONDS", 0.05)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and never listens
        rank(1, MASTER_PORT=str(closed.getsockname()[1]))
        with pytest.raises(DlkitError, match=r"cannot reach 127\.0\.0\.1:.* Connection refused"):
            process_group.join_world(torch.device("cpu")).__enter__()


def test_a_signal_that_torchrun_passes_on_is_no_second_one(
    rank: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    rank(0)
    with GracefulStop("stopping") as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert (stop.requested, ended) == (signal.SIGTERM, [])
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 5)
        os.kill(os.getpid(), signal.SIGTERM)
        assert ended == [143]


def test_resume_auto_begins_a_run_and_goes_on_with_it(here: Here, tmp_path: Path) -> None:
    few = ["digits-mlp", "train.epochs=null", "train.steps=3", "train.eval_every=never", "--device", "cpu", "-q"]
    path = tmp_path / "run"
    begun = here("train", *few, "--run-dir", str(path), "--resume", "auto")
    assert (begun.code, begun.out) == (0, f"{path}\n")
    assert "going on" not in begun.err
    again = here("train", *few, "--run-dir", str(path), "--resume=auto")
    assert (again.code, again.out) == (0, f"{path}\n")
    assert f"going on with {path} at step 3" in again.err
    assert "going on" in here("train", "--resume", "auto", str(path), "-q").err
    unnamed = here("train", *few, "--resume", "auto")
    assert unnamed.code == 2
    assert unnamed.err == (
        "error: --resume auto does not know which run to go on with\n"
        "hint: name it: digits-mlp --run-dir runs/NAME --resume auto\n"
    )
