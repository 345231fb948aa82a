"""Several files at once, each in a thread of its own."""

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
from dlkit.download.transfer import TransferMonitor, fetch_file


def fetch_files(
    dataset: DatasetInfo, wanted: Sequence[RemoteFile], raw: Path, order: DownloadRequest, reporter: Reporter
) -> dict[str, StoredFile]:
    """Bring all files to the folder `raw`; path -> size and sha256. The first error ends the others.

    Raises:
        FetchError, DlkitError, CancelledError: as `fetch` does.
    """
    halt = threading.Event()
    monitor = TransferMonitor(reporter.at, reporter.note, halt)
    tasks: queue.SimpleQueue[RemoteFile] = queue.SimpleQueue()
    for file in wanted:
        tasks.put(file)
    results: queue.SimpleQueue[tuple[RemoteFile, StoredFile | BaseException]] = queue.SimpleQueue()
    base = hub.hub_endpoint(order.mirror) if order.directory is None else ""
    secret = hub.hub_token() if base else None

    def work() -> None:
        while not halt.is_set():
            try:
                file = tasks.get_nowait()
            except queue.Empty:
                return
            own = bool(file.url) and web.url_origin(file.url) == web.url_origin(base)
            try:
                results.put((file, fetch_file(file, raw, secret if own else None, order.patience, monitor)))
            except BaseException as error:
                results.put((file, error))
                return

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(order.jobs, len(wanted)))]
    for thread in threads:
        thread.start()
    fetched: dict[str, StoredFile] = {}
    try:
        while len(fetched) < len(wanted):
            order.check()
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
        deadline = time.monotonic() + 0.5  # a thread that waits for the network may need longer: it is a daemon
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
    return fetched
