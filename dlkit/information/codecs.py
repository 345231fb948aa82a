"""What general compressors make of a stream: gzip -9, bzip2 -9, xz -9e and zstd -19."""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import Any

import zstandard


class Codecs:
    """Compresses a stream with all of them at once and keeps nothing but the sizes."""

    def __init__(self) -> None:
        self._compressors: dict[str, Any] = {
            "gzip": zlib.compressobj(9, zlib.DEFLATED, 31),  # 31: with gzip's header
            "bzip2": bz2.BZ2Compressor(9),
            "xz": lzma.LZMACompressor(preset=9 | lzma.PRESET_EXTREME),
            "zstd": zstandard.ZstdCompressor(level=19).compressobj(),
        }
        self._sizes = dict.fromkeys(self._compressors, 0)

    def update(self, block: bytes) -> None:
        for name, compressor in self._compressors.items():
            self._sizes[name] += len(compressor.compress(block))

    def finish(self) -> dict[str, int]:
        """The size in bytes by codec. Call it once."""
        for name, compressor in self._compressors.items():
            self._sizes[name] += len(compressor.flush())
        return self._sizes
