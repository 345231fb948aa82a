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


def contents(place: Path) -> dict[str, str]:
    return {
        path.relative_to(place).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in place.rglob("*")
        if path.is_file() and path.suffix != ".seal"
    }


def arrived(hub: Any, root: Path) -> dict[str, int]:
    """Bytes on the disk of each file that the hub serves, by its digest; what is complete is there to its end."""
    found = {}
    for (repository, _), files in hub.repositories.items():
        work = root / ".work" / repository.partition("/")[2]
        for path, body in files.items():
            digest = hashlib.sha256(body).hexdigest()
            for partial in work.rglob(f"{path}.*.part"):
                found[digest] = partial.stat().st_size
            for _ in work.rglob(f"{path}.seal"):
                found[digest] = len(body)
    return found


def starts(requests: list[tuple[str, str, dict[str, str]]]) -> list[tuple[str, int]]:
    """Which file was asked for, by its digest, and from which byte."""
    return [
        (path.rpartition("/")[2], int(headers.get("Range", "bytes=0-")[len("bytes=") : -1]))
        for command, path, headers in requests
        if command == "GET" and path.startswith("/cdn/")
    ]


def killed(hub: Any, root: Path, dice: random.Random, kills: int, seconds: float) -> tuple[int, int]:
    """Kill the command so many times, anywhere in the seconds that it takes, then let it end.

    Returns: kills that hit, and bytes that had come and were needed after one.
    """
    command = [sys.executable, "-m", "dlkit", "download", "imdb", "cifar10", "--allow-mismatch"]
    environment = {**os.environ, "DLKIT_DATA": str(root)}
    hits = 0
    had: dict[str, int] = {}  # bytes that have come
    for _ in range(kills):
        hub.requests.clear()
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(dice.uniform(0.2, 0.9) * seconds)
        process.send_signal(signal.SIGKILL)
        hits += process.wait() == -signal.SIGKILL
        for name in ("imdb", "cifar10"):  # complete or absent, at every moment
            manifest = store.find_manifest(name, root)
            assert manifest is None or store.damaged_files(root / name, manifest) == []
        assert all(start >= had.get(digest, 0) for digest, start in starts(hub.requests))  # what had come stays
        had.update(arrived(hub, root))
    hub.requests.clear()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert all(start >= had.get(digest, 0) for digest, start in starts(hub.requests))
    return hits, sum(had.values())


def check(hub: Any, tmp_path: Path, dice: random.Random, kills: int) -> tuple[int, int]:
    hub.add("imdb", dict.fromkeys(("train", "test", "unsupervised"), 3000))
    hub.add("cifar10", {"train": 2000, "test": 100})
    environment = {**os.environ, "DLKIT_DATA": str(tmp_path / "calm")}
    command = [sys.executable, "-m", "dlkit", "download", "imdb", "cifar10", "--allow-mismatch"]
    began = time.monotonic()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    seconds = time.monotonic() - began
    found = killed(hub, tmp_path / "killed", dice, kills, seconds)
    for name in ("imdb", "cifar10"):
        calm, other = contents(tmp_path / "calm" / name), contents(tmp_path / "killed" / name)
        assert calm == other
    return found


@pytest.mark.slow
def test_fifty_kills_change_nothing(hub: Any, tmp_path: Path) -> None:
    dice, hits, bytes_kept = random.Random(0), 0, 0
    for round in range(10):
        hub.repositories.clear()
        found = check(hub, tmp_path / str(round), dice, 5)
        hits, bytes_kept = hits + found[0], bytes_kept + found[1]
    assert hits >= 10  # the others came too late
    assert bytes_kept > 0
