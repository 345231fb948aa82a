"""Files of images: formats, modes, palettes, orientation and sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from torchvision.transforms import v2

from dlkit.data.images.decoding import SUFFIXES
from dlkit.data.images.image_folder import image_folder
from tests.data.images.written_images import save, tree


def only(file: Path, channels: int = 3, size: int = 4) -> list[list[int]]:
    """The distinct pixels of the one file of class "b", in a tree that is otherwise in order."""
    save(file.parent.parent / "a" / "x.png")
    data = image_folder(path=str(file.parent.parent), size=size, channels=channels, test=0.0)  # pyright: ignore
    return data.splits["train"].inputs[1].flatten(1).unique(dim=1).T.tolist()


# How Pillow writes the kinds of files whose suffix does not tell it, and those that hold one mode alone.
WRITERS: dict[str, dict[str, Any]] = {
    ".dib": {"format": "BMP"},
    ".mpo": {"format": "MPO"},
    **{suffix: {"mode": "L"} for suffix in (".bw", ".pgm")},
    **{suffix: {"mode": "1"} for suffix in (".pbm", ".xbm")},
}

Image.init()
# by Pillow, which reads them; QOI before Pillow 12
UNWRITABLE = {suffix for suffix in SUFFIXES if Image.EXTENSION.get(suffix) not in Image.SAVE}


@pytest.mark.parametrize("suffix", [suffix for suffix in SUFFIXES if suffix not in UNWRITABLE])
def test_images_of_every_suffix_that_pillow_reads(suffix: str, tmp_path: Path) -> None:
    options = dict(WRITERS.get(suffix, {}))
    image = Image.new("RGB", (16, 16), (200, 100, 50)).convert(options.pop("mode", "RGB"))
    tree(tmp_path, {"a": 1, "b": 1})
    image.save(tmp_path / "b" / f"photo{suffix.upper()}", **options)
    data = image_folder(path=tmp_path, size=4, test=0.0)
    assert data.sources["rows"] == {"train": 3}
    assert f"{suffix} 1" in data.sources["taken"] or suffix == ".png"


def test_every_suffix_is_one_of_pillows() -> None:
    assert set(SUFFIXES) <= Image.registered_extensions().keys()


@pytest.mark.parametrize(
    "suffix", ["png", "bmp", "webp", "gif", "jpg", "tif", "ppm", "tga", "qoi", "jfif", "avif", "jp2"]
)
def test_formats(suffix: str, tmp_path: Path) -> None:
    if f".{suffix}" in UNWRITABLE:
        pytest.skip(f"Pillow cannot write .{suffix}")
    file = tmp_path / "b" / f"x.{suffix}"
    save(
        file,
        **({"lossless": True} if suffix == "webp" else {"quality": 100} if suffix in ("jpg", "jfif", "avif") else {}),
    )
    assert np.abs(np.array(only(file)) - [200, 100, 50]).max() <= (3 if suffix in ("jpg", "jfif", "avif") else 0)


@pytest.mark.parametrize(
    ("mode", "colour", "suffix", "rgb", "grey"),
    [
        ("L", 70, "png", [70, 70, 70], [70]),
        ("1", 1, "png", [255, 255, 255], [255]),
        ("LA", (70, 255), "png", [70, 70, 70], [70]),
        ("RGBA", (200, 100, 50, 255), "png", [200, 100, 50], [124]),
        ("RGBA", (200, 100, 50, 0), "png", [255, 255, 255], [255]),
        ("RGBA", (0, 0, 0, 127), "png", [128, 128, 128], [128]),
        ("I;16", 128 * 256, "png", [128, 128, 128], [128]),
        ("CMYK", (0, 255, 255, 0), "tif", [255, 0, 0], [76]),
        ("LAB", (127, 128, 128), "tif", [118, 118, 118], [118]),  # L* = 100 * 127 / 255
    ],
)
def test_modes(mode: str, colour: object, suffix: str, rgb: list[int], grey: list[int], tmp_path: Path) -> None:
    file = tmp_path / "b" / f"x.{suffix}"
    save(file, colour, mode)
    assert only(file) == [rgb]
    assert only(file, channels=1) == [grey]


def test_palettes_and_their_transparency(tmp_path: Path) -> None:
    file = tmp_path / "b" / "x.png"
    file.parent.mkdir()
    image = Image.new("P", (6, 6), 1)
    image.putpalette([9, 9, 9, 40, 50, 60])
    image.save(file)
    assert only(file) == [[40, 50, 60]]
    image.save(file, transparency=1)
    assert only(file) == [[255, 255, 255]]
    image.save(file, transparency=bytes([255, 0]))
    assert only(file) == [[255, 255, 255]]


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    file = tmp_path / "b" / "x.gif"
    save(file, save_all=True, append_images=[Image.new("RGB", (12, 8), (1, 2, 3))])
    assert only(file) == [[200, 100, 50]]


def test_orientation_is_applied(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    pixels[:4] = 255  # the upper half is white
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: up becomes right
    file = tmp_path / "b" / "x.png"
    save(tmp_path / "a" / "x.png")
    file.parent.mkdir()
    Image.fromarray(pixels).save(file, exif=exif)
    image = image_folder(path=str(tmp_path), size=8, channels=1, test=0.0).splits["train"].inputs[1, 0]
    assert image[:, 4:].min() == 255
    assert image[:, :4].max() == 0


@pytest.mark.parametrize("size", [(64, 64), (96, 64), (48, 96)])
def test_resizing_is_torchvisions(size: tuple[int, int], tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    smooth = Image.fromarray(generator.integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize(size)
    (tmp_path / "b").mkdir()
    smooth.save(tmp_path / "b" / "x.png")
    save(tmp_path / "a" / "x.png")
    ours = image_folder(path=str(tmp_path), size=16, test=0.0).splits["train"].inputs[1]
    reference = v2.Compose([v2.PILToTensor(), v2.Resize(16, antialias=True), v2.CenterCrop(16)])(smooth)
    difference = (ours.int() - reference.int()).abs().float()
    assert difference.mean() < 1
    assert difference.max() < 12  # a crop before resizing cannot see beyond its edge


def test_a_large_jpeg_is_close_to_its_full_decoding(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    picture = Image.fromarray(generator.integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize((900, 700))
    for name in "ab":
        (tmp_path / name).mkdir()
    picture.save(tmp_path / "a" / "x.png")
    picture.save(tmp_path / "b" / "x.jpg", quality=95)
    png, jpeg = image_folder(path=str(tmp_path), size=32, test=0.0).splits["train"].inputs.int()
    assert (png - jpeg).abs().float().mean() < 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_of_a_large_jpeg(orientation: int, tmp_path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((203, 150))
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in "ab":
        (tmp_path / name).mkdir()
    picture.save(tmp_path / "a" / "x.jpg", quality=95, exif=exif)
    ImageOps.exif_transpose(Image.open(tmp_path / "a" / "x.jpg")).save(tmp_path / "b" / "x.png")
    turned, upright = image_folder(path=str(tmp_path), size=16, test=0.0).splits["train"].inputs.int()
    assert (turned - upright).abs().float().mean() < 2
