"""One HTTP request with urllib: proxies of the environment, redirects that do not leak the token, clear failures.

urllib streams file contents 2.5 times as fast as the hub client's httpx (see the benchmark).
"""

from __future__ import annotations

import functools
import http.client
import ssl
import urllib.request
from typing import Any
from urllib.parse import urljoin, urlsplit

from dlkit import __version__
from dlkit.download import network
from dlkit.download.failures import as_fetch_error

_MOST_REDIRECTS = 10


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects within http(s), and sends the token to the same origin only."""

    max_redirections = _MOST_REDIRECTS
    max_repeats = 2

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        target = urljoin(req.full_url, newurl)
        new = urllib.request.Request(target, headers=dict(req.headers), method=req.get_method())
        if url_origin(target) == url_origin(req.full_url) and (token := req.get_header("Authorization")):
            new.add_unredirected_header("Authorization", token)
        return new


def url_origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)


@functools.cache
def _opener(proxies: tuple[tuple[str, str], ...], context: ssl.SSLContext) -> urllib.request.OpenerDirector:
    """An opener for http and https only: a redirect to a local file finds no handler."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(dict(proxies)),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=context),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


def http_get(url: str, token: str | None, timeout: float, start: int = 0) -> http.client.HTTPResponse:
    """GET a resource from byte `start` on. `timeout` limits each wait for the network, in seconds.

    Raises:
        FetchError: there is no response, or its status is not 200 or 206.
    """
    request = urllib.request.Request(url, headers={"User-Agent": f"dlkit/{__version__}", "Accept-Encoding": "identity"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    opener = _opener(tuple(sorted(network.proxies().items())), network.ssl_context())
    try:
        return opener.open(request, timeout=timeout)
    except Exception as error:
        found = as_fetch_error(error)
        if not found.reached:
            found.reason += network.proxy_remark(url)
        raise found from error
