"""The authors' archives: read without unpacking; whatever no archive of data has is refused."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlkit.data.images.cifar import cifar100
from dlkit.data.registry import DATASETS
from dlkit.download import archives, image_arrays, remote_files
from dlkit.errors import DlkitError


def tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member, body in members:
            member.size = member.size or len(body)
            archive.addfile(member, io.BytesIO(body))
    return path


def entry(name: str, **changes: Any) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    for key, value in changes.items():
        setattr(member, key, value)
    return member


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (entry("../out"), "points out of the archive"),
        (entry("a/../../out"), "points out of the archive"),
        (entry("/etc/passwd"), "points out of the archive"),
        (entry("..\\out"), "points out of the archive"),
        (entry("C:/out"), "points out of the archive"),
        (entry("link", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "is a link"),
        (entry("hard", type=tarfile.LNKTYPE, linkname="good"), "is a link"),
        (entry("device", type=tarfile.CHRTYPE), "not an ordinary file"),
        (entry("block", type=tarfile.BLKTYPE), "not an ordinary file"),
        (entry("pipe", type=tarfile.FIFOTYPE), "not an ordinary file"),
    ],
    ids=lambda value: value.name if isinstance(value, tarfile.TarInfo) else "",
)
def test_members_that_no_data_has_are_refused(tmp_path: Path, member: tarfile.TarInfo, message: str) -> None:
    path = tar(tmp_path / "a.tar.gz", (entry("good"), b"good"), (member, b""))
    with pytest.raises(DlkitError, match=message):
        list(archives.read_members(path, ("good",)))


def zeros(path: Path, name: str, size: int, kind: bytes = tarfile.REGTYPE) -> Path:
    """A compressed archive with one member of zeros, a thousandth of the size that it claims."""
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(entry(name, size=size, type=kind).tobuf(tarfile.USTAR_FORMAT))
        for _ in range(size // 2**20):
            stream.write(bytes(2**20))
    return path


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = zeros(tmp_path / "one.tar.gz", "big", 80 * 2**20)
    assert one.stat().st_size < 2**20
    with pytest.raises(DlkitError, match=r"'big' has 83,886,080 bytes, at most 67,108,864"):
        list(archives.read_members(one, ("big",)))
    header = zeros(tmp_path / "header.tar.gz", "pax", 80 * 2**20, tarfile.XHDTYPE)
    with pytest.raises(DlkitError, match="a header or member of"):
        list(archives.read_members(header, ("big",)))
    monkeypatch.setattr(archives, "LARGEST_WHOLE", 100)
    many = tar(tmp_path / "many.tar.gz", *((entry(f"m{n}"), bytes(60)) for n in range(2)))
    with pytest.raises(DlkitError, match="unpacks to too much"):
        list(archives.read_members(many, ("m0",)))


@pytest.mark.parametrize("damage", ["short", "flip", "text"])
def test_a_damaged_archive_is_told(tmp_path: Path, damage: str) -> None:
    path = tar(tmp_path / "a.tar.gz", (entry("x"), np.random.default_rng(0).bytes(4000)))
    body = path.read_bytes()
    flipped = body[:2000] + bytes([body[2000] ^ 0xFF]) + body[2001:]
    path.write_bytes({"short": body[:1000], "flip": flipped, "text": b"<html>"}[damage])
    with pytest.raises(DlkitError, match=r"a\.tar\.gz is damaged"):
        list(archives.read_members(path, ("x",)))


def test_cifar100_from_the_binary_archive_when_the_hub_fails(
    hub: Any, obtain: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Coarse label, fine label, then the planes of the pixels; 50,000 and 10,000 are too many for a test."""
    dice = np.random.default_rng(0)
    tables = {
        "train": dice.integers(0, 256, (40, 3074), dtype=np.uint8),
        "test": dice.integers(0, 256, (9, 3074), dtype=np.uint8),
    }
    for table in tables.values():
        table[:, 0] %= 20
        table[:, 1] %= 100
    path = tar(
        tmp_path / "cifar-100-binary.tar.gz",
        *((entry(f"cifar-100-binary/{split}.bin"), table.tobytes()) for split, table in tables.items()),
    )
    body = path.read_bytes()
    hub.repositories["any/files", "main"] = {path.name: body}
    archive = DATASETS["cifar100"].archive
    assert archive is not None
    url = f"{hub.cdn}/plain/{hashlib.sha256(body).hexdigest()}"
    changed = dataclasses.replace(archive, url=url, size=len(body), md5=hashlib.md5(body).hexdigest())
    small = dataclasses.replace(DATASETS["cifar100"], archive=changed, rows={"train": 40, "test": 9})
    # its name ends in no .gz here, where files are named by their content
    monkeypatch.setattr(remote_files.Archive, "name", property(lambda _: "cifar-100-binary.tar.gz"))  # type: ignore[attr-defined]
    monkeypatch.setitem(DATASETS, "cifar100", small)
    outcome = obtain("cifar100", allow_mismatch=False)
    assert outcome.manifest.source["kind"] == "archive"
    for labels, place in (("fine", 1), ("coarse", 0)):
        data = cifar100(labels=labels)  # type: ignore[arg-type]
        for split, table in tables.items():
            assert data.splits[split].targets.tolist() == table[:, place].tolist()
            assert np.array_equal(data.splits[split].inputs.numpy().reshape(-1, 3072), table[:, 2:])
    with pytest.raises(DlkitError, match="cannot fetch cifar100"):
        monkeypatch.setitem(
            DATASETS, "cifar100", dataclasses.replace(small, archive=dataclasses.replace(changed, md5="0" * 32))
        )
        obtain("cifar100", force=True)


def test_binary_records_with_a_class_too_many_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DlkitError, match="outside its 10 classes"):
        image_arrays.write_cifar_arrays(
            DATASETS["cifar10"], "test", 1, iter([bytes([10]) + bytes(3072)]), tmp_path, lambda _: None
        )
    with pytest.raises(DlkitError, match="not a whole number of images"):
        image_arrays.write_cifar_arrays(DATASETS["cifar10"], "test", 1, iter([bytes(3000)]), tmp_path, lambda _: None)
    with pytest.raises(DlkitError, match="1 images of the split 'test', 2 were announced"):
        image_arrays.write_cifar_arrays(DATASETS["cifar10"], "test", 2, iter([bytes(3073)]), tmp_path, lambda _: None)
