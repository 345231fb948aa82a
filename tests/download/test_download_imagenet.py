"""ImageNet from the user's own copy: the official archives with their ground truth, or folders."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet
from scipy.io import savemat

from dlkit.download import imagenet
from dlkit.errors import DlkitError
from dlkit.memory import size_text

IDS = ["n03", "n01", "n02"]  # in the order of the kit's own numbers, which is not the sorted one


def tar(path: Any, mode: str, members: dict[str, bytes]) -> None:
    target = {"name": path} if isinstance(path, Path) else {"fileobj": path}
    with tarfile.open(mode=mode, **target) as archive:
        for name, body in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))


@pytest.fixture
def official(tmp_path: Path) -> Path:
    own = tmp_path / "own"
    own.mkdir()
    classes = {}
    for name in sorted(IDS):
        stream = io.BytesIO()
        tar(stream, "w", {f"{name}_{row}.JPEG": f"{name} {row}".encode() for row in range(2)})
        classes[f"{name}.tar"] = stream.getvalue()
    tar(own / imagenet.TRAIN, "w", classes)
    tar(own / imagenet.VALIDATION, "w", {f"ILSVRC2012_val_{n:08d}.JPEG": b"v%d" % n for n in (1, 2, 3, 4)})
    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("num_children", "O")]
    rows = [(number + 1, name, 0) for number, name in enumerate(IDS)] + [(4, "n00", 3)]
    stream = io.BytesIO()
    savemat(stream, {"synsets": np.array(rows, dtype=kind)})
    base = "ILSVRC2012_devkit_t12/data"
    truth = b"1\n3\n2\n1\n"
    kit = {f"{base}/meta.mat": stream.getvalue(), f"{base}/ILSVRC2012_validation_ground_truth.txt": truth}
    tar(own / imagenet.KIT, "w:gz", kit)
    return own


def rows_of(path: Path, split: str) -> list[tuple[bytes, int]]:
    rows = [
        row for file in sorted(path.glob(f"data/{split}-*.parquet")) for row in parquet.read_table(file).to_pylist()
    ]
    return [(row["image"]["bytes"], row["label"]) for row in rows]


def test_the_official_archives(obtain: Any, official: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet, "_SHARD_BYTES", 9)  # two images a shard
    outcome = obtain("imagenet1k", own=official)
    assert (outcome.status, outcome.manifest.splits) == ("built", {"train": 6, "validation": 4})
    assert "data/train-00002-of-00003.parquet" in [file.path for file in outcome.manifest.files]
    train = [(f"{name} {row}".encode(), place) for place, name in enumerate(sorted(IDS)) for row in range(2)]
    assert rows_of(outcome.path, "train") == train
    # ground truth 1, 3, 2, 1 in the kit's numbers: n03, n02, n01, n03, which sorted are 2, 1, 0, 2
    assert rows_of(outcome.path, "validation") == [(b"v1", 2), (b"v2", 1), (b"v3", 0), (b"v4", 2)]
    assert obtain("imagenet1k").status == "present"


def test_folders_of_classes(obtain: Any, tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in IDS:
            (tmp_path / "own" / split / name).mkdir(parents=True)
            (tmp_path / "own" / split / name / "a.JPEG").write_bytes(name.encode())
    outcome = obtain("imagenet1k", own=tmp_path / "own")
    assert rows_of(outcome.path, "validation") == [(b"n01", 0), (b"n02", 1), (b"n03", 2)]
    assert "left_out" not in outcome.manifest.source


def test_what_is_left_out_of_folders_is_said(obtain: Any, tmp_path: Path) -> None:
    parts = {"Training": ["a.JPEG", "b.jfif", "c.webp", "d/e.JPG", "f.txt"], "valid": ["a.jpe", "b.xml"]}
    for split, files in parts.items():
        for name in IDS:
            for file in files:
                place = tmp_path / "own" / split / name / file
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(file.encode())
    (tmp_path / "own" / "test").mkdir()
    for name in ("0.JPEG", "1.JPEG"):
        (tmp_path / "own" / "test" / name).write_bytes(b"its label is secret")
    outcome = obtain("imagenet1k", own=tmp_path / "own")
    assert outcome.manifest.splits == {"train": 12, "validation": 3}
    first = [content.decode() for content, _ in rows_of(outcome.path, "train")[:4]]
    assert first == ["a.JPEG", "b.jfif", "c.webp", "d/e.JPG"]
    left_out = {".txt": 3, ".xml": 3, "folder test": 1}
    assert outcome.manifest.source["left_out"] == left_out


def test_the_published_rows_are_asked_for_and_rubbish_is_refused(obtain: Any, official: Path, tmp_path: Path) -> None:
    with pytest.raises(DlkitError, match="train has 6 rows, 1,281,167 are published"):
        obtain("imagenet1k", own=official, allow_mismatch=False)
    with pytest.raises(DlkitError, match="has neither the official archives nor train/ and val/"):
        obtain("imagenet1k", own=tmp_path)
    tar(official / imagenet.VALIDATION, "w", {"../ILSVRC2012_val_00000001.JPEG": b"x"})
    with pytest.raises(DlkitError, match="points out of the archive"):
        obtain("imagenet1k", own=official)


def test_the_space_for_a_copy_is_checked_first(
    obtain: Any, official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = sum(path.stat().st_size for path in official.iterdir())
    usage = shutil._ntuple_diskusage(10**9, 10**9 - 10**6, 10**6)  # type: ignore[attr-defined]
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    needed = size_text(size + 32 * 2**20)
    with pytest.raises(DlkitError, match=rf"imagenet1k needs {needed} on the disk of .*, 1 MB are free"):
        obtain("imagenet1k", own=official)
    assert not list((tmp_path / "data").rglob("*.parquet"))


def test_an_image_that_cannot_be_read_is_named(obtain: Any, tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / "own" / split / "n01").mkdir(parents=True)
        (tmp_path / "own" / split / "n02").mkdir()
        for name in ("n01", "n02"):
            (tmp_path / "own" / split / name / "b.JPEG").write_bytes(b"an image")
    (tmp_path / "own" / "train" / "n01" / "a.JPEG").symlink_to("nowhere")
    with pytest.raises(DlkitError, match=r"cannot read .*/own/train/n01/a\.JPEG: No such file"):
        obtain("imagenet1k", own=tmp_path / "own")
