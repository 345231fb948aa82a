"""Where a data set comes from: the files that the mirror or the hub has of it, asked for with patience."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dlkit.data.registry import DatasetInfo
from dlkit.download import hub, remote_files
from dlkit.download.failures import FetchError
from dlkit.download.remote_files import Listing
from dlkit.download.request import DownloadRequest, Reporter
from dlkit.download.transfer import CancelledError
from dlkit.errors import DlkitError


@contextmanager
def web_errors(dataset: DatasetInfo, order: DownloadRequest) -> Iterator[None]:
    """A failure of the network as an error for the user."""
    try:
        yield
    except FetchError as failure:
        place = order.mirror or hub.hub_endpoint(None)
        hint = failure.hint or "check the network, the proxy and --mirror; giving the command again goes on from here"
        raise DlkitError(f"cannot fetch {dataset.name} from {place}: {failure.reason}", hint) from failure


def list_remote_files(dataset: DatasetInfo, order: DownloadRequest, reporter: Reporter) -> Listing:
    """The files to fetch, from the mirror or the hub; the authors' archive where the hub fails.

    Raises:
        FetchError: the hub was not reached, or did not answer well.
        DlkitError: the source has not all of it.
    """
    if order.directory is not None:
        return _in_directory(dataset, order.directory)
    base, secret = hub.hub_endpoint(order.mirror), hub.hub_token()
    try:
        return _patiently(lambda: hub.list_hub(dataset, base, secret, order.patience.timeout), base, order, reporter)
    except (FetchError, DlkitError) as error:
        if dataset.archive is None or order.mirror:
            raise
        reporter.note(f"{base}: {error}; taking the authors' archive from {dataset.archive.url}")
        return remote_files.list_archive(dataset.archive)


def _in_directory(dataset: DatasetInfo, mirror: Path) -> Listing:
    listing = remote_files.list_directory(dataset, mirror)
    if listing is None:
        raise DlkitError(f"{mirror} has nothing of {dataset.name}", f"expected {mirror}/{dataset.source}/*.parquet")
    lack = remote_files.missing_files(dataset, [file.path for file in listing.files if file.split])
    if lack and any(file.split for file in listing.files):
        raise DlkitError(f"{mirror} has not all of {dataset.name}: {lack}", f"in {dataset.source}")
    return listing


def _patiently(ask: Callable[[], Listing], base: str, order: DownloadRequest, reporter: Reporter) -> Listing:
    """Ask until there is an answer or patience ends. In a thread of its own, so that it can be stopped."""
    tries = 0
    while True:
        try:
            return _stoppable(ask, order)
        except FetchError as failure:
            tries += 1
            seconds = order.patience.wait(failure, tries)
            reporter.note(f"{base}: {failure.reason}; trying again in {seconds:.1f} s")
            if order.stop.wait(seconds):
                raise CancelledError from failure


def _stoppable(ask: Callable[[], Listing], order: DownloadRequest) -> Listing:
    answers: queue.SimpleQueue[Listing | BaseException] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put(ask())
        except BaseException as error:
            answers.put(error)

    threading.Thread(target=run, daemon=True).start()
    while True:
        order.check()
        try:
            answer = answers.get(timeout=0.1)
        except queue.Empty:
            continue
        if isinstance(answer, BaseException):
            raise answer
        return answer
