"""Build a data set: by a download, by repair of a damaged copy, or from the user's own copy."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dlkit.data import store
from dlkit.data.images.class_folders import file_counts
from dlkit.data.registry import DatasetInfo
from dlkit.data.store import MANIFEST, Manifest
from dlkit.download import failures, space
from dlkit.download.parallel import fetch_files
from dlkit.download.remote_files import Listing
from dlkit.download.request import DownloadRequest, Reporter, cancellable_step
from dlkit.download.sources import web_errors
from dlkit.errors import DlkitError


def build_dataset(
    dataset: DatasetInfo, listing: Listing, work: Path, request: DownloadRequest, reporter: Reporter
) -> Manifest:
    """Fetch and prepare a data set into `work`/new, and return its manifest, which is written there, too."""
    from dlkit.download import prepare

    raw = work / "raw"
    if dataset.form == "repository" and "left_out" in listing.source:
        reporter.note(f"{dataset.name}: left out: {file_counts(Counter(listing.source['left_out']))}")
    with _new_folder(work) as new:
        space.require_space_for_download(dataset, listing.files, dataset.total_rows, raw, request.root)
        reporter.begin(dataset.name, {file.path: file.size for file in listing.files})
        with web_errors(dataset, request):
            fetched = fetch_files(dataset, listing.files, raw, request, reporter)
        step = cancellable_step(request, reporter)
        new.mkdir(parents=True)
        manifest = prepare.prepare_dataset(
            dataset, listing, fetched, raw, new, request.allow_mismatch, reporter.phase, step
        )
        _write(manifest, new)
    return manifest


def repair_dataset(
    dataset: DatasetInfo,
    listing: Listing,
    known: Manifest,
    broken: list[str],
    folder: Path,
    work: Path,
    request: DownloadRequest,
    reporter: Reporter,
) -> Manifest | None:
    """Fetch and prepare only the splits that have a damaged file into `work`/new; the other files are linked.

    Returns None if that is impossible: all splits come from one archive, or the files of the source have changed.
    """
    from dlkit.download import prepare

    then, raw = {file.path: file.sha256 for file in known.sources}, work / "raw"
    if dataset.form not in ("images", "texts") or {file.path for file in listing.files} != set(then):
        return None
    splits = [split for split in known.splits if any(path.startswith((f"{split}-", f"{split}.")) for path in broken)]
    wanted = [file for file in listing.files if file.split in splits]
    if not wanted or any(file.check not in (None, ("sha256", then[file.path])) for file in wanted):
        return None
    with _new_folder(work) as new:
        space.require_space_for_download(
            dataset, wanted, sum(known.splits[split] for split in splits), raw, request.root
        )
        reporter.begin(dataset.name, {file.path: file.size for file in wanted})
        with web_errors(dataset, request):
            fetched = fetch_files(dataset, wanted, raw, request, reporter)
        if any(file.sha256 != then[path] for path, file in fetched.items()):
            return None
        new.mkdir(parents=True)
        manifest = prepare.prepare_splits_again(
            dataset, listing, known, splits, raw, folder, new, reporter.phase, cancellable_step(request, reporter)
        )
        _write(manifest, new)
    return manifest


def build_from_own_copy(
    dataset: DatasetInfo, own: Path, work: Path, request: DownloadRequest, reporter: Reporter
) -> Manifest:
    """Convert the user's own copy into `work`/new; there is no test split."""
    from dlkit.download import imagenet, prepare

    published = {split: rows for split, rows in dataset.rows.items() if split != "test"}
    with _new_folder(work) as new:
        space.require_space_for_copy(dataset, own, request.root)
        reporter.phase(dataset.name, "converting", sum(published.values()))
        new.mkdir(parents=True)
        try:
            rows, left_out = imagenet.write_imagenet_shards(own, new, cancellable_step(request, reporter))
        except OSError as error:
            if own.resolve() in Path(error.filename or "/").resolve().parents:
                raise DlkitError(f"cannot read {error.filename}: {error.strerror}") from error
            raise
        mismatch = prepare.check_row_counts(dataset, published, rows, request.allow_mismatch)
        paths = sorted(path.relative_to(new).as_posix() for path in new.rglob("*.parquet"))
        files = [store.hash_file(new, path) for path in paths]
        source: dict[str, Any] = {"kind": "own", "place": str(own.resolve())}
        if left_out:
            source["left_out"] = dict(left_out)
            reporter.note(f"{own}: left out: {file_counts(left_out)}")
        manifest = Manifest(dataset.name, source, files, files, rows, mismatch, dict(dataset.columns))
        _write(manifest, new)
    return manifest


@contextmanager
def _new_folder(work: Path) -> Iterator[Path]:
    """The path of `work`/new, which does not exist yet. OSErrors of the body become DlkitErrors."""
    new = work / "new"
    try:
        shutil.rmtree(new, ignore_errors=True)
        yield new
    except OSError as error:
        raise failures.disk_error(error, error.filename or new) from error


def _write(manifest: Manifest, new: Path) -> None:
    """Write the manifest, and flush all files to the disk."""
    (new / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    for path in new.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
