"""Learning while coding: bytes come back, lengths agree, and something is learned."""

from __future__ import annotations

import base64
import io
import lzma
import random
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dlkit.compression import archive, prequential_learner
from dlkit.compression.container import CODED, ContainerReader
from dlkit.compression.prequential_codec import PrequentialCodec
from dlkit.compression.prequential_length import code_length
from dlkit.data.text.pydoc import pydoc
from dlkit.errors import DlkitError, RequestError

MANUAL = "".join(pydoc().splits["val"].pieces()).encode()


def round_trip(data: bytes, streams: int | None = None, chunk: int | None = None) -> tuple[bytes, PrequentialCodec]:
    codec, out, back = PrequentialCodec(streams), io.BytesIO(), io.BytesIO()
    codec.chunk_bytes = chunk or codec.chunk_bytes
    archive.compress(io.BytesIO(data), out, codec, lambda n: None)
    reader = ContainerReader(io.BytesIO(out.getvalue()), "x")
    archive.decompress(reader, back.write, PrequentialCodec(), lambda n: None)
    assert back.getvalue() == data
    return out.getvalue(), codec


def test_random_inputs_come_back(draw_input: Callable[[random.Random], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prequential_learner, "_WINDOW", 1 << 12)
    draw = random.Random(0)
    for _ in range(40):
        round_trip(draw_input(draw), draw.choice((None, 1, 3, 8)))


def test_chunks_go_on_with_what_was_learned() -> None:
    data = MANUAL[:2001]
    once, codec = round_trip(data, streams=4, chunk=700)
    repeated, twice = round_trip(data * 2, streams=4, chunk=2001)
    assert codec.payload_bytes < len(data) * 0.75
    assert twice.payload_bytes < codec.payload_bytes * 1.2  # the second time it is known
    assert len(once) - codec.payload_bytes < 200
    assert len(repeated) - twice.payload_bytes < 200


def test_stored_chunks_are_learned_too() -> None:
    noise = random.Random(1).randbytes(300)
    whole, _ = round_trip(noise * 3, streams=1, chunk=300)
    kinds = [chunk.kind for chunk in ContainerReader(io.BytesIO(whole), "x").chunks()]
    assert kinds[0] != CODED
    assert kinds[1:] == [CODED, CODED]


def test_the_payload_is_the_code_length() -> None:
    data = MANUAL[:3000]
    _, codec = round_trip(data, streams=4)
    length = code_length(data, streams=4)
    assert codec.ideal_bits == pytest.approx(length.bits, abs=1e-6)
    assert length.bits / 8 <= codec.payload_bytes <= length.bits / 8 * 1.001 + 4
    assert length.bytes == len(data)
    assert code_length([data[:1234], data[1234:]], streams=4).bits == length.bits


def test_the_curve_ends_at_the_whole_and_falls() -> None:
    length = code_length(MANUAL[:6000], block=1000, streams=4)
    assert [size for size, _ in length.curve] == [*range(1000, 6001, 1000)]
    assert length.curve[-1] == (length.bytes, length.bits)
    steps = [after[1] - before[1] for before, after in zip(length.curve, length.curve[1:], strict=False)]
    assert sum(steps[-3:]) < 3 * length.curve[0][1] * 0.8
    assert code_length(b"").bits == 0
    assert code_length(b"").curve == []


def test_a_new_model_knows_nothing_and_noise_stays_noise() -> None:
    assert code_length(b"q").bits == pytest.approx(8, abs=1.5)
    noise = random.Random(0).randbytes(2000)
    assert 8 <= code_length(noise).bits_per_byte < 8.6
    assert code_length(b"ab" * 1000, streams=2).bits_per_byte < 0.2


def test_it_learns_more_than_xz_finds() -> None:
    assert code_length(MANUAL).bits / 8 < len(lzma.compress(MANUAL, preset=9 | lzma.PRESET_EXTREME))


def test_the_code_is_the_same_on_every_machine() -> None:
    """Integers only: this payload must never change while `mixing_tables.TABLES` does not."""
    text = " ".join(f"{n} times {m} is {n * m}." for n in range(1, 13) for m in range(1, 13)).encode()[:1500]
    codec = PrequentialCodec(2)
    codec.begin(text)
    assert zlib.crc32(codec.encode(text).payload) == GOLDEN


GOLDEN = 3723134534


# What the release before wrote, whose model began and learned at another pace.
BEFORE = (
    "i9}3G4GJ0x0T=+QCL*LQ%uNi9jE&7f#y|tz&=|!?<5~c9=_u#|C;|WgC;|Wg0{}<>005Ev_zJskT^b#P=d{u1CUfL`Bh||YI{b}b<>2p*r;QK"
    "w#?n@)ab&Eo_K3`S-DrZ7P81Wi886U+A%Fq9ZfUyLy5I(k=x>sS>5gmn!w>){0ssI20002P`M!<"
)


def test_files_that_were_written_before_come_back() -> None:
    text = "A model learns while it codes. " * 6 + "It learns the more, the more often it has seen what it codes; " * 3
    back = io.BytesIO()
    archive.decompress(
        ContainerReader(io.BytesIO(base64.b85decode(BEFORE)), "x"), back.write, PrequentialCodec(), lambda n: None
    )
    assert back.getvalue() == text.encode() + b"\x00\xff" * 90
    again, _ = round_trip(back.getvalue())
    assert len(again) <= len(base64.b85decode(BEFORE))


def test_what_was_coded_otherwise_is_an_error() -> None:
    codec = PrequentialCodec(2)
    header: dict[str, Any] = codec.begin(MANUAL[:500])
    chunk = codec.encode(MANUAL[:500])
    other = PrequentialCodec()
    other.check(header)
    other.encode(b"it knows something already")
    with pytest.raises(DlkitError, match="learned something else"):
        other.decode(chunk, header)
    codec.check(header)
    with pytest.raises(DlkitError, match="learned something else"):
        codec.decode(replace(chunk, crc=chunk.crc ^ 1), header)
    with pytest.raises(DlkitError, match="logarithm"):
        codec.check({**header, "tables": 0})


@pytest.mark.parametrize("streams", [0, 65])
def test_streams_out_of_range_are_refused(streams: int) -> None:
    with pytest.raises(RequestError, match="takes 1 to 64"):
        code_length(b"abc", streams=streams)
