"""The store of downloaded data sets. A manifest beside the files, written last, tells whether a copy is complete.

A data set is a folder of the data directory, and is published by one rename, so that it is complete or absent:

    DATA_DIR/cifar10/manifest.json          source, rows, and the size and sha256 of every file
    DATA_DIR/cifar10/train-images.npy ...   the prepared form
    DATA_DIR/.work/cifar10/                 an unfinished download; its lock is beside it
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dlkit.data.data_folder import data_folder
from dlkit.data.registry import DATASETS, DatasetInfo
from dlkit.errors import DlkitError, shell_word
from dlkit.memory import size_text
from dlkit.strict_json import parse_json
from dlkit.text_input import ordinary_file

# Version of the prepared form: raise it when preparation changes, and older copies count as absent.
FORMAT = 1
MANIFEST = "manifest.json"
_BLOCK = 1 << 20


_chosen: Path | None = None  # by --data-dir of this command


def choose_data_folder(path: Path) -> None:
    """Set the data directory of this process and of its child processes."""
    global _chosen
    _chosen = path.absolute()
    os.environ["DLKIT_DATA"] = str(_chosen)


@dataclass(frozen=True)
class StoredFile:
    """A file of a data set; `path` is relative to its folder, `sha256` is hexadecimal."""

    path: str
    size: int
    sha256: str


@dataclass
class Manifest:
    """The manifest of a data set's local copy.

    Args:
        name: of the data set.
        source: where it came from: kind, place, revision.
        sources: the files as fetched.
        files: the files of the prepared form.
        splits: split -> rows.
        mismatch: split -> {"published": rows, "found": rows}, where they differ.
        features: column -> type, or its class names.
        statistics: mean and std of images, per channel.
        format: version of the prepared form.
    """

    name: str
    source: dict[str, Any]
    sources: list[StoredFile]
    files: list[StoredFile]
    splits: dict[str, int]
    mismatch: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    features: dict[str, Any] = field(default_factory=dict[str, Any])
    statistics: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    format: int = FORMAT

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def sha256(self) -> str:
        """A hash of the content: of the paths and hashes of its files."""
        digest = hashlib.sha256()
        for file in sorted(self.files, key=lambda file: file.path):
            digest.update(f"{file.path}\0{file.sha256}\n".encode())
        return digest.hexdigest()

    def provenance(self) -> dict[str, Any]:
        """What a run records of its data."""
        record = {"name": self.name, "rows": dict(self.splits), "sha256": self.sha256, "source": self.source}
        return {**record, "mismatch": self.mismatch} if self.mismatch else record

    def to_json(self) -> str:
        values = {**asdict(self), "sha256": self.sha256}
        return json.dumps({**values, "checksum": _checksum(values)}, indent=1) + "\n"

    @staticmethod
    def read(path: Path) -> Manifest:
        """Read a manifest. Raises DlkitError if it is damaged, FileNotFoundError if there is none."""
        try:
            values = parse_json(ordinary_file(path).read_bytes())
            if values.pop("checksum") != _checksum(values):
                raise ValueError("its checksum does not match")
            values.pop("sha256")
            sources = [StoredFile(**file) for file in values.pop("sources")]
            return Manifest(sources=sources, files=[StoredFile(**file) for file in values.pop("files")], **values)
        except FileNotFoundError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DlkitError(f"{path} is damaged: {error}") from error


def _checksum(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def dataset_folder(name: str, root: Path | None = None) -> Path:
    """The folder of a data set, whether it exists or not."""
    return (root or data_folder()) / name


def find_manifest(name: str, root: Path | None = None) -> Manifest | None:
    """The manifest of a data set whose files all exist with the right sizes; None if it is absent or incomplete."""
    folder = dataset_folder(name, root)
    try:
        manifest = Manifest.read(folder / MANIFEST)
        if manifest.format != FORMAT:
            return None
    except (OSError, DlkitError):
        return None
    return manifest if all(has_size(folder, file) for file in manifest.files) else None


def has_size(folder: Path, file: StoredFile) -> bool:
    """Whether a file exists and has the right size."""
    try:
        return (folder / file.path).stat().st_size == file.size
    except OSError:
        return False


def missing_dataset(dataset: DatasetInfo, root: Path | None = None) -> DlkitError:
    """The error for a missing data set, with its size and the command that downloads it."""
    about = "" if dataset.exact_size else "about "
    folder = dataset_folder(dataset.place, root)
    why = "is not whole" if (folder / MANIFEST).exists() else "is not here"
    repair = " --verify" if (folder / MANIFEST).exists() else ""
    return DlkitError(
        f"the data set {dataset.name} {why}: nothing whole in {folder} (download: {about}{size_text(dataset.size)})",
        f"dlkit download {dataset.name}{repair}{data_dir_option()}",
    )


def data_dir_option() -> str:
    """The option of a command that is to use the data directory of this one; empty where it will anyway."""
    return f" --data-dir {shell_word(_chosen)}" if _chosen is not None and data_folder() == _chosen else ""


def require_dataset(name: str, root: Path | None = None) -> tuple[Path, Manifest]:
    """The folder and the manifest of a data set. Raises DlkitError, naming the download command, if it is missing."""
    manifest = find_manifest(name, root)
    if manifest is None:
        raise missing_dataset(DATASETS[name], root)
    return dataset_folder(name, root), manifest


def damaged_files(folder: Path, manifest: Manifest, progress: Callable[[int], None] = lambda _: None) -> list[str]:
    """Files that are missing, or whose content differs from the manifest."""
    broken: list[str] = []
    for file in manifest.files:
        try:
            intact = hash_file(folder, file.path, progress).sha256 == file.sha256
        except OSError:
            intact = False
        if not intact:
            broken.append(file.path)
    return broken


def read_blocks(path: Path) -> Iterator[bytes]:
    """A file in blocks of 1 MiB."""
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            yield block


def hash_file(root: Path, path: str, progress: Callable[[int], None] = lambda _: None) -> StoredFile:
    """The size and sha256 of a file; `progress` is called with the size of each block."""
    digest, size = hashlib.sha256(), 0
    for block in read_blocks(root / path):
        digest.update(block)
        size += len(block)
        progress(len(block))
    return StoredFile(path, size, digest.hexdigest())
