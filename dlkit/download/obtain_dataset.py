"""Obtain a data set: under a lock, verified or repaired if it is here, else downloaded, then published."""

from __future__ import annotations

import os
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
from dlkit.download.publish import finish_publishing, publish
from dlkit.download.repository import HIDDEN_SEALS
from dlkit.download.request import DownloadRequest, DownloadResult, Reporter, cancellable_step
from dlkit.download.sources import list_remote_files, web_errors
from dlkit.errors import DlkitError
from dlkit.storage.run_reference import require_inside


def obtain_dataset(dataset: DatasetInfo, request: DownloadRequest, reporter: Reporter) -> DownloadResult:
    """Make sure that a data set is in the data directory.

    Raises:
        DlkitError: it cannot be obtained: no network, no access, no space, damaged or unlike the published one.
        CancelledError: `request.stop` was set. Partial downloads are kept for the next time.
    """
    folder, work = store.dataset_folder(dataset.place, request.root), request.root / ".work" / dataset.place
    done = request.root / ".work" / f"{dataset.place}.done"
    known = None if request.verify or request.force else store.find_manifest(dataset.place, request.root)
    known = known if known is not None and _has_these(dataset, known) else None
    if known is not None and not done.exists():
        return DownloadResult(known, folder, "present", [])
    with _lock(dataset, request, reporter):
        for part in (work, work / "new", work / "raw", done):  # these are deleted or moved
            require_inside(work.parent, part)
        finish_publishing(done, folder)  # left by a command that was killed
        known = None if request.force else _known(folder)
        known = known if known is not None and _has_these(dataset, known) else None
        broken = [] if request.force else _broken(folder, known, request, reporter)
        if known is not None and not broken:
            return DownloadResult(known, folder, "present", [])
        if request.own is not None:
            manifest = build_from_own_copy(dataset, request.own, work, request, reporter)
            publish(work, done, folder)
            return DownloadResult(manifest, folder, "built", broken)
        if known is not None:
            request = _with_original_mirror(known, request, reporter)
        if request.offline and request.directory is None:
            raise DlkitError(
                f"offline, and {store.missing_dataset(dataset, request.root).message}", "unset HF_HUB_OFFLINE"
            )
        if not request.force:
            _reuse(folder, broken, work / "raw", request)
        with web_errors(dataset, request):
            found = list_remote_files(dataset, request, reporter)
        manifest = repair_dataset(dataset, found, known, broken, folder, work, request, reporter) if known else None
        if manifest is None:
            manifest = build_dataset(dataset, found, work, request, reporter)
        publish(work, done, folder)
        return DownloadResult(manifest, folder, "downloaded", broken)


def _has_these(dataset: DatasetInfo, known: Manifest) -> bool:
    """Whether a local copy was made of the same part of a repository."""
    return known.source.get("include", []) == list(dataset.include)


def _known(folder: Path) -> Manifest | None:
    """The manifest of the local copy, whatever the state of its files; None if there is no usable one."""
    try:
        manifest = Manifest.read(folder / MANIFEST)
    except (OSError, DlkitError):
        return None
    return manifest if manifest.format == store.FORMAT else None


def _broken(folder: Path, manifest: Manifest | None, request: DownloadRequest, reporter: Reporter) -> list[str]:
    """Missing or damaged files of the local copy. Their contents are hashed only with --verify."""
    if manifest is None:
        return [MANIFEST] if folder.exists() else []
    if not request.verify:
        return [file.path for file in manifest.files if not store.has_size(folder, file)]
    reporter.phase(manifest.name, "verifying", manifest.size)
    return store.damaged_files(folder, manifest, cancellable_step(request, reporter))


def _with_original_mirror(known: Manifest, request: DownloadRequest, reporter: Reporter) -> DownloadRequest:
    """The request with the mirror that a damaged copy came from, unless another is asked for: it has the same files."""
    place = str(known.source.get("place", ""))
    kind = known.source.get("kind")
    here = kind == "directory" and Path(place).is_dir()
    if request.mirror is not None or os.environ.get("HF_ENDPOINT") or not (here or kind == "hub"):
        return request
    reporter.note(f"{known.name}: repairing it from {place}, where it came from")
    return replace(request, mirror=place)


@contextmanager
def _lock(dataset: DatasetInfo, request: DownloadRequest, reporter: Reporter) -> Iterator[None]:
    """Lock a data set: one process at a time fetches it, the others wait and then find it."""
    path = request.root / ".work" / f"{dataset.place}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        noted = False
        while True:
            request.check()
            try:
                lock.acquire(timeout=0.2)
                break
            except Timeout:
                if not noted:
                    reporter.note(f"{dataset.name}: another dlkit is fetching it; waiting for that one")
                noted = True
    except OSError as error:
        raise failures.disk_error(error, request.root) from error
    try:
        yield
    finally:
        lock.release()


def _reuse(folder: Path, broken: list[str], raw: Path, request: DownloadRequest) -> None:
    """Link intact shards into `raw`, where they count as fetched if the source still has the same ones.

    Without a manifest, each is hashed to find out whether it is intact.
    """
    for seal in folder.rglob("*.seal"):
        top = folder / HIDDEN_SEALS if seal.is_relative_to(folder / HIDDEN_SEALS) else folder
        path = seal.with_suffix("").relative_to(top).as_posix()
        file = folder / path
        request.check()
        if path in broken or not file.is_file():
            continue
        if MANIFEST in broken and store.hash_file(folder, path).sha256 not in seal.read_text(encoding="utf-8"):
            continue
        for source, target in ((file, raw / path), (seal, raw / f"{path}.seal")):
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                os.link(source, target)
