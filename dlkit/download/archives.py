"""Untrusted tar archives: members are read into memory one by one, and never extracted to paths of their choosing.

Paths that leave the archive, links, devices and decompression bombs are refused before a byte of them is read.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import DlkitError, error_line

LARGEST_MEMBER = 64 * 2**20
LARGEST_WHOLE = 2 * 2**30
MOST_MEMBERS = 10_000
INDEX = np.dtype([("shard", "<i4"), ("offset", "<i8"), ("size", "<i4"), ("label", "<i4")])


class _Limited:
    """A stream with limits on each read and on the total: tarfile reads headers of any length at once."""

    def __init__(self, stream: Any, name: str) -> None:
        self.stream, self.name, self.read_bytes = stream, name, 0

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= LARGEST_MEMBER:
            raise DlkitError(f"{self.name}: a header or member of {size:,} bytes")
        data = self.stream.read(size)
        self.read_bytes += len(data)
        if self.read_bytes > 2 * LARGEST_WHOLE:  # the index, then the members
            raise DlkitError(f"{self.name} unpacks to too much: more than {self.read_bytes:,} bytes")
        return data

    def seek(self, offset: int) -> int:
        return self.stream.seek(offset)

    def tell(self) -> int:
        return self.stream.tell()


def read_members(path: Path, wanted: tuple[str, ...], largest: int = LARGEST_MEMBER) -> Iterator[bytes]:
    """The contents of the members `wanted`, in that order.

    Raises:
        DlkitError: the archive is damaged, lacks one of them, or has an unsafe member.
    """
    try:
        compressed = path.suffix == ".gz"
        with (
            gzip.open(path) if compressed else path.open("rb") as stream,
            tarfile.open(fileobj=_Limited(stream, path.name), mode="r:") as archive,  # pyright: ignore[reportCallIssue, reportArgumentType]
        ):
            found = _index(archive, path.name, largest)
            while stream.read(1 << 20):  # to the end, where gzip keeps its checksum
                pass
            for name in wanted:
                if name not in found:
                    raise DlkitError(f"{path.name} has no member {name!r}", "it is not the authors' archive")
                file = archive.extractfile(found[name])
                assert file is not None
                yield file.read()
    except (tarfile.TarError, EOFError, OSError, ValueError, zlib.error) as error:
        raise DlkitError(f"{path.name} is damaged: {error_line(error)}") from error


def _index(archive: tarfile.TarFile, name: str, largest: int) -> dict[str, tarfile.TarInfo]:
    """All members by name, each of them checked."""
    found: dict[str, tarfile.TarInfo] = {}
    whole = 0
    for member in archive:
        check_member(member, name, largest)
        whole += member.size
        if whole > LARGEST_WHOLE or len(found) >= MOST_MEMBERS:
            raise DlkitError(f"{name} unpacks to too much: {whole:,} bytes in {len(found)} members")
        if member.isfile():
            found[member.name] = member
    return found


def check_member(member: tarfile.TarInfo, archive: str, largest: int = LARGEST_MEMBER) -> None:
    """Raise DlkitError for an unsafe member: a link, a device, a path out of the archive, an oversized file."""
    path = PurePosixPath(member.name.replace("\\", "/"))
    if not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise DlkitError(f"{archive}: the member {member.name!r} points out of the archive")
    if member.issym() or member.islnk():
        raise DlkitError(f"{archive}: the member {member.name!r} is a link")
    if not (member.isfile() or member.isdir()):
        raise DlkitError(f"{archive}: the member {member.name!r} is not an ordinary file")
    if member.size > largest:
        raise DlkitError(
            f"{archive}: the member {member.name!r} has {member.size:,} bytes, at most {largest:,} expected"
        )


def index_shard(path: Path, shard: int) -> NDArray[Any]:
    """The index of a WebDataset shard, (n,) of (shard, offset in bytes, size in bytes, label), without reading images.

    Raises:
        DlkitError: it is not a tar archive, has an unsafe member, or an image without a class.
    """
    rows: list[tuple[int, int, int, int]] = []
    image: dict[str, tuple[int, int]] = {}  # key -> offset and size
    label: dict[str, int] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                check_member(member, path.name)
                archive.members = []  # pyright: ignore[reportAttributeAccessIssue]  # tarfile would keep thousands
                key, _, kind = member.name.rpartition(".")
                if kind == "jpg":
                    image[key] = (member.offset_data, member.size)
                elif kind == "cls":
                    file = archive.extractfile(member)
                    label[key] = int(file.read() if file else b"")
                if key in image and key in label:
                    rows.append((shard, *image.pop(key), label.pop(key)))
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DlkitError(f"{path.name} is not a tar archive: {error}") from error
    except ValueError as error:
        raise DlkitError(f"{path.name}: a class is not a number: {error}") from error
    if image or label:
        raise DlkitError(f"{path.name}: {next(iter(image or label))!r} is not an image and its class")
    return np.array(rows, dtype=INDEX)
