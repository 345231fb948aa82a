"""Pixels of files of every kind: upright whoever reads them, and in the range that their file says they have."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from dlkit.data.images.decoding import DamagedImageError, decode_image
from dlkit.data.images.image_folder import image_folder, load_all_images
from dlkit.data.images.imagenet import imagenet

# Four quarters of other colours: no two of the eight orientations look alike.
PICTURE = np.zeros((16, 24, 3), np.uint8)
PICTURE[:8, :12], PICTURE[8:, :12], PICTURE[:8, 12:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
# EXIF 2.3, tag 0x0112: where row 0 and column 0 are, hence what makes the picture upright.
UPRIGHT = {
    1: PICTURE,
    2: PICTURE[:, ::-1],
    3: PICTURE[::-1, ::-1],
    4: PICTURE[::-1],
    5: PICTURE.swapaxes(0, 1),
    6: PICTURE[::-1].swapaxes(0, 1),
    7: PICTURE[::-1, ::-1].swapaxes(0, 1),
    8: PICTURE[:, ::-1].swapaxes(0, 1),
}
KINDS: dict[str, dict[str, Any]] = {
    "tif": {},
    "lzw.tif": {"compression": "tiff_lzw"},
    "jpg": {"quality": 100, "subsampling": 0},
    "mpo": {"quality": 100, "subsampling": 0},
    "png": {},
    "webp": {"lossless": True},
    "avif": {"quality": 100, "subsampling": "4:4:4"},
}


def oriented(folder: Path, kind: str, orientation: int) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = folder / f"{orientation}.{kind}"
    Image.fromarray(PICTURE).save(file, exif=exif, **KINDS[kind])
    return file


def apart(found: Any, right: NDArray[np.uint8]) -> int:
    """The largest difference, 255 where the shapes differ."""
    pixels = np.asarray(found)
    return int(np.abs(pixels.astype(int) - right).max()) if pixels.shape == right.shape else 255


def png(pixels: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_every_reader_turns_an_image_once(kind: str, tmp_path: Path) -> None:
    tree, shards = tmp_path / "tree", tmp_path / "shards"
    for name in ("train/a", "train/b", "val/a"):
        (tree / name).mkdir(parents=True)
    shards.mkdir()
    (tree / "train" / "b" / "x.png").write_bytes(png(PICTURE))
    (tree / "val" / "a" / "x.png").write_bytes(png(PICTURE))
    files = [oriented(tree / "train" / "a", kind, orientation) for orientation in UPRIGHT]
    rows = [{"image": {"bytes": file.read_bytes(), "path": None}, "label": i % 2} for i, file in enumerate(files)]
    for split in ("train", "validation"):
        pq.write_table(pa.Table.from_pylist(rows), shards / f"{split}-0.parquet")
    streamed: Any = imagenet(path=tree, size=16).splits["train"].inputs
    sharded: Any = imagenet(path=shards, size=16).splits["train"].inputs
    cached: Any = imagenet(path=tree, size=16, cache=tmp_path / "cache").splits["train"].inputs
    square = image_folder(path=tree, size=16, test=0.0).splits["train"].inputs
    outside, _ = load_all_images(tree / "train" / "a", 16, 3)
    for row, right in enumerate(UPRIGHT.values()):
        assert apart(streamed.image(row), right) < 30
        assert apart(sharded.image(row), right) < 30
        centre = right[4:20] if len(right) > 16 else right[:, 4:20]
        assert apart(square[row].permute(1, 2, 0), centre) < 30
        assert apart(outside[row].permute(1, 2, 0), centre) < 30
        corners = np.asarray(cached.image(row))[::255, ::255]
        assert apart(corners, centre[::15, ::15]) < 30


def test_the_centre_of_a_large_sideways_jpeg_is_its_centre(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    large = Image.fromarray(PICTURE).resize((601, 401), Image.Resampling.NEAREST)  # decoded at a half: 300.5 wide
    for name, picture in (("a", large), ("b", large.transpose(Image.Transpose.ROTATE_270))):
        (tmp_path / name).mkdir()
        picture.save(tmp_path / name / "x.jpg", quality=95, exif=exif if name == "a" else Image.Exif())
    turned, upright = image_folder(path=tmp_path, size=32, test=0.0).splits["train"].inputs.int()
    assert (turned - upright).abs().float().mean() < 2


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_exif_that_cannot_be_read_leaves_the_pixels(tmp_path: Path) -> None:
    file = tmp_path / "x.jpg"
    for exif in (b"no TIFF at all", b"II*\0\x08\0\0\0\x05\0", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02"):
        Image.fromarray(PICTURE).save(file, exif=b"Exif\0\0" + exif, quality=100, subsampling=0)
        assert apart(decode_image(file, "x"), PICTURE) < 30


# ---------------------------------------------------------------------- numbers


def tiff(values: NDArray[Any], *, bits: int, kind: int = 1, photometric: int = 1, tags: dict[int, Any] | None = None):
    """A TIFF file of one strip of grey numbers, written from the specification (TIFF 6.0), little-endian."""
    height, width = values.shape
    data = values.astype(f"<{'iu'[kind == 1]}{-(-bits // 8)}").tobytes()
    if bits == 12:  # two numbers in three bytes
        pairs = values.reshape(-1, 2).astype(np.uint32)
        data = b"".join(int((a << 12) | b).to_bytes(3, "big") for a, b in pairs)
    # tag -> (type, numbers): 3 is a short, 4 a long, 11 a float
    entries: dict[int, tuple[int, list[Any]]] = {
        256: (4, [width]), 257: (4, [height]), 258: (3, [bits]), 259: (3, [1]), 262: (3, [photometric]), 273: (4, [8]),
        277: (3, [1]), 278: (4, [height]), 279: (4, [len(data)]), 339: (3, [kind]),
    }  # fmt: skip
    for tag, value in (tags or {}).items():
        entries[tag] = (3 if tag < 300 else 11 if isinstance(value, float) else 4, [value])
    directory = struct.pack("<H", len(entries))
    for tag, (code, numbers) in sorted(entries.items()):
        form = {3: "<HH", 4: "<I", 11: "<f"}[code]
        directory += struct.pack("<HHI", tag, code, 1)
        directory += struct.pack(form, *numbers, *([0] if code == 3 else []))
    data += b"\0" * (len(data) % 2)
    return struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + directory + struct.pack("<I", 0)


def portable(values: NDArray[Any], most: int, plain: bool = False) -> bytes:
    """A grey map (PGM) of numbers 0..most."""
    head = f"P{2 if plain else 5}\n{values.shape[1]} {values.shape[0]}\n{most}\n".encode()
    text = " ".join(map(str, values.ravel())).encode()
    return head + (text if plain else values.astype(">u2" if most > 255 else "u1").tobytes())


def deep_png(values: NDArray[Any], transparent: int | None = None) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values.astype(np.uint16)).save(
        stream, "PNG", **({} if transparent is None else {"transparency": transparent})
    )
    return stream.getvalue()


STEPS = np.array([[0, 1, 2, 3], [4, 5, 6, 7]])  # sevenths from black to white


def seventh(most: int) -> NDArray[np.int64]:
    return STEPS * most // 7


@pytest.mark.parametrize(
    "data",
    [
        deep_png(seventh(65535)),
        portable(seventh(65535), 65535),
        portable(seventh(1000), 1000),
        portable(seventh(1000), 1000, plain=True),
        portable(seventh(15), 15),
        tiff(seventh(65535), bits=16),
        tiff(seventh(4095), bits=12),
        tiff(seventh(255), bits=8),
        tiff(65535 - seventh(65535), bits=16, photometric=0),
        tiff(255 - seventh(255), bits=8, photometric=0),
        tiff(seventh(4095), bits=16, tags={281: 4095}),
        tiff(seventh(255), bits=32, tags={340: 0, 341: 255}),
        tiff(seventh(10**6), bits=32, kind=2, tags={340: 0.0, 341: 1e6}),
        tiff(seventh(2000) - 1000, bits=16, kind=2, tags={340: -1000.0, 341: 1000.0}),
    ],
    ids=lambda _: "file",
)
def test_integers_have_the_range_that_their_file_says(data: bytes) -> None:
    grey = np.asarray(decode_image(data, "x"))
    assert (grey[..., 0] == grey[..., 2]).all()
    assert np.abs(grey[..., 0] - STEPS * 255 / 7).max() <= (15 if data.startswith(b"P5\n4 2\n15") else 2)


def test_formats_of_more_than_8_bits_that_pillow_writes() -> None:
    deep = Image.fromarray(seventh(65535).astype(np.uint16))
    for kind, options in (("JPEG2000", {}), ("TIFF", {"compression": "tiff_lzw"}), ("TIFF", {"big_tiff": True})):
        stream = io.BytesIO()
        deep.save(stream, kind, **options)
        assert np.abs(np.asarray(decode_image(stream.getvalue(), "x"))[..., 0] - STEPS * 255 / 7).max() <= 2


def test_a_transparent_grey_of_16_bits_is_white() -> None:
    values = seventh(65535)
    grey = np.asarray(decode_image(deep_png(values, transparent=int(values[0, 2])), "x"))[..., 0]
    assert grey[0, 2] == 255 and abs(int(grey[0, 1]) - 36) < 2


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tiff(seventh(255), bits=32), "integers of 32 bits, whose range is unknown"),
        (tiff(seventh(10**6), bits=32, kind=2), "signed integers of 32 bits, whose range is unknown"),
        (tiff(seventh(2000) - 1000, bits=16, kind=2), "signed integers of 16 bits, whose range is unknown"),
        (tiff(seventh(100) - 50, bits=8, kind=2), "signed integers of 8 bits"),
        (tiff(seventh(300), bits=32, tags={340: 0, 341: 255}), "numbers of 0 to 300, where its tags say 0 to 255"),
    ],
)
def test_integers_of_unknown_range_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(DamagedImageError, match=f"^x: {reason}"):
        decode_image(data, "x")
