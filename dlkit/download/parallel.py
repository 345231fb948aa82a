"""Transfer several files at once, each in a thread of its own."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from dlkit.data.registry import DatasetInfo
from dlkit.data.store import StoredFile
from dlkit.download import hub, web
from dlkit.download.failures import FetchError
from dlkit.download.remote_files import RemoteFile
from dlkit.download.request import DownloadRequest, Reporter
from dlkit.download.retries import TransferMonitor
from dlkit.download.transfer import fetch_file


def fetch_files(
    dataset: DatasetInfo, wanted: Sequence[RemoteFile], raw: Path, request: DownloadRequest, reporter: Reporter
) -> dict[str, StoredFile]:
    """Fetch all files into the folder `raw`; returns path -> size and sha256. The first error cancels the others.

    Raises:
        FetchError, DlkitError, CancelledError: as `fetch_file` does.
    """
    halt = threading.Event()
    monitor = TransferMonitor(reporter.at, reporter.note, halt)
    tasks: queue.SimpleQueue[RemoteFile] = queue.SimpleQueue()
    for file in wanted:
        tasks.put(file)
    results: queue.SimpleQueue[tuple[RemoteFile, StoredFile | BaseException]] = queue.SimpleQueue()
    base = hub.hub_endpoint(request.mirror) if request.directory is None else ""
    secret = hub.hub_token() if base else None

    def work() -> None:
        while not halt.is_set():
            try:
                file = tasks.get_nowait()
            except queue.Empty:
                return
            own = bool(file.url) and web.url_origin(file.url) == web.url_origin(base)
            try:
                results.put((file, fetch_file(file, raw, secret if own else None, request.retry_policy, monitor)))
            except BaseException as error:
                results.put((file, error))
                return

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(request.jobs, len(wanted)))]
    for thread in threads:
        thread.start()
    fetched: dict[str, StoredFile] = {}
    try:
        while len(fetched) < len(wanted):
            request.check()
            try:
                file, result = results.get(timeout=0.1)
            except queue.Empty:
                continue
            if isinstance(result, FetchError):
                raise hub.refusal_error(dataset, result, base, secret, file.path) or result
            if isinstance(result, BaseException):
                raise result
            fetched[file.path] = result
    finally:
        halt.set()
        deadline = time.monotonic() + 0.5  # threads that wait for the network may take longer; they are daemons
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
    return fetched
