"""A hub on the loopback interface, and how tests obtain data sets from it."""

from __future__ import annotations

import hashlib
import shutil
import socket
import ssl
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlkit.data import store
from dlkit.data.registry import DATASETS
from dlkit.download import obtain_dataset
from dlkit.download.remote_files import RemoteFile
from dlkit.download.request import DownloadRequest, DownloadResult
from tests.download.fifty_times import BIG
from tests.download.hub_server import Handler, Hub
from tests.download.loopback import end, forget, join, listen
from tests.download.patience import impatient


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A running hub, found by $HF_ENDPOINT; its files are served under another origin, as by a CDN."""
    state = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": state}))
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    port = server.server_address[1]
    state.url, state.cdn = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("HF_ENDPOINT", state.url)
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setenv("DLKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(store, "_chosen", None)
    yield state
    server.shutdown()
    server.server_close()
    urllib.request.urlcleanup()


class Silent:
    """A reporter that keeps the remarks."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.offsets: dict[str, int] = {}

    def begin(self, name: str, sizes: dict[str, int | None]) -> None: ...
    def phase(self, name: str, what: str, total: int) -> None: ...
    def step(self, count: int) -> None: ...

    def at(self, path: str, offset: int) -> None:
        self.offsets[path] = offset

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def obtain(hub: Hub, tmp_path: Path) -> Callable[..., DownloadResult]:
    """Obtain a data set from the hub into a folder of this test, with little patience."""

    def call(name: str, reporter: Any = None, **options: Any) -> DownloadResult:
        options = {"root": tmp_path / "data", "allow_mismatch": True, "retry_policy": impatient(), **options}
        return obtain_dataset.obtain_dataset(DATASETS[name], DownloadRequest(**options), reporter or Silent())

    return call


@pytest.fixture
def big(hub: Any) -> RemoteFile:
    """A file of a little more than three chunks."""
    body = np.random.default_rng(0).bytes(BIG)
    hub.repositories["org/big", "main"] = {"big.bin": body}
    digest = hashlib.sha256(body).hexdigest()
    return RemoteFile("big.bin", "", BIG, ("sha256", digest), digest, url=f"{hub.cdn}/plain/{digest}")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority and its certificates: good, expired, of another host; and its hashed form."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("authority")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]

    def run(*arguments: str) -> str:
        return subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout

    authority = ["-subj", "/CN=an authority", "-addext", "keyUsage=critical,keyCertSign"]  # as Python 3.13 demands
    run("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", *authority)
    run("req", "-new", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=server")
    for name, days, hosts in (
        ("good", "2", "DNS:localhost,IP:127.0.0.1"),
        ("expired", "-1", "DNS:localhost,IP:127.0.0.1"),
        ("other", "2", "DNS:elsewhere.example"),
    ):
        (folder / "names").write_text(f"subjectAltName={hosts}\nauthorityKeyIdentifier=keyid\n")
        sign = ["x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
        run(*sign, "-days", days, "-extfile", "names", "-out", f"{name}.pem")
    (folder / "hashed").mkdir()
    digest = run("x509", "-in", "ca.pem", "-noout", "-hash").strip()
    shutil.copy(folder / "ca.pem", folder / "hashed" / f"{digest}.0")
    return folder


@pytest.fixture
def fresh_network(hub: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No proxy and no authority but those of the test, read anew."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "ALL_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    forget()
    yield
    forget()


@pytest.fixture
def secure(hub: Any, authority: Path) -> Iterator[Callable[[str], str]]:
    """Puts TLS with a certificate before the hub; the address of the front."""
    port = int(hub.url.rpartition(":")[2])
    listeners: list[socket.socket] = []

    def front(certificate: str) -> str:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority / f"{certificate}.pem", authority / "server.key")

        def serve(connection: socket.socket) -> None:
            try:
                wrapped = context.wrap_socket(connection, server_side=True)
            except OSError:
                connection.close()
                return
            join(wrapped, socket.create_connection(("127.0.0.1", port)))

        listener, place = listen(serve)
        listeners.append(listener)
        return f"https://localhost:{place}"

    yield front
    for listener in listeners:
        end(listener)
