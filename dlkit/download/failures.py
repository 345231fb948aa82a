"""What goes wrong on the way, in words: failures of the network, of a server, of the local disk."""

from __future__ import annotations

import email.utils
import errno
import http.client
import socket
import ssl
import time
import urllib.error
from dataclasses import dataclass

from dlkit.errors import DlkitError

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524})
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass
class FetchError(Exception):
    """A request that did not succeed.

    Args:
        reason: what happened, for a person.
        transient: whether another try may succeed.
        status: of the response, where there was one.
        retry_after: seconds that the server asked to wait.
        reached: whether a server was reached at all.
        url: what was asked for in the end, after redirects.
        code: the hub's own name for the error (X-Error-Code).
        most: retries that make sense, whatever the patience.
        hint: what to do, where it is known.
    """

    reason: str
    transient: bool = True
    status: int | None = None
    retry_after: float | None = None
    reached: bool = True
    url: str = ""
    code: str = ""
    most: int = 1000
    hint: str = ""

    def __str__(self) -> str:
        return self.reason


def as_fetch_error(error: BaseException) -> FetchError:
    """What an exception of urllib, http.client or a socket means. Errors of the local disk are not among these."""
    if isinstance(error, FetchError):
        return error
    if isinstance(error, urllib.error.HTTPError):
        return _from_status(error)
    if isinstance(error, urllib.error.URLError):
        reason = error.reason
        if isinstance(reason, BaseException):
            inner = as_fetch_error(reason)
            inner.reached = inner.reached and isinstance(reason, ssl.SSLError)
            return inner
        return FetchError(str(reason), transient=False, reached=False)
    if isinstance(error, socket.gaierror):
        return FetchError(f"the name of the server is not known ({error.strerror})", reached=False)
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate(error)
    if isinstance(error, TimeoutError):
        return FetchError("the server fell silent")
    if isinstance(error, ConnectionRefusedError):
        return FetchError("connection refused", reached=False)
    if isinstance(error, (ConnectionError, http.client.IncompleteRead, ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return FetchError("the connection broke")
    if isinstance(error, ssl.SSLError):
        return FetchError(f"the server does not speak TLS as it should ({error.reason or error})", transient=False)
    if isinstance(error, http.client.HTTPException):
        return FetchError(f"the server's answer is not HTTP ({type(error).__name__})")
    if isinstance(error, OSError):
        tunnel = (error.strerror or str(error)).partition("Tunnel connection failed: ")[2]
        return proxy_error(tunnel) if tunnel else FetchError(error.strerror or str(error), reached=False)
    if isinstance(error, ValueError):
        return FetchError(f"not a web address: {error}", transient=False, reached=False)
    return FetchError(f"{type(error).__name__}: {error}", transient=False)


def _certificate(error: ssl.SSLCertVerificationError) -> FetchError:
    """An expired certificate may be a wrong clock; an unknown issuer may be a proxy that reads along."""
    hint = ""
    if "expired" in error.verify_message or "not yet valid" in error.verify_message:
        hint = f"is this machine's clock right? It says {time.strftime('%Y-%m-%d %H:%M')}"
    elif "self-signed" in error.verify_message or "issuer" in error.verify_message:
        hint = "if you trust its authority (a company's proxy?), name it: SSL_CERT_FILE=authority.pem"
    reason = f"the server's certificate is not valid: {error.verify_message.rstrip('.')}"
    return FetchError(reason, transient=False, hint=hint)


def proxy_error(answer: str) -> FetchError:
    """A proxy's refusal to make a tunnel: `407 Proxy Authentication Required`."""
    hint = "HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT names a user" if answer.startswith("407") else ""
    passing = answer[:3].isdigit() and int(answer[:3]) in TRANSIENT
    return FetchError(f"the proxy refuses: {answer}", transient=passing, reached=False, hint=hint)


def _from_status(error: urllib.error.HTTPError) -> FetchError:
    error.close()
    if 300 <= error.code < 400:
        foreign = "not allowed" in str(error.reason)  # urllib's own check of the scheme
        reason = "redirected to what is no web address" if foreign else "redirected in a circle"
        return FetchError(reason, transient=False, status=error.code)
    return FetchError(
        f"HTTP {error.code} {http.client.responses.get(error.code, '')}".strip(),
        transient=error.code in TRANSIENT,
        status=error.code,
        retry_after=parse_retry_after(error.headers.get("Retry-After"), error.headers.get("Date")),
        url=error.url or "",
        code=error.headers.get("X-Error-Code") or "",
    )


def parse_retry_after(value: str | None, now: str | None = None) -> float | None:
    """Seconds that a Retry-After header asks for: a number, or a date (RFC 9110, 10.2.3).

    `now` is the response's Date: a date is measured by the server's clock, since this machine's may be wrong.
    """
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        until = email.utils.parsedate_to_datetime(value).timestamp()
    except ValueError:
        return None
    try:
        begin = email.utils.parsedate_to_datetime(now).timestamp() if now else time.time()
    except ValueError:
        begin = time.time()
    return max(0.0, until - begin)


def disk_error(error: OSError, path: object) -> DlkitError:
    """The error for a write that failed."""
    if error.errno in _NO_SPACE:
        return DlkitError(
            f"the disk is full: cannot write {path}", "free some space and give the command again: it goes on from here"
        )
    return DlkitError(f"cannot write {path}: {error.strerror or error}", "choose another --data-dir")
