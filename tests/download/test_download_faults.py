"""The worst of the network and of the disk: nothing lost, nothing wrong published, one clear line."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dlkit.data import store
from dlkit.data.registry import DATASETS
from dlkit.download.failures import FetchError
from dlkit.download.remote_files import RemoteFile
from dlkit.download.request import DownloadResult
from dlkit.download.retries import CancelledError, TransferMonitor
from dlkit.download.transfer import fetch_file
from dlkit.errors import DlkitError
from tests.download.fifty_times import BIG, CHUNK, NAME
from tests.download.patience import impatient
from tests.download.small_disk import disk_of


def get(file: RemoteFile, folder: Path, **changes: Any) -> tuple[bytes, list[str]]:
    """Fetch it; its content and the remarks made."""
    notes: list[str] = []
    monitor = TransferMonitor(lambda *_: None, notes.append, threading.Event())
    done = fetch_file(file, folder, None, impatient(**{"timeout": 5.0, **changes}), monitor)
    content = (folder / file.path).read_bytes()
    assert (done.size, done.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    return content, notes


POSITIONS = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 777, BIG - 1]
SOME = [1, CHUNK, BIG - 1]
CUTS = [("reset", "broke"), ("truncate", "too early"), ("stall", "fell silent")]


def check_cut(hub: Any, big: RemoteFile, folder: Path, kind: str, place: int, said: str) -> None:
    hub.served.clear()
    hub.faults["cdn"] = [(kind, place, 0.6)]
    content, notes = get(big, folder, timeout=0.25)
    assert hashlib.sha256(content).hexdigest() == big.identity
    assert said in notes[0] or "broke" in notes[0]
    assert hub.served[big.identity] - BIG < CHUNK  # of what had come, less than a chunk came twice


@pytest.mark.parametrize(
    ("kind", "said", "place"), [(*cut, place) for cut in CUTS for place in (POSITIONS if cut == CUTS[0] else SOME)]
)
def test_a_cut_transfer_goes_on_where_it_was(
    hub: Any, big: RemoteFile, tmp_path: Path, kind: str, said: str, place: int
) -> None:
    check_cut(hub, big, tmp_path / "raw", kind, place, said)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "said"), CUTS)
def test_fifty_cuts_at_random(hub: Any, big: RemoteFile, tmp_path: Path, kind: str, said: str) -> None:
    dice = random.Random(0)
    for number in range(50):
        check_cut(hub, big, tmp_path / f"raw-{number}", kind, dice.randrange(BIG), said)


def test_many_cuts_in_one_transfer(hub: Any, big: RemoteFile, tmp_path: Path) -> None:
    """Each try that brings something renews the patience."""
    hub.faults["cdn"] = [("reset", BIG // 12)] * 10
    content, notes = get(big, tmp_path, retries=1)
    assert hashlib.sha256(content).hexdigest() == big.identity
    assert len(notes) == 10


SHORT = [
    (("status", 500), "HTTP 500"),
    (("status", 502), "HTTP 502"),
    (("status", 503), "HTTP 503"),
    (("status", 429, {"Retry_After": "0"}), "HTTP 429"),
    (("corrupt", CHUNK + 5), "damaged: sha256"),
    (("length", 7), "announces 3,158,080 bytes, 3,158,073 were expected"),
    (("length", -7), "announces 3,158,066 bytes, 3,158,073 were expected"),
    (("html",), "a web page instead of the file"),
    (("no ranges",), ""),
]


def check_fault(hub: Any, big: RemoteFile, folder: Path, fault: Any, said: str) -> None:
    hub.faults["cdn"] = [("reset", CHUNK), fault] if fault == ("no ranges",) else [fault, fault]
    content, notes = get(big, folder)
    assert hashlib.sha256(content).hexdigest() == big.identity
    assert any(said in note for note in notes)


@pytest.mark.parametrize(("fault", "said"), SHORT, ids=lambda value: str(value))
def test_a_passing_fault_is_overcome(hub: Any, big: RemoteFile, tmp_path: Path, fault: Any, said: str) -> None:
    check_fault(hub, big, tmp_path, fault, said)


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "said"), SHORT, ids=lambda value: str(value))
def test_fifty_passing_faults(hub: Any, big: RemoteFile, tmp_path: Path, fault: Any, said: str) -> None:
    for number in range(50):
        changed = ("corrupt", random.Random(number).randrange(BIG)) if fault[0] == "corrupt" else fault
        check_fault(hub, big, tmp_path / str(number), changed, said)


LASTING = [*SHORT[:8], (("loop",), "redirected in a circle"), (("reset", 0), "broke"), (("stall", 0, 0.6), "silent")]


PLACES = [("cdn", *case) for case in LASTING] + [
    ("api", *case) for case in LASTING if case[0][0] not in ("corrupt", "length")
]


@pytest.mark.parametrize(("where", "fault", "said"), PLACES, ids=lambda value: str(value))
def test_a_lasting_fault_ends_with_one_clear_line(hub: Any, obtain: Any, where: str, fault: Any, said: str) -> None:
    hub.add(NAME)
    hub.always[where] = fault
    with pytest.raises(DlkitError) as caught:
        obtain(NAME, retry_policy=impatient(retries=2, timeout=0.25))
    said = {"html": "web page", "corrupt": "damaged", "length": "announces"}.get(fault[0], said)
    assert caught.value.message.startswith(f"cannot fetch {NAME} from {hub.url}: ")
    assert said in caught.value.message
    assert "\n" not in caught.value.message
    assert store.find_manifest(NAME) is None
    del hub.always[where]
    assert obtain(NAME).status == "downloaded"


# ------------------------------------------------------------------ tokens


# ------------------------------------------------------------------ the disk


def test_a_disk_that_is_too_small_is_told_before_the_first_byte(
    hub: Any, obtain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(NAME)
    usage = shutil._ntuple_diskusage(10**9, 10**9 - 10**6, 10**6)  # type: ignore[attr-defined]
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(DlkitError, match=r"glue/cola needs 33\.6 MB on the disk of .*, 1 MB are free"):
        obtain(NAME)
    assert not hub.served


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    with disk_of(tmp_path / "small", megabytes=2) as place:
        yield place


def test_a_disk_that_fills_up_keeps_what_has_come(hub: Any, big: RemoteFile, small_disk: Path) -> None:
    filler = small_disk / "filler"
    with pytest.raises(DlkitError, match="the disk is full: cannot write") as caught:
        get(big, small_disk / "raw")
    assert "goes on from here" in (caught.value.hint or "")
    assert not filler.exists()
    (partial,) = (small_disk / "raw").glob("*.part")
    had = partial.stat().st_size
    assert had > CHUNK
    hub.served.clear()
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    content, _ = get(big, small_disk / "raw")
    assert hashlib.sha256(content).hexdigest() == big.identity
    assert hub.served[big.identity] == BIG - had


def test_a_disk_that_fills_up_while_preparing(
    hub: Any, obtain: Any, monkeypatch: pytest.MonkeyPatch, small_disk: Path
) -> None:
    """The space check cannot know what others write meanwhile."""
    hub.add("cifar10", {"train": 500, "test": 10})
    monkeypatch.setattr("dlkit.download.space.require_space_for_download", lambda *_: None)
    (small_disk / "others").write_bytes(bytes(300_000))
    with pytest.raises(DlkitError, match="the disk is full"):
        obtain("cifar10", root=small_disk)
    assert store.find_manifest("cifar10", small_disk) is None
    subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
    served = sum(hub.served.values())
    obtain("cifar10", root=small_disk)
    assert sum(hub.served.values()) - served < CHUNK * 2


def test_a_read_only_directory(hub: Any, small_disk: Path, obtain: Any) -> None:
    hub.add(NAME)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(DlkitError, match="Read-only file system") as caught:
        obtain(NAME, root=small_disk / "data")
    assert "data_dir" in (caught.value.hint or "")


# ------------------------------------------------------------------ two at once, verification, mirrors, archives


def test_two_downloads_of_one_set_share_it(hub: Any, obtain: Any) -> None:
    hub.add("cifar10", {"train": 300, "test": 10})
    hub.always["cdn"] = ("no fault",)
    outcomes: list[DownloadResult] = []
    threads = [threading.Thread(target=lambda: outcomes.append(obtain("cifar10"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcome.status for outcome in outcomes) == ["downloaded", "present", "present"]
    sizes = [len(body) for body in hub.repositories["uoft-cs/cifar10", "main"].values()]
    assert sum(hub.served.values()) == sum(sizes)


def test_what_is_here_needs_no_network(hub: Any, obtain: Any) -> None:
    hub.add(NAME)
    obtain(NAME)
    asked = len(hub.requests)
    assert obtain(NAME, offline=True).status == "present"
    assert len(hub.requests) == asked
    with pytest.raises(DlkitError, match=r"offline, and the data set imdb is not here: .* 83\.4 MB"):
        obtain("imdb", offline=True)


def test_a_directory_in_the_layout_of_the_hub(hub: Any, obtain: Any, tmp_path: Path) -> None:
    dataset = DATASETS["sst2"]
    hub.add("sst2")
    for path, body in hub.repositories["stanfordnlp/sst2", "main"].items():
        target = tmp_path / "mirror" / dataset.repo / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(body)
    outcome = obtain("sst2", mirror=str(tmp_path / "mirror"), offline=True)
    assert outcome.manifest.source["kind"] == "directory"
    assert not hub.requests
    assert outcome.manifest.sha256 == obtain("sst2", force=True).manifest.sha256
    with pytest.raises(DlkitError, match="has nothing of imdb"):
        obtain("imdb", mirror=str(tmp_path / "mirror"))


def test_stopping_keeps_what_has_come(hub: Any, obtain: Any) -> None:
    hub.add("cifar10", {"train": 1000, "test": 10})
    hub.always["cdn"] = ("stall", CHUNK, 5.0)
    halt = threading.Event()
    threading.Timer(0.5, halt.set).start()
    began = time.monotonic()
    with pytest.raises(CancelledError):
        obtain("cifar10", stop=halt, retry_policy=impatient(timeout=5.0))
    assert time.monotonic() - began < 3
    hub.always.clear()
    served = sum(hub.served.values())
    assert obtain("cifar10").status == "downloaded"
    whole = sum(len(body) for body in hub.repositories["uoft-cs/cifar10", "main"].values())
    assert served > CHUNK
    assert sum(hub.served.values()) - whole < 2 * CHUNK


def test_a_redirect_to_a_file_of_this_machine_is_refused(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories["org/x", "main"] = {"a": b"a"}
    hub.cdn = "file:///etc/passwd#"
    file = RemoteFile("a", "", 1, None, "a", url=f"{hub.url}/datasets/org/x/resolve/main/a")
    with pytest.raises(FetchError, match="not a web address"):
        get(file, tmp_path)


def test_a_link_that_leads_out_of_the_folder_is_not_emptied(obtain: Any, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "new").mkdir(parents=True)
    (elsewhere / "new" / "mine.txt").write_text("mine")
    work = tmp_path / "data" / ".work"
    work.mkdir(parents=True)
    (work / "sst2").symlink_to(elsewhere)
    with pytest.raises(DlkitError, match="leads out of"):
        obtain("sst2")
    assert (elsewhere / "new" / "mine.txt").read_text() == "mine"
