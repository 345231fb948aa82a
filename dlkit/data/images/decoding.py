"""Decoding of images: 8 bits a channel, upright, on white. Free of torch.

Folders, streams, Parquet shards, tar archives and downloads all decode here, so that all of them treat orientation,
transparency and bit depth alike.
"""

from __future__ import annotations

import io
import re
import stat
import warnings
from pathlib import Path

from PIL import ExifTags, Image

from dlkit.data.images.sample_depth import to_eight_bits

# Suffixes, in lower case, of the still images that Pillow decodes without external programs, by format.
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

# The transposition for each EXIF Orientation, 2 to 8 (TIFF 6.0).
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Pillow warns for each such file, whose pixels are intact all the same.
warnings.filterwarnings("ignore", message="Corrupt EXIF data", category=UserWarning)

_ADDRESS = re.compile(r" <_io\.BytesIO object at 0x[0-9a-fA-F]+>")  # that PIL says of bytes in memory

Size = tuple[float, float]


class DamagedImageError(Exception):
    """An image cannot be decoded; the message is its name and the reason."""


def decode_image(data: bytes | Path, name: str) -> Image.Image:
    """The RGB image of a file or of bytes. Raises DamagedImageError."""
    try:
        return open_upright(data, "RGB")
    except Exception as error:
        raise DamagedImageError(f"{name}: {decoding_failure(error)}") from error


def open_upright(data: bytes | Path, mode: str) -> Image.Image:
    """The image of a file or of bytes in `mode`, RGB or L, upright by its EXIF; of an animation, the first frame.

    Raises:
        Exception: of a dozen types, if the file is damaged, missing, or has samples of unknown range.
    """
    whole, _, orientation = _opened(data, mode)
    return _transposed(whole, orientation)


def open_square(data: bytes | Path, mode: str, size: int) -> Image.Image:
    """The same, (size, size): the shorter side resized (antialiased), the centre cropped. Raises as `open_upright`."""
    whole, (width, height), orientation = _opened(data, mode, near=2 * size)
    # Resizing the shorter side and cropping the centre, in one step: the centre square is resized.
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    return _transposed(whole.resize((size, size), Image.Resampling.BILINEAR, box=box), orientation)


def _opened(data: bytes | Path, mode: str, near: int | None = None) -> tuple[Image.Image, Size, int | None]:
    """An image as it is stored, its width and height, and its orientation.

    With `near`, a large JPEG is decoded at 1/2, 1/4 or 1/8 of its size, where width and height may be fractional.
    """
    with Image.open(require_regular(data) if isinstance(data, Path) else io.BytesIO(data)) as image:
        reduced = image.draft(None, (near, near)) if near else None
        image.load()
        # only now: loading a TIFF already transposes it, and a PNG may have its EXIF after the pixels
        return to_eight_bits(image, mode), reduced[1][2:] if reduced else image.size, _orientation(image)


def _transposed(image: Image.Image, orientation: int | None) -> Image.Image:
    transposition = _TRANSPOSITIONS.get(orientation or 1)
    return image if transposition is None else image.transpose(transposition)


def require_regular(file: Path) -> Path:
    """The file itself. Raises OSError if it is not a regular file: opening a pipe would block."""
    if not stat.S_ISREG(file.stat().st_mode):
        raise OSError("not a regular file")
    return file


def decoding_failure(error: Exception) -> str:
    """An error on one line, the same each time. PIL raises a dozen types, SyntaxError and struct.error among them."""
    text = " ".join((getattr(error, "strerror", None) or str(error) or type(error).__name__).split())
    return _ADDRESS.sub("", text)


def _orientation(image: Image.Image) -> int | None:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
        return value if isinstance(value, int) else None
    except Exception:  # damaged EXIF does not matter for the pixels
        return None
