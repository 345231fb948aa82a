"""A download that is killed at any moment and given again ends with the same bytes, and fetches nothing twice."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dlkit.data import store

CHUNK = 1 << 20  # of what was on its way when the process was killed, at most this comes twice


def contents(place: Path) -> dict[str, str]:
    return {
        path.relative_to(place).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in place.rglob("*")
        if path.is_file() and path.suffix != ".seal"
    }


def killed(root: Path, dice: random.Random, kills: int, seconds: float) -> int:
    """Kill the command so many times, anywhere in the seconds that it takes, then let it end. Kills that hit."""
    command = [sys.executable, "-m", "dlkit", "download", "imdb", "cifar10", "--allow-mismatch"]
    environment = {**os.environ, "DLKIT_DATA": str(root)}
    hits = 0
    for _ in range(kills):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(dice.uniform(0.2, 0.9) * seconds)
        process.send_signal(signal.SIGKILL)
        hits += process.wait() == -signal.SIGKILL
        for name in ("imdb", "cifar10"):  # complete or absent, at every moment
            manifest = store.find(name, root)
            assert manifest is None or store.damaged(root / name, manifest) == []
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return hits


def check(hub: Any, tmp_path: Path, dice: random.Random, kills: int) -> None:
    hub.add("imdb", dict.fromkeys(("train", "test", "unsupervised"), 3000))
    hub.add("cifar10", {"train": 2000, "test": 100})
    whole = sum(len(body) for files in hub.repositories.values() for body in files.values())
    environment = {**os.environ, "DLKIT_DATA": str(tmp_path / "calm")}
    command = [sys.executable, "-m", "dlkit", "download", "imdb", "cifar10", "--allow-mismatch"]
    began = time.monotonic()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    seconds = time.monotonic() - began
    hub.served.clear()
    hits = killed(tmp_path / "killed", dice, kills, seconds)
    assert hits > 0
    for name in ("imdb", "cifar10"):
        calm, other = contents(tmp_path / "calm" / name), contents(tmp_path / "killed" / name)
        assert calm == other
    # what the server had sent and the killed process had not read was in flight: a chunk a kill at the most
    assert sum(hub.served.values()) - whole <= hits * CHUNK


@pytest.mark.slow
def test_fifty_kills_change_nothing(hub: Any, tmp_path: Path) -> None:
    dice = random.Random(0)
    for round in range(10):
        hub.repositories.clear()
        check(hub, tmp_path / str(round), dice, 5)
