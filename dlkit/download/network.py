"""Network settings of the environment: proxies and certificate authorities."""

from __future__ import annotations

import functools
import os
import ssl
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from dlkit.download.failures import FetchError

# OpenSSL's two variables, then those of requests and curl.
_AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def ssl_context() -> ssl.SSLContext:
    """A context that trusts the certificate authorities named by the environment, else the system's.

    Raises:
        FetchError: the named file or folder does not exist, or has no certificates.
    """
    named = next(((name, os.environ[name]) for name in _AUTHORITIES if os.environ.get(name)), ("", ""))
    return _context(*named)


@functools.cache
def _context(variable: str, place: str) -> ssl.SSLContext:
    """Cached, since it reads certificates."""
    try:
        folder = Path(place).is_dir()
        return ssl.create_default_context(
            cafile=place if place and not folder else None, capath=place if place and folder else None
        )
    except OSError as error:  # ssl.SSLError is one
        why = error.strerror if isinstance(error, FileNotFoundError) else "it has no certificates"
        raise FetchError(
            f"{variable}={place}: {why}", transient=False, reached=False, hint=f"correct or unset {variable}"
        ) from error


def proxies() -> dict[str, str]:
    """Scheme -> address of its proxy, by $HTTP_PROXY, $HTTPS_PROXY and $ALL_PROXY, or the system's settings.

    Raises:
        FetchError: a proxy is not an HTTP proxy.
    """
    found = urllib.request.getproxies()
    chosen = {scheme: found.get(scheme) or found.get("all", "") for scheme in ("http", "https")}
    for scheme, address in chosen.items():
        kind = urlsplit(address if "://" in address else f"http://{address}").scheme
        if address and kind != "http":
            name = f"{scheme.upper()}_PROXY" if scheme in found else "ALL_PROXY"
            raise FetchError(
                f"{name} names a proxy of the kind {kind}://; only http:// is known",
                transient=False,
                reached=False,
                hint=f"give {name} the address of an HTTP proxy, or unset it",
            )
    return {scheme: address for scheme, address in chosen.items() if address}


def proxy_remark(url: str) -> str:
    """` (through the proxy HOST:PORT)` if a proxy is used for an address, else an empty string."""
    parts = urlsplit(url)
    address = proxies().get(parts.scheme, "")
    if not address or urllib.request.proxy_bypass(parts.netloc):
        return ""
    return f" (through the proxy {address.rpartition('@')[2].rpartition('//')[2].rstrip('/')})"
