"""Pixels of any depth as 8 bits a channel, by the range that the file states. Free of torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

# TIFF tags.
_BITS, _PHOTOMETRIC, _LEAST, _MOST, _FORMAT, _SMALLEST, _LARGEST = 258, 262, 280, 281, 339, 340, 341
_WHITE_IS_ZERO, _UNSIGNED = 0, 1
# Formats other than TIFF whose samples Pillow scales to 16 bits.
_SIXTEEN_BITS = ("PNG", "PPM", "JPEG2000")


def to_eight_bits(image: Image.Image, mode: str) -> Image.Image:
    """A loaded image in a mode of 8 bits a channel, L or RGB, composited onto white where it is transparent.

    Raises:
        ValueError: the range of its samples is unknown.
    """
    if image.mode == "F":
        raise ValueError("floating-point pixels, whose range is unknown")
    _check_samples(image)
    if image.mode.startswith("I"):
        image = _eight_bits(image)
    if image.mode == "LAB":  # Pillow converts it to RGB only
        image = image.convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Samples of more than 8 bits as 8-bit grey: of a power-of-two range the upper 8 bits, as PIL does for RGB."""
    values = np.asarray(image).astype(np.int64)
    low, high = _range(image)
    if values.size and not low <= values.min() <= values.max() <= high:
        raise ValueError(f"numbers of {values.min()} to {values.max()}, where its tags say {low:g} to {high:g}")
    surplus = int(high + 1).bit_length() - 9
    if low == 0 and surplus >= 0 and high + 1 == 256 << surplus:
        grey = values >> surplus
    else:
        grey = np.rint((values - low) * (255 / (high - low)))
    if _tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO:  # PIL heeds it up to 8 bits
        grey = 255 - grey
    if "transparency" in image.info:
        grey = np.where(values == image.info["transparency"], 255, grey)
    return Image.fromarray(grey.astype(np.uint8))


def _range(image: Image.Image) -> tuple[float, float]:
    """The sample values of black and white, as the file states them. Raises ValueError if it does not."""
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
    """Raise ValueError if PIL has converted samples to 8 bits ignoring what the file states."""
    bits = _tag(image, _BITS)
    if bits is None or image.mode.startswith("I"):
        return
    if _tag(image, _FORMAT, _UNSIGNED) != _UNSIGNED:
        raise ValueError(f"signed integers of {bits} bits")
    stated = _stated_range(image)
    if bits > 8 and stated is not None and stated != (0, 2**bits - 1):
        raise ValueError(f"colours of {bits} bits that go from {stated[0]:g} to {stated[1]:g} only")


def _stated_range(image: Image.Image) -> tuple[float, float] | None:
    """The range of sample values stated by a TIFF, over all channels; None if there is none."""
    lowest = 0 if _tag(image, _FORMAT, _UNSIGNED) == _UNSIGNED else np.nan
    for least, most in ((_SMALLEST, _LARGEST), (_LEAST, _MOST)):
        low = np.atleast_1d(_tag(image, least, lowest)).astype(float)
        high = np.atleast_1d(_tag(image, most, np.nan)).astype(float)
        if low.min() < high.max():
            return low.min(), high.max()
    return None


def _tag(image: Image.Image, number: int, default: Any = None) -> Any:
    """A tag of a TIFF. Of bit depths and formats, which have one value per channel, the first."""
    value: Any = getattr(image, "tag_v2", {}).get(number, default)
    return value[0] if isinstance(value, tuple) and number in (_BITS, _FORMAT) else value
