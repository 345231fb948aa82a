"""Streamed images: folders and shards, exact resume, damaged and CMYK files, the cache, progressive sizes."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from dlkit.data.batch import Batch
from dlkit.data.dataset import Dataset
from dlkit.data.images.decoding import DamagedImageError
from dlkit.data.images.imagenet import imagenet
from dlkit.data.images.streaming import StreamedImages
from dlkit.errors import DlkitError, RequestError

CPU = torch.device("cpu")


def jpeg(seed: int, mode: str = "RGB", size: tuple[int, int] = (50, 40)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 7, len(mode)), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels[..., :3] if len(mode) > 1 else pixels[..., 0]).convert(mode).resize(size).save(
        stream, "JPEG"
    )
    return stream.getvalue()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for split, count in (("train", 9), ("val", 4)):
        for label, name in enumerate(("cat", "dog")):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                (folder / f"{i}.jpg").write_bytes(jpeg(100 * label + i))
    return tmp_path


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    for split, count in (("train-0", 2), ("train-1", 2), ("validation-0", 1)):
        rows = [{"image": {"bytes": jpeg(i), "path": None}, "label": i % 2} for i in range(5 * count)]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "data" / f"{split}-of-1.parquet", row_group_size=4)
    return tmp_path


def batches(dataset: Dataset, split: str = "train", training: bool = True, **keys: Any) -> StreamedImages:
    options = {"batch_size": 4, "workers": 0, **keys}
    return StreamedImages(dataset.splits[split], dataset.mean, dataset.std, CPU, 3, training, **options)


@pytest.mark.parametrize("form", ["tree", "shards"])
def test_every_image_comes_once_and_runs_resume(form: str, request: pytest.FixtureRequest) -> None:
    dataset = imagenet(path=request.getfixturevalue(form), size=16)
    assert dataset.input_shape == (3, 16, 16)
    source = batches(dataset, mixup=0.2, cutmix=1.0)
    state = torch.get_rng_state()
    whole = list(map(Batch.tensors, source.epoch(1)))
    assert torch.equal(torch.get_rng_state(), state)
    assert sum(len(images) for images, *_ in whole) == source.samples
    again = list(map(Batch.tensors, batches(dataset, mixup=0.2, cutmix=1.0).epoch(1, 2)))
    for a, b in zip(whole[2:], again, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert not torch.equal(next(source.epoch(2)).inputs, whole[0][0])
    seen = torch.cat([targets for _, targets in map(Batch.tensors, batches(dataset).epoch(0))])
    assert torch.equal(seen.bincount(), dataset.splits["train"].targets.bincount())


def test_workers_make_what_one_process_makes(tree: Path) -> None:
    dataset = imagenet(path=tree, size=16)
    for a, b in zip(
        map(Batch.tensors, batches(dataset).epoch(0)),
        map(Batch.tensors, batches(dataset, workers=1).epoch(0)),
        strict=True,
    ):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_evaluation_is_torchvisions(tree: Path) -> None:
    dataset = imagenet(path=tree, size=16)
    images, targets = next(batches(dataset, "val", False, resize=20, batch_size=100).epoch(0)).tensors()
    preset = v2.Compose(
        [v2.Resize(20, antialias=True), v2.CenterCrop(16), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True),
         v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    )  # fmt: skip
    expected = torch.stack([preset(Image.open(file)) for file in sorted((tree / "val").rglob("*.jpg"))])
    torch.testing.assert_close(images, expected, rtol=1e-5, atol=1e-5)
    assert targets.tolist() == [0] * 4 + [1] * 4


@pytest.mark.parametrize(("size", "keys", "margin"), [
    (224, {}, 232), (224, {"crop": 0.875}, 256), (32, {}, 33), (32, {"crop": 0.875}, 37), (384, {"crop": 0.875}, 439),
    (32, {"resize": 40}, 40), (64, {"crop": 1.0}, 64), (64, {"resize": 32}, 64),
])  # fmt: skip
def test_the_evaluation_resize_follows_the_size(tree: Path, size: int, keys: dict[str, Any], margin: int) -> None:
    found, _ = next(batches(imagenet(path=tree, size=size), "val", False, batch_size=1, **keys).epoch(0)).tensors()
    preset = v2.Compose([v2.Resize(margin, antialias=True), v2.CenterCrop(size), v2.PILToTensor()])
    expected = preset(Image.open(tree / "val" / "cat" / "0.jpg")).float() / 255
    mean, std = (torch.tensor(x)[:, None, None] for x in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    torch.testing.assert_close(found[0], (expected - mean) / std, rtol=1e-5, atol=1e-5)


def test_damaged_and_cmyk_images(tree: Path) -> None:
    (tree / "train" / "cat" / "cmyk.jpg").write_bytes(jpeg(1, "CMYK"))
    (tree / "train" / "cat" / "grey.jpg").write_bytes(jpeg(1, "L"))
    (tree / "train" / "dog" / "cut.jpg").write_bytes(jpeg(2)[:400])
    dataset = imagenet(path=tree, size=16)
    source = batches(dataset)
    assert sum(len(images) for images, _ in map(Batch.tensors, source.epoch(0))) == source.samples - 1
    ((name, why),) = source.damaged.items()
    assert name.endswith("cut.jpg") and why
    list(source.epoch(1))
    assert len(source.damaged) == 1  # counted once
    with pytest.raises(DlkitError, match=r"cut\.jpg"):
        list(batches(dataset, damaged="refuse").epoch(0))
    for i in range(5):
        (tree / "train" / "dog" / f"{i}.jpg").write_bytes(b"no image")
    with pytest.raises(DlkitError, match="of 21 images cannot be decoded"):
        list(batches(imagenet(path=tree, size=16)).epoch(0))


def test_files_of_every_kind(tree: Path) -> None:
    folder, generator = tree / "train" / "cat", np.random.default_rng(0)
    photo = Image.open(io.BytesIO(jpeg(1)))
    stream = io.BytesIO()
    photo.save(stream, "PNG")
    (folder / "png-inside.jpg").write_bytes(stream.getvalue())
    white = Image.new("RGBA", (50, 40), (0, 0, 0, 0))
    white.save(folder / "clear.png")
    deep = np.full((40, 50), 200 * 256 + 99, np.uint16)
    Image.fromarray(deep).save(folder / "sixteen.png")
    for name in ("moving.gif", "moving.webp"):
        photo.save(folder / name, save_all=True, append_images=[white.convert("RGB"), photo.rotate(90)])
    Image.fromarray(generator.integers(0, 256, (1, 900, 3), dtype=np.uint8)).save(folder / "thin.png")
    broken = {"empty.jpg": "cannot identify image", "loop.jpg": "Too many levels", "gone.jpg": "No such file"}
    broken |= {"pipe.jpg": "not a regular file", "float.tif": "floating-point pixels"}
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "gone.jpg").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.jpg")
    Image.fromarray(np.zeros((40, 50), np.float32)).save(folder / "float.tif")
    (folder / "folder.jpg").mkdir()
    dataset = imagenet(path=tree, size=16)
    files: Any = dataset.splits["train"].inputs
    names = {Path(files.name(row)).name: row for row in range(files.shape[0])}
    assert len(names) == 9 + 5 + 6  # of the cats, the others are called alike
    assert files.image(names["clear.png"]).getpixel((0, 0)) == (255, 255, 255)
    assert files.image(names["sixteen.png"]).getpixel((0, 0)) == (200, 200, 200)
    moving = np.asarray(files.image(names["moving.gif"]), np.float32)
    assert abs(moving - np.asarray(photo, np.float32)).mean() < 8  # the first frame, in a palette
    found: dict[str, str] = {}
    for name, row in names.items():
        try:
            files.image(row)
        except DamagedImageError as error:
            found[name] = str(error)
    assert found.keys() == broken.keys()
    for name, expected in broken.items():
        assert found[name].startswith(f"{folder / name}: ") and expected in found[name]
    # more than a tenth of these few, so that skipping would hide something
    with pytest.raises(DlkitError, match="images cannot be decoded, the first"):
        list(batches(dataset).epoch(0))


def test_folders_that_lead_in_a_circle(tree: Path) -> None:
    # dogs that are called cats: as it stands there
    (tree / "train" / "cat" / "more").symlink_to(tree / "train" / "dog")
    assert imagenet(path=tree).splits["train"].targets.tolist() == [0] * 18 + [1] * 9
    (tree / "train" / "dog" / "back").symlink_to(tree / "train")
    with pytest.raises(DlkitError, match=r"/back/\w+ leads back to .*/train/\w+, in which it lies"):
        imagenet(path=tree)


def test_the_cache(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("cache")
    (tree / "train" / "dog" / "cut.jpg").write_bytes(jpeg(2)[:400])
    plain, cached = imagenet(path=tree, size=200), imagenet(path=tree, size=200, cache=folder)
    keys = {"batch_size": 100, "resize": 256}
    expected, _ = next(batches(plain, "val", False, **keys).epoch(0)).tensors()
    found, _ = next(batches(cached, "val", False, **keys).epoch(0)).tensors()
    assert (expected - found).abs().mean() < 0.1  # the same but for one more resampling
    source = batches(cached)
    list(source.epoch(0))
    assert len(source.damaged) == 1
    files = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    imagenet(path=tree, size=200, cache=folder)
    assert files == {file: file.stat().st_mtime_ns for file in folder.iterdir()}


def test_a_cache_that_cannot_be_made(
    tree: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, offset: int, length: int) -> None:
        assert length == 18 * 256 * 256 * 3
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    folder = tmp_path_factory.mktemp("caches") / "cache"
    with monkeypatch.context() as patch:
        patch.setattr("os.posix_fallocate", full)
        with pytest.raises(DlkitError, match=r"cannot write the cache .*, 0\.0 GB: No space left"):
            imagenet(path=tree, cache=folder)
    assert {file.suffix for file in folder.iterdir()} <= {".lock"}
    with pytest.raises(DlkitError, match="cannot write the cache"):
        imagenet(path=tree, cache=tree / "train" / "cat" / "0.jpg")
    imagenet(path=tree, cache=folder)
    whole = next(file for file in folder.glob("*.uint8") if file.stat().st_size == 18 * 256 * 256 * 3)
    whole.write_bytes(whole.read_bytes()[:-1])
    with pytest.raises(DlkitError, match="is damaged"):
        imagenet(path=tree, cache=folder)


def test_sizes_grow(tree: Path) -> None:
    source = batches(imagenet(path=tree, size=128), start_size=64, grow_epochs=4)
    assert [source.size_of(epoch) for epoch in range(6)] == [64, 64, 96, 128, 128, 128]
    assert next(source.epoch(0)).inputs.shape[2:] == (64, 64)
    with pytest.raises(RequestError, match="start_size is 300"):
        batches(imagenet(path=tree, size=128), start_size=300)


def test_what_is_no_imagenet(tmp_path: Path) -> None:
    with pytest.raises(DlkitError, match="no such folder"):
        imagenet(path=tmp_path / "none")
    with pytest.raises(DlkitError, match="no class folders"):
        imagenet(path=tmp_path)
    (tmp_path / "train-0.parquet").write_bytes(b"no parquet")
    with pytest.raises(DlkitError, match="cannot read"):
        imagenet(path=tmp_path)
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "train-0.parquet")
    with pytest.raises(DlkitError, match="no columns image and label: text"):
        imagenet(path=tmp_path)
