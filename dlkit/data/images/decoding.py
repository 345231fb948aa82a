"""The one way in which an encoded image becomes pixels: 8 bits a channel, upright, on white. No torch.

Folders, streams, Parquet shards, tar archives and downloads all decode here, so that none of them turns an image that
another leaves as it is.
"""

from __future__ import annotations

import io
import stat
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

# The suffixes of still images, in lower case, that Pillow decodes without other programs, by the kind of file.
_KINDS = {
    "AVIF": (".avif", ".avifs"),
    "BMP": (".bmp", ".dib"),
    "DDS": (".dds",),
    "GIF": (".gif",),
    "ICO": (".cur", ".icns", ".ico"),
    "JPEG": (".jfif", ".jpe", ".jpeg", ".jpg", ".mpo"),
    "JPEG 2000": (".j2c", ".j2k", ".jp2", ".jpc", ".jpf", ".jpx"),
    "PCX": (".dcx", ".pcx"),
    "PNG": (".apng", ".png"),
    "PPM": (".pbm", ".pgm", ".pnm", ".ppm"),
    "PSD": (".psd",),
    "QOI": (".qoi",),
    "SGI": (".bw", ".rgb", ".rgba", ".sgi"),
    "Sun": (".ras",),
    "TGA": (".icb", ".tga", ".vda", ".vst"),
    "TIFF": (".tif", ".tiff"),
    "WebP": (".webp",),
    "X11": (".xbm", ".xpm"),
}
SUFFIXES = tuple(suffix for suffixes in _KINDS.values() for suffix in suffixes)

# TIFF 6.0: what an Orientation of 2 to 8 asks for.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Tags of TIFF.
_BITS, _PHOTOMETRIC, _LEAST, _MOST, _FORMAT, _SMALLEST, _LARGEST = 258, 262, 280, 281, 339, 340, 341
_WHITE_IS_ZERO, _UNSIGNED = 0, 1
# Formats other than TIFF of which Pillow gives numbers of 16 bits, from whatever they had.
_SIXTEEN_BITS = ("PNG", "PPM", "JPEG2000")

# Pillow says so of each such file: its pixels are whole all the same.
warnings.filterwarnings("ignore", message="Corrupt EXIF data", category=UserWarning)

Size = tuple[float, float]


class DamagedImageError(Exception):
    """An image that cannot be decoded: its name, and why."""


def decoded(data: bytes | Path, name: str) -> Image.Image:
    """An RGB image of a file or its bytes. Raises DamagedImageError."""
    try:
        return upright(data, "RGB")
    except Exception as error:
        raise DamagedImageError(f"{name}: {why(error)}") from error


def upright(data: bytes | Path, mode: str) -> Image.Image:
    """The image of a file or its bytes in a `mode`, RGB or L, turned as it says; of an animation the first frame.

    Raises:
        Exception: of a dozen kinds, where the file is damaged, none, or holds numbers whose range is unknown.
    """
    whole, _, orientation = _opened(data, mode)
    return _turned(whole, orientation)


def square(data: bytes | Path, mode: str, size: int) -> Image.Image:
    """The same, (size, size): the shorter side resized to it (antialiased), the centre cropped. Raises as `upright`."""
    whole, (width, height), orientation = _opened(data, mode, near=2 * size)
    # Resizing the shorter side and cropping the centre, in one step: the centre square is resized.
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    return _turned(whole.resize((size, size), Image.Resampling.BILINEAR, box=box), orientation)


def _opened(data: bytes | Path, mode: str, near: int | None = None) -> tuple[Image.Image, Size, int | None]:
    """An image as it is stored, its width and height, its orientation.

    With `near`, a large JPEG is decoded at 1/2, 1/4 or 1/8 of its size, and then ends at a fraction of a pixel.
    """
    with Image.open(regular(data) if isinstance(data, Path) else io.BytesIO(data)) as image:
        reduced = image.draft(None, (near, near)) if near else None
        image.load()
        # asked only now: Pillow turns a TIFF itself, as it loads it, and PNG may have its EXIF behind the pixels
        return flat(image, mode), reduced[1][2:] if reduced else image.size, _orientation(image)


def _turned(image: Image.Image, orientation: int | None) -> Image.Image:
    turn = _TURNS.get(orientation or 1)
    return image if turn is None else image.transpose(turn)


def regular(file: Path) -> Path:
    """The file itself. Raises OSError if it is none: a pipe would be waited for."""
    if not stat.S_ISREG(file.stat().st_mode):
        raise OSError("not a regular file")
    return file


def why(error: Exception) -> str:
    """The reason in one line: PIL raises a dozen kinds for a damaged file, SyntaxError and struct.error among them."""
    return " ".join((getattr(error, "strerror", None) or str(error) or type(error).__name__).split())


def _orientation(image: Image.Image) -> int | None:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
        return value if isinstance(value, int) else None
    except Exception:  # EXIF that cannot be read says nothing of the pixels
        return None


# ---------------------------------------------------------------------- numbers


def flat(image: Image.Image, mode: str) -> Image.Image:
    """A loaded image in a mode of 8 bits a channel, L or RGB; transparent pixels are laid on white.

    Raises:
        ValueError: its numbers have no known range.
    """
    if image.mode == "F":
        raise ValueError("floating-point pixels, whose range is unknown")
    _check_samples(image)
    if image.mode.startswith("I"):
        image = _eight_bits(image)
    if image.mode == "LAB":  # which Pillow turns into RGB alone
        image = image.convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Integers of more than 8 bits as grey of 8, (H, W): of whole bits the upper 8, as PIL does for colour."""
    values = np.asarray(image).astype(np.int64)
    low, high = _range(image)
    if values.size and not low <= values.min() <= values.max() <= high:
        raise ValueError(f"numbers of {values.min()} to {values.max()}, where its tags say {low:g} to {high:g}")
    surplus = int(high + 1).bit_length() - 9
    if low == 0 and surplus >= 0 and high + 1 == 256 << surplus:
        grey = values >> surplus
    else:
        grey = np.rint((values - low) * (255 / (high - low)))
    if _tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO:  # which PIL heeds up to 8 bits
        grey = 255 - grey
    if "transparency" in image.info:
        grey = np.where(values == image.info["transparency"], 255, grey)
    return Image.fromarray(grey.astype(np.uint8))


def _range(image: Image.Image) -> tuple[float, float]:
    """The numbers that stand for black and white, by what the file says. Raises ValueError where it does not."""
    if image.format in _SIXTEEN_BITS:
        return 0, 65535
    stated = _stated_range(image)
    if stated is not None:
        return stated
    bits, signed = _tag(image, _BITS), _tag(image, _FORMAT, _UNSIGNED) != _UNSIGNED
    if bits is None or bits > 16 or signed:
        kind = f"{'signed ' if signed else ''}integers of {bits or 'so many'} bits"
        raise ValueError(f"{kind}, whose range is unknown: no SMinSampleValue and SMaxSampleValue say it")
    return 0, 2**bits - 1


def _check_samples(image: Image.Image) -> None:
    """Raise ValueError where PIL has made 8 bits of samples in a way that ignores what their file says."""
    bits = _tag(image, _BITS)
    if bits is None or image.mode.startswith("I"):
        return
    if _tag(image, _FORMAT, _UNSIGNED) != _UNSIGNED:
        raise ValueError(f"signed integers of {bits} bits")
    stated = _stated_range(image)
    if bits > 8 and stated is not None and stated != (0, 2**bits - 1):
        raise ValueError(f"colours of {bits} bits that go from {stated[0]:g} to {stated[1]:g} only")


def _stated_range(image: Image.Image) -> tuple[float, float] | None:
    """The least and the largest number that a TIFF says it may have; of channels, of all of them."""
    lowest = 0 if _tag(image, _FORMAT, _UNSIGNED) == _UNSIGNED else np.nan
    for least, most in ((_SMALLEST, _LARGEST), (_LEAST, _MOST)):
        low = np.atleast_1d(_tag(image, least, lowest)).astype(float)
        high = np.atleast_1d(_tag(image, most, np.nan)).astype(float)
        if low.min() < high.max():
            return low.min(), high.max()
    return None


def _tag(image: Image.Image, number: int, default: Any = None) -> Any:
    """A tag of a TIFF; of one for each channel, the first, but for numbers of a range."""
    value: Any = getattr(image, "tag_v2", {}).get(number, default)
    return value[0] if isinstance(value, tuple) and number in (_BITS, _FORMAT) else value
