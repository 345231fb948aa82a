"""Two processes that talk to each other: a function in each of them, or dlkit itself under torchrun."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("called_by_each_rank.py")
SECONDS = 600  # for one launch, on a busy machine
# torchrun's own variables, which a suite that itself runs under torchrun would pass on
_TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "TORCHELASTIC_RUN_ID")


def torchrun_command(*arguments: str, processes: int = 2, options: tuple[str, ...] = ()) -> list[str]:
    """The command line of torchrun, on a port that is free; `arguments` are of the program that it runs."""
    program = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return [*program, *options, *arguments]


def environment(**more: str) -> dict[str, str]:
    """One thread a process, and no variables of a torchrun that this suite may run under."""
    kept = {name: value for name, value in os.environ.items() if name not in _TORCHRUN}
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2]), **more}


@pytest.fixture(scope="session")
def torchrun() -> Callable[..., subprocess.CompletedProcess[str]]:
    """torchrun("train", ...) runs dlkit in two processes, or as many as `processes` says, to its end."""

    def call(
        *arguments: str, processes: int = 2, options: tuple[str, ...] = (), **more: Any
    ) -> subprocess.CompletedProcess[str]:
        command = torchrun_command("-m", "dlkit", *arguments, processes=processes, options=options)
        more = {"timeout": SECONDS, "env": environment(), **more}
        return subprocess.run(command, capture_output=True, text=True, **more)

    return call


@pytest.fixture(scope="session")
def job() -> Callable[..., AbstractContextManager[subprocess.Popen[str]]]:
    """job("train", ...) is a torchrun of dlkit beside the test; more keywords are of its environment."""

    @contextmanager
    def start(*arguments: str, options: tuple[str, ...] = (), **more: str) -> Iterator[subprocess.Popen[str]]:
        command = torchrun_command("-m", "dlkit", *arguments, options=options)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, env=environment(**more), **pipes) as started:
            yield started
            started.kill()

    return start


@pytest.fixture(scope="session")
def in_two_processes(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Any]]:
    """in_two_processes(function, ...) calls a function of a test's module in two processes that have joined a world.

    It returns what each rank's call returned. Arguments and results are pickled; `processes` may be another number.
    With `joined=False` the function joins a world itself, or none.
    """

    def call(function: Callable[..., Any], *arguments: Any, processes: int = 2, joined: bool = True) -> list[Any]:
        folder = tmp_path_factory.mktemp("ranks")
        request = (function.__code__.co_filename, function.__name__, arguments, joined)
        (folder / "request").write_bytes(pickle.dumps(request))
        command = torchrun_command(str(PROGRAM), str(folder), processes=processes)
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=environment())
        assert done.returncode == 0, done.stderr
        return [pickle.loads((folder / f"result-{rank}").read_bytes()) for rank in range(processes)]

    return call
