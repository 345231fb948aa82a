"""Statistics of streams against naive counts and `ent`, for any division into blocks."""

from __future__ import annotations

import io
import math
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dlkit.errors import RequestError
from dlkit.information import byte_counts, byte_statistics, ngram_counts, streams
from dlkit.information.byte_counts import ByteCounts, TrigramCounts
from dlkit.information.compressors import CompressorSizes
from dlkit.information.ngram_counts import NgramCounts

TEXT = Path(math.__doc__ and __file__).read_bytes()


def conditional_entropy(symbols: list[object], order: int) -> float:
    """H_k in bits, by naive counting."""
    ngrams = [tuple(symbols[i : i + order + 1]) for i in range(len(symbols) - order)]
    joint, contexts = Counter(ngrams), Counter(sequence[:-1] for sequence in ngrams)
    return sum(c / len(ngrams) * math.log2(contexts[s[:-1]] / c) for s, c in joint.items())


def in_blocks(data: bytes, sizes: list[int]) -> list[bytes]:
    blocks, start = list[bytes](), 0
    for size in sizes:
        blocks.append(data[start : start + size])
        start += size
    return [*blocks, data[start:]]


@pytest.mark.parametrize("order", [0, 1, 3, 5, 9])
@given(data=st.binary(max_size=60) | st.text("ab", max_size=60).map(str.encode), sizes=st.lists(st.integers(0, 9)))
def test_bytes_whatever_the_blocks(order: int, data: bytes, sizes: list[int]) -> None:
    check_bytes(order, data, sizes)


@settings(deadline=None, max_examples=10)  # each empties a large table
@given(data=st.binary(max_size=60) | st.text("ab", max_size=60).map(str.encode), sizes=st.lists(st.integers(0, 9)))
def test_three_bytes_whatever_the_blocks(data: bytes, sizes: list[int]) -> None:
    check_bytes(2, data, sizes)


def check_bytes(order: int, data: bytes, sizes: list[int]) -> None:
    counter: Any = streams.make_counter("bytes", order)
    for block in in_blocks(data, sizes):
        counter.update(block)
    assert counter.n == len(data)
    assert counter.counts().tolist() == [data.count(byte) for byte in range(256)]
    for found in counter.conditional_entropies():
        if len(data) > found.order:
            assert found.entropy == pytest.approx(conditional_entropy(list(data), found.order), abs=1e-9)
            assert found.contexts == len({data[i : i + found.order] for i in range(len(data) - found.order)})
        else:
            assert (found.entropy, found.contexts) == (0.0, 0)


@pytest.mark.parametrize("order", [0, 1, 2, 3, 9])
@given(text=st.text("abé\n \U0001f600", max_size=50), sizes=st.lists(st.integers(0, 9), max_size=8))
def test_symbols_whatever_the_blocks(order: int, text: str, sizes: list[int]) -> None:
    blocks = in_blocks(text.encode(), sizes)
    for kind, symbols in (("chars", list(text)), ("words", text.split()), ("lines", split_lines(text))):
        counter: Any = streams.make_counter(kind, order)
        for block in streams.SYMBOLS[kind](blocks):
            counter.update(block)
        assert counter.n == len(symbols)
        for found in counter.conditional_entropies():
            if len(symbols) > found.order:
                assert found.entropy == pytest.approx(conditional_entropy(symbols, found.order), abs=1e-9)
        names = [symbol.decode() if isinstance(symbol, bytes) else symbol for symbol in symbols]
        assert dict(zip(*counter.alphabet(), strict=True)) == Counter(names)
        assert counter.distinct() == len(set(symbols))


def split_lines(text: str) -> list[object]:
    parts = text.encode().split(b"\n")
    return list(parts[:-1] if parts[-1] == b"" else parts)


def test_a_long_stream_in_uneven_blocks() -> None:
    data = random.Random(0).randbytes(700_001)
    counter = TrigramCounts()
    for block in in_blocks(data, [1, 300_000, 0, 2, 262_145]):
        counter.update(block)
    assert counter.conditional_entropies()[2].entropy == pytest.approx(conditional_entropy(list(data), 2), abs=1e-9)
    values = np.frombuffer(data, np.uint8)
    assert byte_statistics.byte_mean(counter) == pytest.approx(values.mean())
    expected = stats.chisquare(np.bincount(values, minlength=256))
    found = byte_statistics.chi_square(counter)
    assert found["chi_square"] == pytest.approx(expected.statistic)
    assert found["chi_square_p"] == pytest.approx(expected.pvalue)
    rolled = np.corrcoef(values, np.roll(values, -1))[0, 1]
    assert byte_statistics.serial_correlation(counter) == pytest.approx(rolled, abs=1e-12)
    first = counter.conditional_entropies()[1]
    assert first.entropy == pytest.approx(conditional_entropy(list(data), 1), abs=1e-9)


@pytest.mark.parametrize("limit", [700_000, 300_000])
def test_more_than_32_bits_hold(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    data = random.Random(1).randbytes(500_000) + b"ab" * 100_000
    plain, moved = TrigramCounts(), TrigramCounts()
    plain.update(data)
    monkeypatch.setattr(byte_counts, "_MOST", limit)
    monkeypatch.setattr(byte_counts, "_SORTED_BLOCK", 200_000)
    for block in in_blocks(data, [150_000] * 4):
        moved.update(block)
    assert (moved.trigram_table() == plain.trigram_table()).all()
    assert moved.conditional_entropies() == plain.conditional_entropies()


def test_symbols_that_outgrow_their_integers() -> None:
    """N-grams begin as integers with a few bits per symbol, and become rows when a symbol needs more."""
    generator = np.random.default_rng(0)
    for order, most in ((3, 70_000), (7, 300), (9, 300)):
        counter, symbols = NgramCounts(order), list[int]()
        for largest in (3, 200, most, 5):
            block = generator.choice([0, 1, largest], 400).astype(np.int64)
            counter.update(block)
            symbols += block.tolist()
        for k, (counts, contexts) in enumerate(counter.counts_by_order()):
            ngrams = Counter(tuple(symbols[i : i + k + 1]) for i in range(len(symbols) - k))
            before = Counter(tuple(symbols[i : i + k]) for i in range(len(symbols) - k))
            assert sorted(counts.tolist()) == sorted(ngrams.values())
            assert sorted(contexts.tolist()) == sorted(before.values())


def test_the_bias_of_the_plug_in_estimate_is_corrected() -> None:
    generator = np.random.default_rng(0)
    plain, corrected = [], []
    for _ in range(200):
        counter = ByteCounts()
        counter.update(generator.integers(0, 64, 300, dtype=np.uint8).tobytes())
        (order,) = counter.conditional_entropies()
        plain.append(order.entropy)
        corrected.append(order.corrected)
    assert np.mean(plain) < 5.87
    assert np.mean(corrected) == pytest.approx(6.0, abs=0.02)


def test_constant_and_empty_streams() -> None:
    counter = ByteCounts()
    assert math.isnan(byte_statistics.serial_correlation(counter))
    counter.update(b"a" * 1000)
    assert counter.conditional_entropies()[0].entropy == 0.0
    assert math.isnan(byte_statistics.serial_correlation(counter))


def test_broken_utf8_names_its_position() -> None:
    with pytest.raises(RequestError, match="not UTF-8: near byte 3"):
        list(streams.stream_characters([b"abc", b"\xff"]))
    with pytest.raises(RequestError, match="not UTF-8"):
        list(streams.stream_characters([b"abc\xe2\x82"]))
    assert "".join(streams.stream_characters([b"\xe2", b"\x82", b"\xac"])) == "€"


def test_too_many_ngrams_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngram_counts, "MOST_BYTES", 160)
    with pytest.raises(RequestError, match="some 29 different sequences of 2 symbols take more than"):
        streams.make_counter("words", 1).update(list("abcdefghijklmnopqrstuvwxyz0123"))


def test_compressed_sizes_are_those_of_the_libraries() -> None:
    pytest.importorskip("zstandard")
    import bz2
    import gzip
    import lzma

    data = TEXT * 3
    codecs = CompressorSizes()
    for block in in_blocks(data, [10, 1000, 1]):
        codecs.update(block)
    sizes = codecs.finish()
    assert sizes["gzip"] == len(gzip.compress(data, 9))
    assert sizes["bzip2"] == len(bz2.compress(data, 9))
    assert sizes["xz"] == len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))
    assert 0 < sizes["zstd"] < len(data) / 3


def real_files() -> list[Path]:
    """Ten files of various kinds that every machine with this package has."""
    import sklearn

    folder = Path(sklearn.__file__).parent
    found = [Path(sys.executable).resolve(), Path(math.__file__ if hasattr(math, "__file__") else io.__file__)]
    found += sorted((folder / "datasets" / "data").glob("*.*"))[:8]
    found += sorted(folder.glob("*.py"))
    return [file for file in found if file.stat().st_size][:10]


@pytest.mark.skipif(shutil.which("ent") is None, reason="ent is not installed")
def test_ten_real_files_against_ent() -> None:
    files = real_files()
    assert len(files) == 10
    for file in files:
        out = subprocess.run(["ent", "-t", str(file)], capture_output=True, text=True, check=True).stdout
        _, size, entropy, chi, mean, _, serial = out.splitlines()[1].split(",")
        counter = ByteCounts()
        for block in streams.file_blocks(io.BytesIO(file.read_bytes())):
            counter.update(block)
        assert counter.n == int(size)
        assert f"{counter.conditional_entropies()[0].entropy:.6f}" == entropy
        assert f"{byte_statistics.chi_square(counter)['chi_square']:.6f}" == chi
        assert f"{byte_statistics.byte_mean(counter):.6f}" == mean
        assert f"{byte_statistics.serial_correlation(counter):.6f}" == serial


@pytest.mark.parametrize(("symbols", "order"), [("bytes", 59), ("bytes", 11), ("chars", 59), ("chars", 5)])
@pytest.mark.parametrize("alphabet", ["ab", "a\u044f\U0001f600b"])
def test_conditional_entropies_up_to_the_whole_stream(symbols: str, order: int, alphabet: str) -> None:
    """Against counts of every n-gram, one by one."""
    text = "".join(random.Random(order).choices(alphabet, k=60))
    data: list[object] = list(text.encode()) if symbols == "bytes" else list(text)
    counter = streams.make_counter(symbols, order)
    for block in streams.SYMBOLS[symbols]([text.encode()]):
        counter.update(block)
    for k, found in enumerate(counter.conditional_entropies()):
        ngrams = Counter(tuple(data[i : i + k + 1]) for i in range(len(data) - k))
        contexts = Counter(tuple(data[i : i + k]) for i in range(len(data) - k))
        bits = -sum(c * math.log2(c / contexts[s[:-1]]) for s, c in ngrams.items())
        assert found.entropy == pytest.approx(bits / (len(data) - k), abs=1e-12)
        assert found.contexts == len(contexts)
