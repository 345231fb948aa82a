"""`dlkit compress` beside xz and zstd: sizes, the model's ideal, throughput and what limits it.

    dlkit train pydoc-gpt --run-dir runs/pydoc-gpt-1
    export DLKIT_RUN=runs/pydoc-gpt-1 DLKIT_FILE=text.txt
    python -m pytest tests/benchmarks/test_compression.py -m benchmark -s

Without DLKIT_FILE the text is the test split of pydoc. Without DLKIT_RUN only the prequential code is measured.
"""

from __future__ import annotations

import cProfile
import io
import lzma
import os
import pstats
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from dlkit.compression import archive, numerics
from dlkit.compression.container import ContainerReader
from dlkit.compression.prequential_codec import PrequentialCodec

pytestmark = pytest.mark.benchmark
RUN, FILE = os.environ.get("DLKIT_RUN"), os.environ.get("DLKIT_FILE")


def text() -> bytes:
    if FILE:
        return Path(FILE).read_bytes()
    from dlkit.data.text.pydoc import pydoc

    return "".join(pydoc().splits["test"].pieces()).encode()


def measured(name: str, make: Any, data: bytes) -> None:
    codec, out, back = make(), io.BytesIO(), io.BytesIO()
    began = time.perf_counter()
    written = archive.compress(io.BytesIO(data), out, codec, lambda n: None)
    between = time.perf_counter()
    archive.decompress(ContainerReader(io.BytesIO(out.getvalue()), "x"), back.write, make(), lambda n: None)
    ended = time.perf_counter()
    assert back.getvalue() == data
    ideal, payload = codec.ideal_bits / 8, codec.payload_bytes
    print(
        f"{name:12} payload {payload:,} (ideal {ideal:,.1f}, {100 * (payload / ideal - 1):.4f} % above), file"
        f" {written.bytes_out:,}, with the model {payload + codec.model_bytes:,}; {codec.streams} streams;"
        f" encode {len(data) / (between - began) / 1e3:.1f}, decode {len(data) / (ended - between) / 1e3:.1f} kB/s"
    )
    assert payload <= ideal * 1.001
    profile = cProfile.Profile()
    profile.runcall(archive.compress, io.BytesIO(data[:10_000]), io.BytesIO(), make(), lambda n: None)
    stream = io.StringIO()
    pstats.Stats(profile, stream=stream).sort_stats("tottime").print_stats(6)
    print("\n".join(line for line in stream.getvalue().splitlines() if line[:10].strip()[:1].isdigit()))


def test_sizes_and_throughput() -> None:
    zstandard: Any = pytest.importorskip("zstandard")
    data = text()
    xz = len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))
    zstd = len(zstandard.ZstdCompressor(level=22).compress(data))
    print(f"\n{len(data):,} bytes; xz -9e {xz:,}; zstd --ultra -22 {zstd:,}; {torch.get_num_threads()} threads")
    measured("prequential", PrequentialCodec, data)
    if RUN is None:
        return
    from dlkit.compression.language_codec import LanguageCodec
    from dlkit.lm.language_model import open_language_model

    reader: Any = open_language_model(RUN, torch.device("cpu"))
    threads = torch.get_num_threads()
    with numerics.reproducible(threads):
        measured("model", lambda: LanguageCodec(reader.model, reader.tokenizer, threads), data)
