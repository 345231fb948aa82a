"""Proxies on the loopback interface: tunnels, users, refusals, and one clear line for each."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dlkit.errors import DlkitError
from tests.download.fifty_times import NAME
from tests.download.loopback import end, forget, join, listen, use

pytestmark = pytest.mark.usefixtures("fresh_network")

USER = "Basic " + base64.b64encode(b"me:s3cret").decode()


@dataclass
class Proxy:
    """What came through it: the request lines. It may want a user, or refuse."""

    port: int = 0
    lines: list[str] = field(default_factory=list)
    wants_user: bool = False
    answer: str = ""

    def serve(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            more = connection.recv(1 << 16)
            if not more:
                connection.close()
                return
            head += more
        line, _, headers = head.decode("latin-1").partition("\r\n")
        self.lines.append(line)
        refusal = self.answer or (
            "407 Proxy Authentication Required" if self.wants_user and f": {USER}\r\n" not in headers else ""
        )
        if refusal:
            connection.sendall(f"HTTP/1.1 {refusal}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            connection.close()
            return
        method, target, _ = line.split(" ")
        place = target if method == "CONNECT" else target.split("/")[2]
        host, _, port = place.partition(":")
        server = socket.create_connection((host, int(port)))
        if method == "CONNECT":
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            server.sendall(head)
        join(connection, server)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    state = Proxy()
    listener, state.port = listen(state.serve)
    yield state
    end(listener)


def test_plain_requests_go_through_the_proxy(
    hub: Any, obtain: Any, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(NAME)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    assert obtain(NAME).status == "downloaded"
    assert sum("/api/datasets/" in line for line in proxy.lines) == 1
    assert sum("/cdn/" in line for line in proxy.lines) == 3
    assert len(proxy.lines) == len(hub.requests)  # nothing went past it


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
def test_tls_goes_through_a_tunnel_with_a_user(
    hub: Any,
    obtain: Any,
    secure: Any,
    authority: Path,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    hub.add(NAME)
    front = secure("good")
    use(hub, monkeypatch, front, front)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "ca.pem"))
    proxy.wants_user = True
    monkeypatch.setenv(variable, f"http://me:wrong@127.0.0.1:{proxy.port}")
    with pytest.raises(DlkitError, match="the proxy refuses: 407 Proxy Authentication Required") as caught:
        obtain(NAME)
    assert "USER:PASSWORD" in (caught.value.hint or "")
    assert "wrong" not in caught.value.message
    forget()
    monkeypatch.setenv(variable, f"http://me:s3cret@127.0.0.1:{proxy.port}")
    assert obtain(NAME).status == "downloaded"
    assert {line.split(" ")[0] for line in proxy.lines} == {"CONNECT"}
    assert {line.split(" ")[1].split(":")[0] for line in proxy.lines} == {"localhost", "127.0.0.1"}


def test_storage_that_the_proxy_refuses(
    hub: Any, obtain: Any, secure: Any, authority: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub is reached without it; the files are not."""
    hub.add(NAME)
    plain = hub.url
    use(hub, monkeypatch, plain, secure("good"))
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
    for answer, said in (("407 Proxy Authentication Required", "407"), ("502 Bad Gateway", "502 Bad Gateway")):
        proxy.answer = answer
        with pytest.raises(DlkitError, match=f"the proxy refuses: {said}"):
            obtain(NAME)


def test_a_proxy_that_is_not_there_is_named_and_can_be_passed_by(
    hub: Any, obtain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(NAME)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setenv("http_proxy", f"http://me:s3cret@127.0.0.1:{port}")
    with pytest.raises(DlkitError, match=rf"connection refused \(through the proxy 127\.0\.0\.1:{port}\)"):
        obtain(NAME)
    forget()
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
    assert obtain(NAME).status == "downloaded"


def test_a_proxy_of_another_kind_is_told(obtain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    with pytest.raises(DlkitError, match="ALL_PROXY names a proxy of the kind socks5://; only http:// is known"):
        obtain(NAME)
