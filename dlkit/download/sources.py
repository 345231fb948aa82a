"""Find the files of a data set: in a mirror directory, on the hub, or in the authors' archive."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from dlkit.data.registry import DatasetInfo
from dlkit.download import hub, remote_files
from dlkit.download.failures import FetchError
from dlkit.download.remote_files import Listing
from dlkit.download.repository import listed_repository
from dlkit.download.request import DownloadRequest, Reporter
from dlkit.download.retries import CancelledError
from dlkit.errors import DlkitError

T = TypeVar("T")


@contextmanager
def web_errors(dataset: DatasetInfo, request: DownloadRequest) -> Iterator[None]:
    """Turn network failures into errors for the user."""
    try:
        yield
    except FetchError as failure:
        place = request.mirror or hub.hub_endpoint(None)
        hint = failure.hint or "check the network, the proxy and `mirror`; giving the command again goes on from here"
        raise DlkitError(f"cannot fetch {dataset.name} from {place}: {failure.reason}", hint) from failure


def list_remote_files(dataset: DatasetInfo, request: DownloadRequest, reporter: Reporter) -> Listing:
    """The files to fetch, from the mirror or the hub, or the authors' archive if the hub fails.

    Raises:
        FetchError: the hub was not reached, or its answer is invalid.
        DlkitError: the source lacks some of the files.
    """
    if request.directory is not None:
        return _in_directory(dataset, request.directory)
    base, secret = hub.hub_endpoint(request.mirror), hub.hub_token()
    try:
        return _with_retries(
            lambda: hub.list_hub(dataset, base, secret, request.retry_policy.timeout), base, request, reporter
        )
    except (FetchError, DlkitError) as error:
        if dataset.archive is None or request.mirror:
            raise
        reporter.note(f"{base}: {error}; taking the authors' archive from {dataset.archive.url}")
        return remote_files.list_archive(dataset.archive)


def hub_has(dataset: DatasetInfo, request: DownloadRequest, reporter: Reporter) -> bool:
    """Whether there is such a repository; of a mirror directory, by the files that it has.

    Raises:
        FetchError: the hub was not reached, or its answer is invalid.
        DlkitError: access is refused.
    """
    if request.directory is not None:
        folder = request.directory / dataset.repo
        is_model = (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))
        return folder.is_dir() and is_model == (dataset.kind == "models")
    base, secret = hub.hub_endpoint(request.mirror), hub.hub_token()

    def ask() -> bool:
        return hub.has_repository(dataset, base, secret, request.retry_policy.timeout)

    return _with_retries(ask, base, request, reporter)


def _in_directory(dataset: DatasetInfo, mirror: Path) -> Listing:
    listing = remote_files.list_directory(dataset, mirror)
    if listing is not None and dataset.form == "repository":
        return listed_repository(dataset, listing.files, listing.source)
    if listing is None:
        raise DlkitError(f"{mirror} has nothing of {dataset.name}", f"expected {mirror}/{dataset.source}/*.parquet")
    lack = remote_files.missing_files(dataset, [file.path for file in listing.files if file.split])
    if lack and any(file.split for file in listing.files):
        raise DlkitError(f"{mirror} does not have all of {dataset.name}: {lack}", f"in {dataset.source}")
    return listing


def _with_retries(ask: Callable[[], T], base: str, request: DownloadRequest, reporter: Reporter) -> T:
    """Ask until there is an answer or the retry policy gives up."""
    tries = 0
    while True:
        try:
            return _cancellable(ask, request)
        except FetchError as failure:
            tries += 1
            seconds = request.retry_policy.wait(failure, tries)
            reporter.note(f"{base}: {failure.reason}; trying again in {seconds:.1f} s")
            if request.stop.wait(seconds):
                raise CancelledError from failure


def _cancellable(ask: Callable[[], T], request: DownloadRequest) -> T:
    """Ask in a thread of its own, so that it can be cancelled."""
    answers: queue.SimpleQueue[T | BaseException] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put(ask())
        except BaseException as error:
            answers.put(error)

    threading.Thread(target=run, daemon=True).start()
    while True:
        request.check()
        try:
            answer = answers.get(timeout=0.1)
        except queue.Empty:
            continue
        if isinstance(answer, BaseException):
            raise answer
        return answer
