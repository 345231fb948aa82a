"""The files of a data set at a source: a hub, a local directory in the hub's layout, or the authors' archive."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlkit.data.registry import Archive, DatasetInfo


@dataclass(frozen=True)
class RemoteFile:
    """One file to fetch.

    Args:
        path: in the repository.
        split: the split it belongs to; "" for an archive of all splits.
        size: in bytes; None if the source does not say.
        check: (algorithm, hexadecimal digest) stated by the source: sha256, md5 or git (blob sha1); or None.
        identity: identifies the content, so that a partial copy is not continued with another.
        url: its address, or
        local: its path on this machine.
    """

    path: str
    split: str
    size: int | None
    check: tuple[str, str] | None
    identity: str
    url: str = ""
    local: Path | None = None


@dataclass(frozen=True)
class Listing:
    """The files of a data set at one source. `source` is recorded in the manifest."""

    files: list[RemoteFile]
    source: dict[str, Any]


def split_of_remote_path(dataset: DatasetInfo, path: str) -> str | None:
    """The split that a file of the repository belongs to, or None.

    Names are `folder/train-00000-of-00001.parquet` as uploaded, `folder/train/0000.parquet` as converted by the hub, or
    `stem-train-0000.tar`.
    """
    suffix = "tar" if dataset.form == "archives" else "parquet"
    prefix = f"{dataset.folder}/" if dataset.folder else ""
    for split in dataset.rows:
        pattern = rf"{re.escape(prefix + dataset.stem + split)}(-\d+(-of-\d+)?(-[0-9a-f]+)?|/\d+)?\.{suffix}"
        if re.fullmatch(pattern, path):
            return split
    return None


def missing_files(dataset: DatasetInfo, paths: list[str]) -> str | None:
    """What a list of files lacks, for a message: a split, or shards of `-of-N`; None if it is complete."""
    found: dict[str, list[str]] = {split: [] for split in dataset.rows}
    for path in paths:
        split = split_of_remote_path(dataset, path)
        if split is not None:
            found[split].append(path)
    for split, files in found.items():
        if not files:
            return f"no file of the split {split!r}"
        counts = {int(match[1]) for path in files if (match := re.search(r"-of-(\d+)", path))}
        if counts and (len(counts) > 1 or len(files) != max(counts)):
            return f"{len(files)} files of the split {split!r}, {max(counts)} expected"
    return None


def list_directory(dataset: DatasetInfo, root: Path) -> Listing | None:
    """The files of a directory in the hub's layout, `ROOT/<org>/<dataset>/<path>`, or the authors' archive in it.

    Returns None if it has neither.
    """
    repository = root / dataset.repo
    suffix = {"archives": "*.tar", "repository": "*"}.get(dataset.form, "*.parquet")
    base = repository / dataset.folder
    paths = sorted(path.relative_to(repository).as_posix() for path in base.rglob(suffix) if path.is_file())
    source = {"kind": "directory", "place": str(root.resolve()), "repo": dataset.repo}
    if dataset.form == "repository" and paths:
        return Listing([_local(repository / path, path, "", None) for path in paths], source)
    chosen = [(path, split) for path in paths if (split := split_of_remote_path(dataset, path)) is not None]
    if chosen:
        return Listing([_local(repository / path, path, split, None) for path, split in chosen], source)
    archive = dataset.archive
    if archive is not None:
        for place in (root / archive.name, repository / archive.name):
            if place.is_file():
                return Listing([_local(place, archive.name, "", ("md5", archive.md5))], {**source, "repo": ""})
    return None


def _local(place: Path, path: str, split: str, check: tuple[str, str] | None) -> RemoteFile:
    status = place.stat()
    identity = f"{place.resolve()} {status.st_size} {status.st_mtime_ns}"
    return RemoteFile(path, split, status.st_size, check, identity, local=place)


def list_archive(archive: Archive) -> Listing:
    """The authors' archive, from their site."""
    file = RemoteFile(archive.name, "", archive.size, ("md5", archive.md5), archive.md5, url=archive.url)
    return Listing([file], {"kind": "archive", "place": archive.url, "md5": archive.md5})
