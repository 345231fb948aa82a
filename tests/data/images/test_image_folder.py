"""Image folders: layouts, formats of pixels, and one clear line for whatever can be wrong with a tree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dlkit.data.images.image_folder import image_folder
from dlkit.data.images.imagenet import imagenet
from dlkit.errors import DlkitError, RequestError
from tests.data.images.written_images import save, tree


def test_class_folders_are_split(tmp_path: Path) -> None:
    tree(tmp_path, {"dog": 20, "cat": 10})
    data = image_folder(path=str(tmp_path), size=8, validation=0.25)
    assert data.classes == ("cat", "dog")
    assert data.input_shape == (3, 8, 8)
    assert data.sources["rows"] == {"train": 18, "val": 6, "test": 6}
    assert list(data.splits) == ["train", "val", "test"]
    seen = [
        (x[0, 0, 0].item(), t.item()) for s in data.splits.values() for x, t in zip(s.inputs, s.targets, strict=True)
    ]
    assert sorted(seen) == sorted([(i, 1) for i in range(20)] + [(i, 0) for i in range(10)])
    assert data.splits["test"].targets.bincount().tolist() == [2, 4]
    assert all(split.inputs.is_contiguous() and split.inputs.dtype == torch.uint8 for split in data.splits.values())


def test_split_folders_are_the_splits(tmp_path: Path) -> None:
    tree(tmp_path / "train", {"a": 6, "b": 6})
    tree(tmp_path / "test", {"a": 2, "b": 3})
    data = image_folder(path=str(tmp_path), size=4)
    assert data.sources["rows"] == {"train": 12, "test": 5}
    assert image_folder(path=str(tmp_path), size=4, validation=0.5).sources["rows"] == {"train": 6, "val": 6, "test": 5}
    tree(tmp_path / "val", {"b": 1})
    data = image_folder(path=str(tmp_path), size=4)
    assert data.sources["rows"] == {"train": 12, "val": 1, "test": 5}
    assert data.splits["val"].targets.tolist() == [1]
    with pytest.raises(RequestError, match=r"data.validation is 0\.1, but there is a folder .*val"):
        image_folder(path=str(tmp_path), validation=0.1)
    tree(tmp_path / "valid", {"a": 1})
    with pytest.raises(DlkitError, match=r"valid is not a split of its own: .*val is 'val' too"):
        image_folder(path=str(tmp_path))


@pytest.mark.parametrize(
    "names",
    [
        ("Train", "Val", "Test"),
        ("TRAIN", "VALIDATION", "TEST"),
        ("Training", "Valid", "Testing"),
        ("training", "dev", "evaluation"),
        ("train_set", "val_set", "test_set"),
        ("train2017", "val2017", "test2017"),
        ("ILSVRC2012_img_train", "ILSVRC2012_img_val", "ILSVRC2012_img_test"),
    ],
)
def test_split_folders_in_any_spelling(names: tuple[str, str, str], tmp_path: Path) -> None:
    for name, count in zip(names, (3, 2, 1), strict=True):
        tree(tmp_path / name, {"a": count, "b": count})
    rows = {"train": 6, "val": 4, "test": 2}
    for data in (image_folder(path=tmp_path, size=4), imagenet(path=tmp_path, size=4)):
        assert data.classes == ("a", "b")
        assert {name: len(split.targets) for name, split in data.splits.items()} == rows


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["Train/a", "Train/b", "a", "b"], "a is not a split, and .*Train is called after one: classes, or splits"),
        (["cat", "dog", "Test/cat", "Test/dog"], "cat is not a split, and .*Test is called after one"),
        (
            ["train/a", "train/b", "Training/a", "Training/b"],
            "train is not a split of its own: .*Training is",
        ),
        (["Test/a", "Test/b"], "Test, but no folder of train"),
        (["test/a", "test/b", "val/a", "val/b"], "test, val, but no folder of train"),
        (["Train", "Test"], "Test, Train are called after splits, and hold no class folders"),
        (["train/a", "train/b", "test"], "test holds no class folders"),
    ],
)
def test_folders_that_may_be_splits_or_classes_are_refused(folders: list[str], message: str, tmp_path: Path) -> None:
    tree(tmp_path, dict.fromkeys(folders, 3))
    for read in (image_folder, imagenet):
        with pytest.raises(DlkitError, match=message):
            read(path=tmp_path, size=4)


@pytest.mark.parametrize(
    "names",
    [
        ("my_train", "my_test"), ("X_train", "X_val", "X_test"), ("entrenamiento", "prueba"), ("tr", "te"),
        tuple(f"fold_{number}" for number in range(1, 6)),
    ],
)  # fmt: skip
def test_folders_that_hold_the_same_folders_are_no_classes(names: tuple[str, ...], tmp_path: Path) -> None:
    for name in names:
        tree(tmp_path / name, {"cat": 3, "dog": 3})
    with pytest.raises(DlkitError, match="hold the same folders, cat, dog: are they splits, or classes"):
        image_folder(path=str(tmp_path), size=4)
    save(tmp_path / names[0] / "a cat.png")  # with images of their own they are classes
    assert image_folder(path=str(tmp_path), size=4).classes == tuple(sorted(names))


def test_domains_that_hold_the_same_classes_are_no_classes(tmp_path: Path) -> None:
    for name in ("art", "cartoon", "photo", "sketch"):
        tree(tmp_path / "pacs" / name, dict.fromkeys("abcdefg", 1))
    with pytest.raises(DlkitError, match="photo and 1 more hold the same folders, a, b, c, d: are they"):
        image_folder(path=tmp_path / "pacs", size=4)
    for name in "01234":
        tree(tmp_path / "digits" / name, {"left": 1, "right": 1})
    assert image_folder(path=tmp_path / "digits", size=4).classes == tuple("01234")


def test_splits_inside_of_classes_are_refused(tmp_path: Path) -> None:
    for name in ("bus", "cat", "dog", "emu"):
        tree(tmp_path / name, {"train": 3, "test": 1})
    for read in (image_folder, imagenet):
        with pytest.raises(DlkitError, match="bus is no split, and holds splits: test, train"):
            read(path=tmp_path, size=4)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    assert image_folder(path=str(tree(tmp_path, {"bus": 2, "train": 2})), size=4).classes == ("bus", "train")
    assert image_folder(path=str(tree(tmp_path / "more", {"plane": 2, "test": 2})), size=4).classes == ("plane", "test")


def test_hidden_and_other_files_are_left_out_and_counted_and_folders_are_searched(tmp_path: Path) -> None:
    tree(tmp_path, {"a": 2, "b": 2, ".cache": 1})
    save(tmp_path / "a" / "deep" / "er" / "x.JPG")
    save(tmp_path / "a" / ".hidden" / "x.png")
    (tmp_path / "a" / "._x.png").write_bytes(b"no image")
    (tmp_path / "a" / "Thumbs.db").write_bytes(b"no image")
    (tmp_path / "readme.txt").write_text("no image")
    (tmp_path / "a" / "Photo.HEIC").write_bytes(b"no image that Pillow reads")
    (tmp_path / "LICENSE").write_text("no image")
    save(tmp_path / "stray.png")
    data = image_folder(path=str(tmp_path), size=4, test=0.0)
    assert data.classes == ("a", "b")
    assert data.sources["rows"] == {"train": 5}
    left_out = {"hidden": 2, ".db": 1, ".heic": 1, ".txt": 1, "no suffix": 1, "images outside of class folders": 1}
    assert data.sources["left_out"] == left_out
    line = f"{tmp_path}: 2 classes (a, b), 5 files (.png 4, .jpg 1); left out: 7 files (hidden 2, "
    assert data.sources["taken"].startswith(line)
    assert imagenet(path=tmp_path, size=4).sources["taken"].startswith(line)


def test_trees_that_are_wrong(tmp_path: Path) -> None:
    def fails(message: str, path: Path = tmp_path) -> None:
        with pytest.raises(DlkitError, match=message) as caught:
            image_folder(path=str(path))
        assert "\n" not in caught.value.message

    fails("no such folder", tmp_path / "none")
    fails("no class folders")
    (tmp_path / "file").write_text("x")
    fails("not a folder", tmp_path / "file")
    save(tmp_path / "a" / "0.png")
    save(tmp_path / "a" / "1.png")
    fails("only one class folder, 'a'")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "notes.txt").write_text("x")
    fails(r"class folder without images: .*b$")
    save(tmp_path / "b" / "0.png")
    fails("class 'b' has too few rows")


def test_splits_one_level_down_are_pointed_at(tmp_path: Path) -> None:
    for split in ("train", "val"):
        tree(tmp_path / "images" / split, {"a": 2, "b": 2})
    with pytest.raises(DlkitError, match="only one class folder, 'images'") as caught:
        image_folder(path=str(tmp_path))
    assert caught.value.hint == f"its splits lie one level down: data.path={tmp_path / 'images'}"
    assert image_folder(path=str(tmp_path / "images")).classes == ("a", "b")


def test_a_class_that_only_the_test_folder_has(tmp_path: Path) -> None:
    tree(tmp_path / "train", {"a": 2, "b": 2})
    tree(tmp_path / "test", {"c": 1})
    with pytest.raises(DlkitError, match="the class 'c' is not in train"):
        image_folder(path=str(tmp_path))


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "bmp"])
def test_a_damaged_image_is_named(suffix: str, tmp_path: Path) -> None:
    tree(tmp_path, {"a": 2, "b": 2})
    file = tmp_path / "b" / f"x.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file)
    whole = file.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"no image at all"):
        file.write_bytes(content)
        with pytest.raises(DlkitError, match=f"cannot read the image .*x.{suffix}: .") as caught:
            image_folder(path=str(tmp_path), size=8)
        assert "\n" not in caught.value.message
