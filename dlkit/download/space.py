"""Disk space, checked before the first byte is fetched."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from dlkit.data.registry import DatasetInfo
from dlkit.download.remote_files import RemoteFile
from dlkit.errors import DlkitError
from dlkit.memory import size_text

_SPARE = 32 * 2**20  # bytes of disk to leave free
_IMAGE_BYTES = 3 * 32 * 32 + 16
_TEXT_GROWTH = 4  # an uncompressed Arrow file beside its Parquet file


def require_space_for_download(
    dataset: DatasetInfo, wanted: Sequence[RemoteFile], rows: int, raw: Path, root: Path
) -> None:
    """Raise DlkitError if the disk of `root` lacks room for the files not yet in `raw` and for their prepared form."""
    download = sum(file.size or 0 for file in wanted)
    prepared = {"images": rows * _IMAGE_BYTES, "texts": _TEXT_GROWTH * download}.get(dataset.form, 0)
    here = sum(_sizes(raw)) if raw.exists() else 0
    _require(dataset, max(0, download - here) + prepared, root)


def require_space_for_copy(dataset: DatasetInfo, own: Path, root: Path) -> None:
    """Raise DlkitError if the disk of `root` lacks room for a copy of the folder `own`."""
    try:
        size = sum(_sizes(own))
    except OSError as error:
        raise DlkitError(f"cannot read {error.filename}: {error.strerror}") from error
    _require(dataset, size, root)


def _sizes(folder: Path) -> Iterator[int]:
    """Bytes of each file at any depth. Raises OSError for a folder that cannot be read."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes(Path(entry.path))
            else:
                yield entry.stat().st_size


def _require(dataset: DatasetInfo, size: int, root: Path) -> None:
    needed, free = size + _SPARE, shutil.disk_usage(root).free
    if free < needed:
        raise DlkitError(
            f"{dataset.name} needs {size_text(needed)} on the disk of {root}, {size_text(free)} are free",
            "free some space, or choose another `data_dir`",
        )
