"""Failures of the network, of a server or of the local disk, as errors that say what happened."""

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
        reason: what happened, for the user.
        transient: whether a retry may succeed.
        status: of the response, if there was one.
        retry_after: seconds to wait, as the server asked.
        reached: whether any server was reached.
        url: the address after redirects.
        code: the hub's name for the error (X-Error-Code).
        most: the number of retries worth making, whatever the retry policy.
        hint: what to do, if known.
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
    """An exception of urllib, http.client or a socket as a FetchError. Not for errors of the local disk."""
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
    """An expired certificate may mean a wrong clock, an unknown issuer an intercepting proxy."""
    hint = ""
    if "expired" in error.verify_message or "not yet valid" in error.verify_message:
        hint = f"is this machine's clock right? It says {time.strftime('%Y-%m-%d %H:%M')}"
    elif "self-signed" in error.verify_message or "issuer" in error.verify_message:
        hint = "if you trust its authority (a company's proxy?), name it: SSL_CERT_FILE=authority.pem"
    reason = f"the server's certificate is not valid: {error.verify_message.rstrip('.')}"
    return FetchError(reason, transient=False, hint=hint)


def proxy_error(answer: str) -> FetchError:
    """A proxy's refusal to open a tunnel, such as `407 Proxy Authentication Required`."""
    hint = "HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT names a user" if answer.startswith("407") else ""
    passing = answer[:3].isdigit() and int(answer[:3]) in TRANSIENT
    return FetchError(f"the proxy refuses: {answer}", transient=passing, reached=False, hint=hint)


def _from_status(error: urllib.error.HTTPError) -> FetchError:
    error.close()
    if 300 <= error.code < 400:
        foreign = "not allowed" in str(error.reason)  # urllib's own check of the scheme
        reason = "redirected to what is not a web address" if foreign else "redirected in a circle"
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
    """Seconds that a Retry-After header asks for, as a number or a date (RFC 9110, 10.2.3).

    `now` is the response's Date header: dates are relative to the server's clock, since the local one may be wrong.
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
    """The error for a failed write."""
    if error.errno in _NO_SPACE:
        return DlkitError(
            f"the disk is full: cannot write {path}", "free some space and give the command again: it goes on from here"
        )
    return DlkitError(f"cannot write {path}: {error.strerror or error}", "choose another `data_dir`")
