"""How small general compressors and a prequential code make a stream, measured while it is read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dlkit.app.text_stream import stream_blocks
from dlkit.progress import stage

_IN_MEMORY = 1 << 26  # bytes of standard input that are kept before they go to a file


class CompressedSizes:
    """Measures a stream on its way to something else.

    Args:
        file: where it comes from, None for standard input, which is then kept for a second reading if need be.
        codecs: whether to compress it with gzip, bzip2, xz and zstd.
        prequential: whether to measure its prequential code.
    """

    def __init__(self, file: Path | None, codecs: bool, prequential: bool) -> None:
        from dlkit.information.compressors import CompressorSizes

        self.file, self.prequential = file, prequential
        self.bytes = 0
        self._codecs = CompressorSizes() if codecs else None
        self._kept: Any = tempfile.SpooledTemporaryFile(_IN_MEMORY) if prequential and file is None else None  # noqa: SIM115

    def pass_on(self, stream: Iterator[bytes]) -> Iterator[bytes]:
        """The same blocks again."""
        for block in stream:
            self.bytes += len(block)
            if self._codecs is not None:
                self._codecs.update(block)
            if self._kept is not None:
                self._kept.write(block)
            yield block

    def record(self) -> dict[str, Any]:
        """The sizes in bytes, when the stream has ended."""
        record: dict[str, Any] = {}
        if self.prequential:
            bits = self._prequential_bits()
            record["prequential_bytes"] = -int(-bits // 8)
            record["prequential_bits_per_byte"] = bits / max(self.bytes, 1)
        if self._codecs is not None:
            record["codecs"] = self._codecs.finish()
        return record

    def _prequential_bits(self) -> float:
        from dlkit.compression.prequential_length import code_length
        from dlkit.information.streams import file_blocks

        if self._kept is not None:
            self._kept.seek(0)
        source = stream_blocks(self.file, reports=False) if self._kept is None else file_blocks(self._kept)
        with stage("learning", self.bytes) as advance:
            return code_length(source, advance=advance).bits
