"""From a name to a published data set: under a lock, from a source, built or repaired, put in place at once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from dlkit.data import store
from dlkit.data.registry import DatasetInfo
from dlkit.data.store import MANIFEST, Manifest
from dlkit.download import failures
from dlkit.download.build import build_dataset, build_from_own_copy, repair_dataset
from dlkit.download.request import DownloadRequest, DownloadResult, Reporter, cancellable_step
from dlkit.download.sources import list_remote_files, web_errors
from dlkit.errors import DlkitError
from dlkit.storage.run_reference import require_inside


def obtain_dataset(dataset: DatasetInfo, order: DownloadRequest, reporter: Reporter) -> DownloadResult:
    """Make a data set present.

    Raises:
        DlkitError: it cannot be had: no network, no access, no space, damaged or unlike what is published.
        CancelledError: `order.stop` was set. What has arrived stays for the next time.
    """
    place, work = store.dataset_folder(dataset.name, order.root), order.root / ".work" / dataset.name
    done = order.root / ".work" / f"{dataset.name}.done"
    known = None if order.verify or order.force else store.find_manifest(dataset.name, order.root)
    if known is not None and not done.exists():
        return DownloadResult(known, place, "present", [])
    with _lock(dataset, order, reporter):
        for part in (work, work / "new", work / "raw", done):  # which are emptied or moved
            require_inside(work.parent, part)
        _put_in_place(done, place)  # by an earlier command that was killed
        known = None if order.force else _known(place)
        broken = [] if order.force else _broken(place, known, order, reporter)
        if known is not None and not broken:
            return DownloadResult(known, place, "present", [])
        if order.own is not None:
            manifest = build_from_own_copy(dataset, order.own, work, order, reporter)
            _publish(work, done, place)
            return DownloadResult(manifest, place, "built", broken)
        if known is not None:
            order = _where_it_came_from(known, order, reporter)
        if order.offline and order.directory is None:
            raise DlkitError(
                f"offline, and {store.missing_dataset(dataset, order.root).message}", "unset HF_HUB_OFFLINE"
            )
        if not order.force:
            _reuse(place, broken, work / "raw", order)
        with web_errors(dataset, order):
            found = list_remote_files(dataset, order, reporter)
        manifest = repair_dataset(dataset, found, known, broken, place, work, order, reporter) if known else None
        if manifest is None:
            manifest = build_dataset(dataset, found, work, order, reporter)
        _publish(work, done, place)
        return DownloadResult(manifest, place, "downloaded", broken)


def _known(place: Path) -> Manifest | None:
    """The manifest of the local copy, whatever the state of its files; None where there is none that can be used."""
    try:
        manifest = Manifest.read(place / MANIFEST)
    except (OSError, DlkitError):
        return None
    return manifest if manifest.format == store.FORMAT else None


def _broken(place: Path, manifest: Manifest | None, order: DownloadRequest, reporter: Reporter) -> list[str]:
    """Files of the local copy that are not what they should be; their content is looked into on --verify."""
    if manifest is None:
        return [MANIFEST] if place.exists() else []
    if not order.verify:
        return [file.path for file in manifest.files if not store.has_size(place, file)]
    reporter.phase(manifest.name, "verifying", manifest.size)
    return store.damaged_files(place, manifest, cancellable_step(order, reporter))


def _where_it_came_from(known: Manifest, order: DownloadRequest, reporter: Reporter) -> DownloadRequest:
    """The order with the mirror that a broken copy came from, if none is asked for: that one has the same files."""
    place = str(known.source.get("place", ""))
    kind = known.source.get("kind")
    here = kind == "directory" and Path(place).is_dir()
    if order.mirror is not None or os.environ.get("HF_ENDPOINT") or not (here or kind == "hub"):
        return order
    reporter.note(f"{known.name}: repairing it from {place}, where it came from")
    return replace(order, mirror=place)


@contextmanager
def _lock(dataset: DatasetInfo, order: DownloadRequest, reporter: Reporter) -> Iterator[None]:
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
        raise failures.disk_error(error, order.root) from error
    try:
        yield
    finally:
        lock.release()


def _reuse(place: Path, broken: list[str], raw: Path, order: DownloadRequest) -> None:
    """Shards that are good need not come again: sealed, they count as fetched if the source still has the same.

    Without a manifest nobody knows which are good: each is hashed.
    """
    for seal in place.rglob("*.seal"):
        file = seal.with_suffix("")
        path = file.relative_to(place).as_posix()
        order.check()
        if path in broken or not file.is_file():
            continue
        if MANIFEST in broken and store.hash_file(place, path).sha256 not in seal.read_text(encoding="utf-8"):
            continue
        for source in (file, seal):
            target = raw / source.relative_to(place)
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                os.link(source, target)


def _publish(work: Path, done: Path, place: Path) -> None:
    """Put `work`/new in its place, and drop what was needed on the way.

    The first rename says that all is there; a command that is killed behind it leaves the rest to the next one.
    """
    try:
        work.rename(done)
    except OSError as error:
        raise failures.disk_error(error, done) from error
    _put_in_place(done, place)


def _put_in_place(done: Path, place: Path) -> None:
    """Finish publishing, wherever it was left; without `done`, nothing is to be finished."""
    new, old = done / "new", done / "old"
    try:
        if new.exists():
            if place.exists():
                place.rename(old)
            place.parent.mkdir(parents=True, exist_ok=True)
            new.rename(place)
    except OSError as error:
        raise failures.disk_error(error, place) from error
    shutil.rmtree(done, ignore_errors=True)
