"""Faults of servers, each fifty times at random positions: nothing lost, nothing fetched twice, one clear line."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dlkit.data import store
from dlkit.data.registry import DATASETS
from dlkit.download.failures import FetchError
from dlkit.download.remote_files import RemoteFile
from dlkit.errors import DlkitError
from tests.download.fifty_times import BIG, CHUNK, NAME, TIMES, get, one_line
from tests.download.patience import impatient


class Front:
    """A relay that cuts its connection after so many bytes, and then refuses new ones until it is opened again."""

    def __init__(self, port: int) -> None:
        self.target, self.cut = port, -1
        self.relayed = 0  # bytes to clients
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open = True
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while self.open:
            listener = self.listener
            try:
                connection, _ = listener.accept()
            except OSError:
                time.sleep(0.001)
                continue
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.target)) as server:
            server.sendall(connection.recv(1 << 16))
            left, self.cut = self.cut, -1
            while data := server.recv(1 << 16):
                if 0 <= left < len(data):
                    connection.sendall(data[:left])
                    self.relayed += left
                    self.stop_listening()
                    break
                connection.sendall(data)
                self.relayed += len(data)
                left -= len(data) if left >= 0 else 0
        connection.close()

    def listen_again(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", self.port))

    def stop_listening(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def front(hub: Any) -> Iterator[Front]:
    relay = Front(int(hub.url.rpartition(":")[2]))
    yield relay
    relay.open = False
    relay.stop_listening()


@pytest.mark.parametrize("times", TIMES)
def test_a_server_that_goes_away_and_comes_back(
    hub: Any, big: RemoteFile, front: Front, tmp_path: Path, times: int
) -> None:
    dice = random.Random(1)
    file = dataclasses.replace(big, url=f"http://127.0.0.1:{front.port}/plain/{big.identity}")
    for number in range(times):
        front.relayed, front.cut = 0, dice.randrange(500, BIG)
        notes = get(
            file, tmp_path / str(number), lambda text: front.listen_again() if "refused" in text else None, timeout=60.0
        )
        assert any("connection refused" in note for note in notes), notes
        assert front.relayed - BIG < CHUNK


def closed_port() -> int:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return closed.getsockname()[1]


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize(
    ("address", "said"),
    [
        (lambda number: f"http://127.0.0.1:{closed_port()}", "connection refused"),
        (lambda number: f"http://no-such-host-{number}.invalid", "the name of the server is not known"),
    ],
    ids=["refused", "unknown name"],
)
def test_a_server_that_cannot_be_reached(
    hub: Any, obtain: Any, tmp_path: Path, times: int, address: Callable[[int], str], said: str
) -> None:
    """The hub, then only its storage; what was fetched before stays."""
    hub.add("imdb", dict.fromkeys(DATASETS["imdb"].rows, 300))
    least = min(len(body) for body in hub.repositories["stanfordnlp/imdb", "main"].values())
    dice, cdn = random.Random(2), hub.cdn
    for number in range(times):
        place = address(number)
        with pytest.raises(DlkitError) as caught:
            obtain("imdb", mirror=place)
        one_line(caught, f"cannot fetch imdb from {place}: ", said)
        root = tmp_path / str(number)
        hub.cdn, hub.faults["cdn"] = cdn, [("truncate", dice.randrange(least))]
        with pytest.raises(DlkitError, match="too early"):
            obtain("imdb", root=root, jobs=1, retry_policy=impatient(retries=0))
        hub.cdn = place
        with pytest.raises(DlkitError) as caught:
            obtain("imdb", root=root)
        one_line(caught, f"cannot fetch imdb from {hub.url}: ", said)
        assert store.find_manifest("imdb", root) is None
    hub.cdn = cdn
    assert obtain("imdb", root=tmp_path / "0").status == "downloaded"


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("where", ["api", "cdn"])
def test_redirects_in_a_circle(hub: Any, obtain: Any, where: str, times: int) -> None:
    hub.add(NAME)
    for steps in range(1, times + 1):
        hub.always[where] = ("loop", steps)
        with pytest.raises(DlkitError) as caught:
            obtain(NAME)
        one_line(caught, f"cannot fetch {NAME} from {hub.url}: ", "redirected in a circle")
    hub.always.clear()
    assert obtain(NAME).status == "downloaded"


@pytest.mark.parametrize("times", TIMES)
def test_a_token_that_expires_at_any_request(
    hub: Any, obtain: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, times: int
) -> None:
    """With a new one it goes on: no file that had come is asked for again."""
    hub.add("imagenet1k")
    hub.gated.add("ILSVRC/imagenet-1k")
    monkeypatch.setenv("HF_TOKEN", "good")
    whole = sum(len(body) for body in hub.repositories["ILSVRC/imagenet-1k", "main"].values())
    dice = random.Random(3)
    for number in range(times):
        hub.served.clear()
        hub.token_lasts = dice.randrange(4)  # one for the list, three for the files
        with pytest.raises(DlkitError) as caught:
            obtain("imagenet1k", root=tmp_path / str(number), jobs=1)
        one_line(caught, f"{hub.url} does not accept the token for imagenet1k (HTTP 401)")
        assert "hf auth login" in caught.value.hint
        hub.token_lasts = None
        assert obtain("imagenet1k", root=tmp_path / str(number)).status == "downloaded"
        assert sum(hub.served.values()) == whole


@pytest.mark.parametrize("times", TIMES)
def test_a_signed_address_that_expires(hub: Any, big: RemoteFile, tmp_path: Path, times: int) -> None:
    """The storage says 403 in the middle; the hub gives a new address."""
    dice = random.Random(4)
    for number in range(times):
        hub.served.clear()
        hub.faults["cdn"] = [("truncate", dice.randrange(BIG)), ("status", 403)]
        file = RemoteFile(
            big.path, "", BIG, big.check, big.identity, url=f"{hub.url}/datasets/org/big/resolve/main/big.bin"
        )
        notes = get(file, tmp_path / str(number))
        assert any("HTTP 403" in note for note in notes)
        assert hub.served[big.identity] - BIG < CHUNK
    hub.always["cdn"] = ("status", 403)
    with pytest.raises(FetchError, match="HTTP 403"):
        get(file, tmp_path / "lasting")


@pytest.mark.parametrize("times", TIMES)
def test_mirrors_with_missing_files(hub: Any, obtain: Any, tmp_path: Path, times: int) -> None:
    """A directory that lacks a file, a hub that lacks one, and a hub that lists one that it lacks: each is named."""
    dice = random.Random(8)
    names = [name for name, dataset in DATASETS.items() if dataset.form == "texts" and len(dataset.rows) > 1]
    for number in range(times):
        dataset = DATASETS[dice.choice(names)]
        hub.repositories.clear()
        hub.add(dataset.name)
        files = hub.repositories[dataset.repo, dataset.revisions[0]]
        victim = dice.choice(sorted(files))
        split = next(s for s in sorted(dataset.rows, key=len, reverse=True) if f"/{s}-" in victim or f"/{s}/" in victim)
        for path, body in files.items():
            target = tmp_path / str(number) / dataset.repo / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if path != victim:
                target.write_bytes(body)
        with pytest.raises(DlkitError, match=f"does not have all of {dataset.name}: no file of the split '{split}'"):
            obtain(dataset.name, mirror=str(tmp_path / str(number)))
        body = files.pop(victim)
        with pytest.raises(DlkitError, match=f"does not have all of {dataset.name}: no file of the split '{split}'"):
            obtain(dataset.name)
        files[victim] = body
        hub.lost = victim
        with pytest.raises(DlkitError) as caught:
            obtain(dataset.name)
        one_line(caught, f"{hub.url} lists {victim} in {dataset.repo}, but does not have it (HTTP 404)")
        assert store.find_manifest(dataset.name) is None
        hub.lost = ""
        assert obtain(dataset.name).status == "downloaded"
        (store.dataset_folder(dataset.name) / store.MANIFEST).unlink()
