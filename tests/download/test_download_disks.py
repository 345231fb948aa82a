"""Disks that are full, read-only or of somebody else, each fifty times at random: one clear line, and it goes on."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dlkit.data import store
from dlkit.data.registry import DATASETS
from dlkit.download.remote_files import RemoteFile
from dlkit.errors import DlkitError
from tests.download.fifty_times import BIG, NAME, TIMES, get, one_line
from tests.download.patience import impatient
from tests.download.small_disk import disk_of


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    with disk_of(tmp_path / "small", megabytes=8) as place:
        yield place


def remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", place], check=True)


@pytest.mark.parametrize("times", TIMES)
def test_a_disk_that_fills_up_anywhere(hub: Any, big: RemoteFile, mounted: Path, times: int) -> None:
    dice = random.Random(5)
    for number in range(times):
        folder = mounted / str(number)
        hub.served.clear()
        remount(mounted, f"size={dice.randrange(64_000, BIG)}")
        with pytest.raises(DlkitError) as caught:
            get(big, folder)
        one_line(caught, "the disk is full: cannot write ")
        (partial,) = folder.glob("*.part")
        had = partial.stat().st_size
        first, _ = hub.served[big.identity], hub.served.clear()
        assert first <= BIG
        remount(mounted, "size=8m")
        get(big, folder)
        assert hub.served[big.identity] == BIG - had
        shutil.rmtree(folder)  # the next round may have less room than this takes


@pytest.mark.parametrize("times", TIMES)
def test_a_disk_that_fills_up_while_preparing(
    hub: Any, obtain: Any, monkeypatch: pytest.MonkeyPatch, mounted: Path, times: int
) -> None:
    """The space check cannot know what others write meanwhile."""
    monkeypatch.setattr("dlkit.download.space.require_space_for_download", lambda *_: None)
    hub.add("cifar10", {"train": 200, "test": 10})
    raw = sum(len(body) for body in hub.repositories["uoft-cs/cifar10", "main"].values())
    dice = random.Random(6)
    for number in range(times):
        root = mounted / str(number)
        remount(mounted, f"size={raw + dice.randrange(20_000, 640_000)}")
        with pytest.raises(DlkitError) as caught:
            obtain("cifar10", root=root)
        one_line(caught, "the disk is full: cannot write ")
        assert store.find_manifest("cifar10", root) is None
        remount(mounted, "size=8m")
        served = sum(hub.served.values())
        outcome = obtain("cifar10", root=root)
        assert store.damaged_files(outcome.path, outcome.manifest) == []
        assert sum(hub.served.values()) - served < raw / 2 or number == 0
        subprocess.run(["rm", "-r", root], check=True)


@pytest.mark.parametrize("times", TIMES)
def test_a_disk_that_turns_read_only(hub: Any, obtain: Any, mounted: Path, times: int) -> None:
    """Between two tries, with any part of it here: one line, and what is here stays."""
    hub.add("imdb", dict.fromkeys(DATASETS["imdb"].rows, 3000))
    sizes = [len(body) for body in hub.repositories["stanfordnlp/imdb", "main"].values()]
    remount(mounted, "size=64m")
    dice = random.Random(7)
    for number in range(times):
        root = mounted / str(number)
        hub.served.clear()
        hub.faults["cdn"] = [("no fault",)] * dice.randrange(3) + [("truncate", dice.randrange(min(sizes)))]
        with pytest.raises(DlkitError, match="too early"):
            obtain("imdb", root=root, jobs=1, retry_policy=impatient(retries=0))
        remount(mounted, "ro")
        with pytest.raises(DlkitError) as caught:
            obtain("imdb", root=root)
        one_line(caught, "cannot write ", "Read-only file system")
        assert "`data_dir`" in caught.value.hint
        remount(mounted, "rw")
        assert obtain("imdb", root=root).status == "downloaded"
        assert sum(hub.served.values()) == sum(sizes)
        subprocess.run(["rm", "-r", root], check=True)


@pytest.mark.parametrize("times", TIMES)
def test_a_folder_of_somebody_else(hub: Any, obtain: Any, tmp_path: Path, times: int) -> None:
    hub.add(NAME)
    for place in (tmp_path, *tmp_path.parents):  # the way to it is open
        if place.owner() == "root" and place.stat().st_mode & 0o011 != 0o011 and os.getuid() == 0:
            place.chmod(place.stat().st_mode | 0o011)
    obtain(NAME)  # what is imported late is imported now
    try:
        roots = [tmp_path / f"theirs-{number}" for number in range(times)]
        for root in roots:
            root.mkdir(mode=0o555)
        if os.getuid() == 0:
            os.seteuid(65534)
        for root in roots:
            with pytest.raises(DlkitError) as caught:
                obtain(NAME, root=root)
            one_line(caught, f"cannot write {root}", "Permission denied")
            assert "`data_dir`" in caught.value.hint
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
