"""The files of a data set on the Hugging Face hub or a mirror of it, by one request of the hub's own client."""

from __future__ import annotations

import functools
import importlib
import json
import os
import re
import ssl
from typing import Any
from urllib.parse import quote

from dlkit.data.registry import DatasetInfo
from dlkit.download import network
from dlkit.download.failures import TRANSIENT, FetchError, as_fetch_error, parse_retry_after, proxy_error
from dlkit.download.remote_files import Listing, RemoteFile, missing_files, split_of_remote_path
from dlkit.download.repository import listed_repository
from dlkit.download.web import url_origin
from dlkit.errors import DlkitError

PUBLIC = "https://huggingface.co"
_OTHER = "try another `mirror`"


def hub_endpoint(mirror: str | None) -> str:
    """The address of the hub: the mirror, `$HF_ENDPOINT`, or the public hub."""
    return (mirror or os.environ.get("HF_ENDPOINT") or PUBLIC).rstrip("/")


def hub_is_offline() -> bool:
    """Whether the environment forbids use of the hub."""
    names = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
    return any(os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE") for name in names)


def hub_token() -> str | None:
    """The token of `$HF_TOKEN`, or of `hf auth login`."""
    from huggingface_hub import get_token

    return get_token()


def list_hub(dataset: DatasetInfo, base: str, secret: str | None, timeout: float) -> Listing:
    """The files of a data set on a hub.

    Raises:
        FetchError: the hub was not reached, or its answer is invalid.
        DlkitError: the hub lacks the data set or some of its files, or refuses access.
    """
    lacking = ""
    for revision in dataset.revisions:
        try:
            commit, files = _repository(dataset, base, revision, secret, timeout)
        except _NoRevisionError:
            lacking = lacking or f"no revision {revision!r}"
            continue
        if dataset.form == "repository":
            source = {"kind": "hub", "place": base, "repo": dataset.repo, "revision": revision, "commit": commit}
            return listed_repository(dataset, files, source)
        chosen = [file for file in files if file.split]
        lack = missing_files(dataset, [file.path for file in chosen])
        if lack is None:
            source = {"kind": "hub", "place": base, "repo": dataset.repo, "revision": revision, "commit": commit}
            return Listing(sorted(chosen, key=lambda file: file.path), source)
        lacking = lacking or lack
    raise DlkitError(f"{base} does not have all of {dataset.name}: {lacking} in {dataset.repo}", _OTHER)


def has_repository(dataset: DatasetInfo, base: str, secret: str | None, timeout: float) -> bool:
    """Whether the hub has a repository of this kind and name. Raises as `list_hub`."""
    try:
        _repository(dataset, base, dataset.revisions[0], secret, timeout)
    except NoRepositoryError:
        return False
    except _NoRevisionError:
        pass
    return True


class _NoRevisionError(Exception):
    """The repository has no such revision."""


def _repository(
    dataset: DatasetInfo, base: str, revision: str, secret: str | None, timeout: float
) -> tuple[str, list[RemoteFile]]:
    """The commit of a revision, and its files."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RevisionNotFoundError
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    network.proxies()  # an unusable proxy raises here
    _use_certificates(network.ssl_context())
    http = _http()
    client = HfApi(endpoint=base, token=secret or False, library_name="dlkit")
    try:
        ask = client.dataset_info if dataset.kind == "datasets" else client.model_info
        info = ask(dataset.repo, revision=revision, files_metadata=True, timeout=timeout)
    except RevisionNotFoundError as error:
        raise _NoRevisionError from error
    except HfHubHTTPError as error:
        response = error.response
        code = response.headers.get("X-Error-Code") or ""
        found = FetchError(
            f"HTTP {response.status_code}",
            response.status_code in TRANSIENT,
            response.status_code,
            parse_retry_after(response.headers.get("Retry-After"), response.headers.get("Date")),
            url=str(response.url),
            code=code,
        )
        refusal = refusal_error(dataset, found, base, secret)
        raise (refusal or found) from error
    except http.TooManyRedirects as error:
        raise FetchError("redirected in a circle", transient=False) from error
    except http.ProxyError as error:
        raise proxy_error(str(error)) from error
    except http.TransportError as error:
        raise _failure(error, base) from error
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError, AttributeError, KeyError) as error:
        raise FetchError(
            "its answer is not that of a hub (a web page of a login or a proxy?)", transient=False
        ) from error
    except (http.InvalidURL, HFValidationError, ValueError) as error:
        raise FetchError(f"not a web address: {error}", transient=False, reached=False) from error
    commit = info.sha
    if not commit or info.siblings is None or not re.fullmatch(r"[0-9a-zA-Z._-]+", commit):
        raise FetchError("its answer is not that of a hub: no commit", transient=False)
    return commit, [_file(dataset, base, commit, sibling) for sibling in info.siblings]


def _file(dataset: DatasetInfo, base: str, commit: str, sibling: Any) -> RemoteFile:
    path: str = sibling.rfilename
    check = ("sha256", sibling.lfs.sha256) if sibling.lfs else ("git", sibling.blob_id) if sibling.blob_id else None
    url = f"{_page(dataset, base)}/resolve/{commit}/{quote(path)}"
    identity = f"{path} {check or commit}"  # the same content counts under any commit
    return RemoteFile(path, split_of_remote_path(dataset, path) or "", sibling.size, check, identity, url=url)


@functools.cache
def _http() -> Any:
    """The HTTP library of the hub's client: httpx2, or httpx before huggingface_hub 2."""
    from huggingface_hub.errors import HfHubHTTPError

    return importlib.import_module(HfHubHTTPError.__bases__[0].__module__.partition(".")[0])


@functools.cache
def _use_certificates(context: ssl.SSLContext) -> None:
    """Make the hub's client trust the same authorities as file transfers do. Cached, since it ends its session."""
    from huggingface_hub import set_client_factory

    set_client_factory(lambda: _http().Client(follow_redirects=True, timeout=None, verify=context))


def _failure(error: Exception, base: str) -> FetchError:
    """The FetchError for a transport error of the client, whose cause is an error of the operating system."""
    http = _http()
    if isinstance(error, http.UnsupportedProtocol):
        return FetchError(f"not a web address: {error}", transient=False, reached=False)
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    connecting = isinstance(error, (http.ConnectError, http.ConnectTimeout))
    if isinstance(error, http.TimeoutException):
        found = FetchError("the server fell silent")
    else:
        found = as_fetch_error(cause) if cause is not None else FetchError("the connection broke")
    found.reached = not connecting or isinstance(cause, ssl.SSLError)
    if not found.reached:
        found.reason += network.proxy_remark(base)
    return found


def refusal_error(
    dataset: DatasetInfo, failure: FetchError, base: str, secret: str | None, path: str = ""
) -> DlkitError | None:
    """The error for a refusal (401, 403 or 404); None for any other failure.

    `path` is the requested file, which the hub has listed, or "" for the listing itself. A refusal by a storage host
    only means that a signed address has expired.
    """
    if failure.url and url_origin(failure.url) != url_origin(base):
        return None
    page, what = _page(dataset, base), "data set" if dataset.kind == "datasets" else "model"
    if failure.code == "RepoNotFound" and (failure.status == 404 or dataset.form == "repository"):
        hint = "is it spelled correctly? if it is private, set HF_TOKEN" if dataset.form == "repository" else _OTHER
        return NoRepositoryError(f"{base} has no {what} {dataset.repo} (HTTP {failure.status})", hint)
    if failure.status == 401 and secret:
        return DlkitError(
            f"{base} does not accept the token for {dataset.name} (HTTP 401)",
            "it may have expired: make a new one, then set HF_TOKEN or run `hf auth login`",
        )
    if failure.status == 401 or (failure.status == 403 and not secret):
        return DlkitError(
            f"{dataset.name} is gated: {base} wants a token (HTTP {failure.status})",
            f"accept the terms at {page}, then set HF_TOKEN or run `hf auth login`",
        )
    if failure.status == 403:
        return DlkitError(
            f"your token has no access to {dataset.name} (HTTP 403)", f"ask for access at {page}, then try again"
        )
    if failure.status == 404 and path:
        return DlkitError(f"{base} lists {path} in {dataset.repo}, but does not have it (HTTP 404)", _OTHER)
    if failure.status == 404 or failure.code in ("RepoNotFound", "EntryNotFound"):
        return NoRepositoryError(f"{base} has no {what} {dataset.repo} (HTTP {failure.status})", _OTHER)
    return None


class NoRepositoryError(DlkitError):
    """The hub has no repository of this kind and name that the user may see."""


def _page(dataset: DatasetInfo, base: str) -> str:
    """The address of the repository, below which its files are."""
    return f"{base}/{'datasets/' if dataset.kind == 'datasets' else ''}{dataset.repo}"
