"""The size of a stream under general-purpose compressors at their best: gzip -9, bzip2 -9, xz -9e, zstd -22 --ultra."""

from __future__ import annotations

import bz2
import functools
import lzma
import zlib
from typing import Any

COMPRESSOR_OPTIONS = {"gzip": "-9", "bzip2": "-9", "xz": "-9e", "zstd": "-22 --ultra"}
_SHORT = 1 << 23  # bytes of a short stream, at most


class CompressorSizes:
    """Compresses a stream with all compressors at once, and keeps only the sizes."""

    def __init__(self) -> None:
        self._compressors: dict[str, Any] = {
            "gzip": zlib.compressobj(9, zlib.DEFLATED, 31),  # 31: with gzip's header
            "bzip2": bz2.BZ2Compressor(9),
            "xz": lzma.LZMACompressor(preset=9 | lzma.PRESET_EXTREME),
            "zstd": _Zstandard(),
        }
        self._sizes = dict.fromkeys(self._compressors, 0)

    def update(self, block: bytes) -> None:
        for name, compressor in self._compressors.items():
            self._sizes[name] += len(compressor.compress(block))

    def finish(self) -> dict[str, int]:
        """The size in bytes by compressor. To be called once, at the end of the stream."""
        for name, compressor in self._compressors.items():
            self._sizes[name] += len(compressor.flush())
        return self._sizes


class _Zstandard:
    """zstd at level 22, which takes 800 MB for a stream of unknown length, but little for one known to be short."""

    def __init__(self) -> None:
        import zstandard  # only needed here, so not imported at the top

        self._make = functools.partial(zstandard.ZstdCompressor, level=22)
        self._begun, self._stream = bytearray(), None

    def compress(self, block: bytes) -> bytes:
        if self._stream is not None:
            return self._stream.compress(block)
        self._begun += block
        if len(self._begun) <= _SHORT:
            return b""
        self._stream = self._make().compressobj()
        return self._stream.compress(bytes(self._begun))

    def flush(self) -> bytes:
        if self._stream is not None:
            return self._stream.flush()
        return self._make().compress(bytes(self._begun))
