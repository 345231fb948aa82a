"""From a name to a published data set: under a lock, fetched in parallel, checked, prepared, put in place at once."""

from __future__ import annotations

import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

from dlkit.data import store
from dlkit.data.sets import DataSet, size_text
from dlkit.data.store import MANIFEST, File, Manifest
from dlkit.download import files, hub, web
from dlkit.download.files import Listing, RemoteFile
from dlkit.download.transfer import CancelledError, Monitor, Patience, fetch
from dlkit.download.web import FetchError
from dlkit.errors import DlkitError

_SPARE = 32 * 2**20  # bytes of disk to leave free
_IMAGE_BYTES = 3 * 32 * 32 + 16
_TEXT_GROWTH = 4  # an uncompressed Arrow file beside its Parquet file


class Reporter(Protocol):
    """Who is told of progress. Methods may be called from several threads."""

    def begin(self, name: str, sizes: dict[str, int | None]) -> None: ...
    def at(self, path: str, offset: int) -> None: ...
    def phase(self, name: str, what: str, total: int) -> None: ...
    def step(self, count: int) -> None: ...
    def note(self, text: str) -> None: ...


@dataclass
class Order:
    """How to fetch.

    Args:
        root: the data directory.
        mirror: a hub's address or a directory, or None for the public hub or $HF_ENDPOINT.
        verify: check the content of what is here, and repair it.
        force: fetch even what is here.
        allow_mismatch: accept other row counts than the published ones.
        offline: do not use the network.
        jobs: files at once.
        patience: with the network.
        stop: set to end everything.
        own: the user's own copy of ImageNet, to take instead.
    """

    root: Path
    mirror: str | None = None
    verify: bool = False
    force: bool = False
    allow_mismatch: bool = False
    offline: bool = False
    jobs: int = 4
    patience: Patience = field(default_factory=Patience)
    stop: threading.Event = field(default_factory=threading.Event)
    own: Path | None = None

    def check(self) -> None:
        if self.stop.is_set():
            raise CancelledError


@dataclass
class Outcome:
    """What became of it: status is "downloaded" or "present"; `repaired` names files that were broken."""

    manifest: Manifest
    path: Path
    status: str
    repaired: list[str]


def obtain(dataset: DataSet, order: Order, reporter: Reporter) -> Outcome:
    """Make a data set present.

    Raises:
        DlkitError: it cannot be had: no network, no access, no space, damaged or unlike what is published.
        CancelledError: `order.stop` was set. What has arrived stays for the next time.
    """
    if not (order.verify or order.force) and (manifest := store.find(dataset.name, order.root)):
        return Outcome(manifest, store.folder(dataset.name, order.root), "present", [])
    with _lock(dataset, order, reporter):
        place = store.folder(dataset.name, order.root)
        known = None if order.force else _known(place)
        broken = [] if order.force else _broken(place, known, order, reporter)
        if known is not None and not broken:
            return Outcome(known, place, "present", [])
        if order.own is not None:
            manifest = _from_own(dataset, order.own, work := order.root / ".work" / dataset.name, order, reporter)
            _publish(work, place)
            return Outcome(manifest, place, "built", broken)
        if order.offline and not (order.mirror and _is_directory(order.mirror)):
            raise DlkitError(f"offline, and {store.absent(dataset, order.root).message}", "unset HF_HUB_OFFLINE")
        work = order.root / ".work" / dataset.name
        if not order.force:
            _reuse(place, broken, work / "raw", order)
        with web_errors(dataset, order):
            listing = _listing(dataset, order, reporter)
        manifest = _build(dataset, listing, work, order, reporter)
        _publish(work, place)
        return Outcome(manifest, place, "downloaded", broken)


def _is_directory(mirror: str) -> bool:
    return "://" not in mirror


def _known(place: Path) -> Manifest | None:
    """The manifest of the local copy, whatever the state of its files; None where there is none that can be used."""
    try:
        manifest = Manifest.read(place / MANIFEST)
    except (OSError, DlkitError):
        return None
    return manifest if manifest.format == store.FORMAT else None


def _broken(place: Path, manifest: Manifest | None, order: Order, reporter: Reporter) -> list[str]:
    """Files of the local copy that are not what they should be; their content is looked into on --verify."""
    if manifest is None:
        return [MANIFEST] if place.exists() else []
    if not order.verify:
        return [file.path for file in manifest.files if not store.sized(place, file)]
    reporter.phase(manifest.name, "verifying", manifest.size)

    def progress(count: int) -> None:
        order.check()
        reporter.step(count)

    return store.damaged(place, manifest, progress)


@contextmanager
def _lock(dataset: DataSet, order: Order, reporter: Reporter) -> Iterator[None]:
    """Only one process at a time fetches a data set; others wait, and then find it there."""
    path = order.root / ".work" / f"{dataset.name}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        told = False
        while True:
            order.check()
            try:
                lock.acquire(timeout=0.2)
                break
            except Timeout:
                if not told:
                    reporter.note(f"{dataset.name}: another dlkit is fetching it; waiting for that one")
                told = True
    except OSError as error:
        raise web.disk_error(error, order.root) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def web_errors(dataset: DataSet, order: Order) -> Iterator[None]:
    """A failure of the network as an error for the user."""
    try:
        yield
    except FetchError as failure:
        place = order.mirror or hub.endpoint(None)
        hint = "check the network, the proxy and --mirror; giving the command again goes on from here"
        raise DlkitError(f"cannot fetch {dataset.name} from {place}: {failure.reason}", hint) from failure


# ------------------------------------------------------------------ what there is


def _listing(dataset: DataSet, order: Order, reporter: Reporter) -> Listing:
    """The files to fetch, from the mirror or the hub; the authors' archive where the hub fails."""
    if order.mirror and _is_directory(order.mirror):
        listing = files.of_directory(dataset, Path(order.mirror).expanduser())
        if listing is None:
            raise DlkitError(
                f"{order.mirror} has nothing of {dataset.name}",
                f"expected {order.mirror}/{dataset.source}/*.parquet",
            )
        lack = files.missing(dataset, [file.path for file in listing.files if file.split])
        if lack and any(file.split for file in listing.files):
            raise DlkitError(f"{order.mirror} has not all of {dataset.name}: {lack}", f"in {dataset.source}")
        return listing
    base, secret = hub.endpoint(order.mirror), hub.token()
    try:
        return _patiently(lambda: hub.listing(dataset, base, secret, order.patience.timeout), base, order, reporter)
    except (FetchError, DlkitError) as error:
        if dataset.archive is None or order.mirror:
            raise
        reporter.note(f"{base}: {error}; taking the authors' archive from {dataset.archive.url}")
        return files.of_archive(dataset.archive)


def _patiently(ask: Callable[[], Listing], base: str, order: Order, reporter: Reporter) -> Listing:
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


def _stoppable(ask: Callable[[], Any], order: Order) -> Any:
    answers: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((ask(), None))
        except BaseException as error:
            answers.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    while True:
        order.check()
        try:
            answer, error = answers.get(timeout=0.1)
        except queue.Empty:
            continue
        if error is not None:
            raise error
        return answer


# ------------------------------------------------------------------ fetch, check, prepare, publish


def _build(dataset: DataSet, listing: Listing, work: Path, order: Order, reporter: Reporter) -> Manifest:
    """Fetch and prepare into `work`/new; returns its manifest, which is written."""
    raw, new = work / "raw", work / "new"
    shutil.rmtree(new, ignore_errors=True)
    _check_space(dataset, listing, raw, order)
    reporter.begin(dataset.name, {file.path: file.size for file in listing.files})
    with web_errors(dataset, order):
        fetched = _fetch_all(dataset, listing.files, raw, order, reporter)
    from dlkit.download import assemble

    def step(count: int) -> None:
        order.check()
        reporter.step(count)

    try:
        new.mkdir(parents=True)
        manifest = assemble.assemble(dataset, listing, fetched, raw, new, order.allow_mismatch, reporter.phase, step)
        with (new / MANIFEST).open("w", encoding="utf-8") as file:
            file.write(manifest.to_json())
        for path in new.rglob("*"):
            if path.is_file():
                _sync(path)
    except OSError as error:
        raise web.disk_error(error, new) from error
    return manifest


def _from_own(dataset: DataSet, own: Path, work: Path, order: Order, reporter: Reporter) -> Manifest:
    """The data set from the user's own copy, in `work`/new; it has no test split."""
    from dlkit.download import assemble, imagenet

    new = work / "new"
    shutil.rmtree(new, ignore_errors=True)
    published = {split: rows for split, rows in dataset.rows.items() if split != "test"}
    reporter.phase(dataset.name, "converting", sum(published.values()))

    def step(count: int) -> None:
        order.check()
        reporter.step(count)

    try:
        new.mkdir(parents=True)
        rows = imagenet.write(own, new, step)
        mismatch = assemble.compare(dataset, published, rows, order.allow_mismatch)
        paths = sorted(path.relative_to(new).as_posix() for path in new.rglob("*.parquet"))
        known = [store.hashed(new, path) for path in paths]
        source = {"kind": "own", "place": str(own.resolve())}
        manifest = Manifest(dataset.name, source, known, known, rows, mismatch, dict(dataset.columns))
        (new / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    except OSError as error:
        raise web.disk_error(error, error.filename or new) from error
    return manifest


def _check_space(dataset: DataSet, listing: Listing, raw: Path, order: Order) -> None:
    """Raise DlkitError if the disk cannot take what is still to come."""
    download = sum(file.size or 0 for file in listing.files)
    prepared = {
        "images": dataset.total_rows * _IMAGE_BYTES,
        "texts": _TEXT_GROWTH * download,
    }.get(dataset.form, 0)
    here = sum(path.stat().st_size for path in raw.rglob("*") if path.is_file()) if raw.exists() else 0
    needed = max(0, download - here) + prepared + _SPARE
    free = shutil.disk_usage(order.root).free
    if free < needed:
        raise DlkitError(
            f"{dataset.name} needs {size_text(needed)} on the disk of {order.root}, {size_text(free)} are free",
            "free some space, or choose another --data-dir",
        )


def _fetch_all(
    dataset: DataSet, wanted: list[RemoteFile], raw: Path, order: Order, reporter: Reporter
) -> dict[str, File]:
    """Fetch files in a few threads. The first error ends the others."""
    halt = threading.Event()
    monitor = Monitor(reporter.at, reporter.note, halt)
    tasks: queue.SimpleQueue[RemoteFile] = queue.SimpleQueue()
    for file in wanted:
        tasks.put(file)
    results: queue.SimpleQueue[tuple[RemoteFile, File | None, BaseException | None]] = queue.SimpleQueue()
    base = hub.endpoint(order.mirror) if not (order.mirror and _is_directory(order.mirror)) else ""
    secret = hub.token() if base else None

    def work() -> None:
        while not halt.is_set():
            try:
                file = tasks.get_nowait()
            except queue.Empty:
                return
            own = bool(file.url) and web.origin(file.url) == web.origin(base)
            try:
                results.put((file, fetch(file, raw, secret if own else None, order.patience, monitor), None))
            except BaseException as error:
                results.put((file, None, error))
                return

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(order.jobs, len(wanted)))]
    for thread in threads:
        thread.start()
    fetched: dict[str, File] = {}
    try:
        while len(fetched) < len(wanted):
            order.check()
            try:
                file, done, error = results.get(timeout=0.1)
            except queue.Empty:
                continue
            if error is not None:
                if isinstance(error, FetchError):
                    error = hub.refused(dataset, error, base, secret) or error
                raise error
            assert done is not None
            fetched[file.path] = done
    finally:
        halt.set()
        deadline = time.monotonic() + 0.5  # a thread that waits for the network may need longer: it is a daemon
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
    return fetched


def _reuse(place: Path, broken: list[str], raw: Path, order: Order) -> None:
    """Shards that are good need not come again: sealed, they count as fetched if the source still has the same.

    Without a manifest nobody knows which are good: each is hashed.
    """
    for seal in place.rglob("*.seal"):
        file = seal.with_suffix("")
        path = file.relative_to(place).as_posix()
        order.check()
        if path in broken or not file.is_file():
            continue
        if MANIFEST in broken and store.hashed(place, path).sha256 not in seal.read_text(encoding="utf-8"):
            continue
        for source in (file, seal):
            target = raw / source.relative_to(place)
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                os.link(source, target)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _publish(work: Path, place: Path) -> None:
    """Put the new folder in its place by a rename, and drop what was needed on the way."""
    old = work / "old"
    try:
        shutil.rmtree(old, ignore_errors=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():
            place.rename(old)
        (work / "new").rename(place)
    except OSError as error:
        raise web.disk_error(error, place) from error
    shutil.rmtree(work, ignore_errors=True)
