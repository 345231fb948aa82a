"""TLS on the loopback interface: certificates of every bad kind, and one clear line for each."""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from dlkit.download.failures import as_fetch_error
from dlkit.errors import DlkitError
from tests.download.fifty_times import NAME
from tests.download.loopback import use

pytestmark = pytest.mark.usefixtures("fresh_network")


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
