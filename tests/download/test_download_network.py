"""TLS and proxies on the loopback interface: certificates of every bad kind, tunnels, and one clear line for each."""

from __future__ import annotations

import base64
import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dlkit.download import hub as hub_client
from dlkit.download import network
from dlkit.download.failures import as_fetch_error
from dlkit.errors import DlkitError

NAME = "glue/cola"
USER = "Basic " + base64.b64encode(b"me:s3cret").decode()


def pump(source: socket.socket, target: socket.socket) -> None:
    """Copy what comes until one side ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def join(one: socket.socket, other: socket.socket) -> None:
    back = threading.Thread(target=pump, args=(other, one), daemon=True)
    back.start()
    pump(one, other)
    back.join(2)
    one.close()
    other.close()


def listen(serve: Callable[[socket.socket], None]) -> tuple[socket.socket, int]:
    """A server that answers each connection in a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener, listener.getsockname()[1]


def end(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()


# ------------------------------------------------------------------ certificates


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority and its certificates: good, expired, of another host; and its hashed form."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("authority")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]

    def run(*arguments: str) -> str:
        return subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout

    run("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=an authority")
    run("req", "-new", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=server")
    for name, days, hosts in (
        ("good", "2", "DNS:localhost,IP:127.0.0.1"),
        ("expired", "-1", "DNS:localhost,IP:127.0.0.1"),
        ("other", "2", "DNS:elsewhere.example"),
    ):
        (folder / "names").write_text(f"subjectAltName={hosts}\n")
        sign = ["x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
        run(*sign, "-days", days, "-extfile", "names", "-out", f"{name}.pem")
    (folder / "hashed").mkdir()
    digest = run("x509", "-in", "ca.pem", "-noout", "-hash").strip()
    shutil.copy(folder / "ca.pem", folder / "hashed" / f"{digest}.0")
    return folder


@pytest.fixture(autouse=True)
def fresh(hub: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No proxy and no authority but those of the test, read anew."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "ALL_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    forget()
    yield
    forget()


def forget() -> None:
    from huggingface_hub import close_session

    network._context.cache_clear()
    hub_client._use_certificates.cache_clear()
    close_session()


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


def use(hub: Any, monkeypatch: pytest.MonkeyPatch, api: str, cdn: str) -> None:
    hub.url, hub.cdn = api, cdn.replace("localhost", "127.0.0.1")
    monkeypatch.setenv("HF_ENDPOINT", api)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_named_authority_is_believed(
    hub: Any, obtain: Any, secure: Any, authority: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    hub.add(NAME)
    front = secure("good")
    use(hub, monkeypatch, front, front)
    monkeypatch.setenv(variable, str(authority / ("hashed" if variable == "SSL_CERT_DIR" else "ca.pem")))
    assert obtain(NAME).status == "downloaded"


@pytest.mark.parametrize("where", ["api", "cdn"])
@pytest.mark.parametrize(
    ("certificate", "believed", "said", "hint"),
    [
        ("good", False, "unable to get local issuer certificate", "SSL_CERT_FILE="),
        ("expired", True, "certificate has expired", "is this machine's clock right? It says 20"),
        ("other", True, "ostname mismatch", "check the network, the proxy"),
    ],
)
def test_a_bad_certificate_is_one_clear_line(
    hub: Any,
    obtain: Any,
    secure: Any,
    authority: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    certificate: str,
    believed: bool,
    said: str,
    hint: str,
) -> None:
    hub.add(NAME)
    plain = hub.url
    bad = secure(certificate)
    use(hub, monkeypatch, *((bad, plain) if where == "api" else (plain, bad.replace("127.0.0.1", "localhost"))))
    if certificate == "other" and where == "cdn":
        said = "IP address mismatch"
    if believed:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority / "ca.pem"))
    began = time.monotonic()
    with pytest.raises(DlkitError) as caught:
        obtain(NAME)
    assert time.monotonic() - began < 5  # no retries: it will not get better
    message = caught.value.message
    assert message.startswith(f"cannot fetch {NAME} from {hub.url}: the server's certificate is not valid: ")
    assert said in message
    assert hint in (caught.value.hint or "")
    assert "\n" not in message


def test_authorities_that_are_not_there(obtain: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such.pem")
    with pytest.raises(DlkitError, match=r"REQUESTS_CA_BUNDLE=/no/such\.pem: No such file") as caught:
        obtain(NAME)
    assert caught.value.hint == "correct or unset REQUESTS_CA_BUNDLE"
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    monkeypatch.setenv("SSL_CERT_FILE", str(empty))
    with pytest.raises(DlkitError, match=r"SSL_CERT_FILE=.*empty\.pem: it has no certificates"):
        obtain(NAME)


def test_a_server_without_tls(hub: Any, obtain: Any) -> None:
    with pytest.raises(DlkitError, match="does not speak TLS as it should"):
        obtain(NAME, mirror=hub.url.replace("http:", "https:"))


def test_a_cut_in_the_middle_of_tls_is_a_broken_connection() -> None:
    assert as_fetch_error(ssl.SSLEOFError(8, "EOF occurred in violation of protocol")).transient
    assert as_fetch_error(ssl.SSLEOFError(8, "EOF occurred in violation of protocol")).reason == "the connection broke"


# ------------------------------------------------------------------ proxies


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
