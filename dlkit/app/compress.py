"""Lossless compression with a trained model, or with one that learns while it codes, and the way back."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from dlkit.app.required_files import require_language_run
from dlkit.errors import DlkitError, RequestError
from dlkit.processors import usable_cores
from dlkit.progress import stage

if TYPE_CHECKING:
    from dlkit.compression.archive import Codec


def open_codec(
    model: str | None,
    threads: int | None,
    streams: int | None,
    recorded: dict[str, Any] | None = None,
    device: str = "cpu",
) -> AbstractContextManager[Any]:
    """A context manager of the codec: that of a model, on a fixed number of threads, or the prequential one if None.

    Args:
        model: a run or Hugging Face directory.
        threads: of torch; None for its default.
        streams: parts of the data that are coded side by side, at most.
        recorded: the header of a file to decode, which names the device.
        device: to encode on.

    Raises:
        DlkitError: the file was coded on a GPU, and none is here.
    """
    if model is None:
        from dlkit.compression.prequential_codec import PrequentialCodec

        return nullcontext(PrequentialCodec(streams))

    require_language_run(model)
    import torch

    from dlkit.compression import numerics
    from dlkit.compression.language_codec import LanguageCodec
    from dlkit.lm.language_model import open_language_model
    from dlkit.training.device import pick_device

    if recorded and recorded["device"] == "cuda" and not torch.cuda.is_available():
        raise DlkitError(
            f"the file was coded on a GPU ({recorded['processor']}), whose sums no other processor makes",
            "decompress it on a machine with the same GPU; `compress --device cpu` makes files for CPUs",
        )
    language_model = open_language_model(model, pick_device(recorded["device"] if recorded else device))
    if not language_model.causal:
        raise RequestError(
            f"{language_model.path} is a model for {language_model.task}, which predicts no next token", "give a GPT"
        )
    count = recorded["threads"] if recorded else threads or min(torch.get_num_threads(), usable_cores())
    codec = LanguageCodec(
        cast(Any, language_model.model), language_model.tokenizer, count, streams, str(language_model.path)
    )
    if recorded:
        codec.identify(recorded)  # a wrong model is named before a wrong machine

    @contextmanager
    def fixed() -> Iterator[Codec]:
        with numerics.reproducible(count):
            yield codec

    return fixed()


def compress_stream(
    data: BinaryIO, out: BinaryIO, codec: Codec, size: int | None = None, verify: bool = True
) -> dict[str, Any]:
    """Compress a stream, and decode the result again; returns sizes and seconds, as `dlkit compress` prints them.

    Args:
        data: what to compress.
        out: where to; it is read again to verify.
        codec: of `open_codec`.
        size: of the data in bytes; None if unknown.
        verify: whether to decode the result.

    Raises:
        DlkitError: the result does not decode to the data.
    """
    from dlkit.compression import archive
    from dlkit.compression.container import ContainerReader

    began = time.perf_counter()
    with stage("compressing", size) as advance:
        written = archive.compress(data, out, codec, advance)
    encoded = time.perf_counter()
    size = written.bytes_in
    record = {
        "bytes_in": size,
        "bytes_out": written.bytes_out,
        "bits_per_byte": round(8 * written.bytes_out / size, 4) if size else None,
        "model_bytes": codec.model_bytes,
        "payload_bytes": codec.payload_bytes,
        "ideal_bytes": round(codec.ideal_bits / 8, 2),
        "streams": codec.streams,
        "seconds": round(encoded - began, 2),
    }
    if verify:
        out.seek(0)
        digest = hashlib.sha256()
        with stage("verifying", size) as advance:
            archive.decompress(ContainerReader(out, "the result"), digest.update, codec, advance)
        if digest.hexdigest() != written.sha256:
            raise DlkitError(
                "the result does not decode to the input; nothing was written", "please report this, with the input"
            )
        record["verify_seconds"] = round(time.perf_counter() - encoded, 2)
    return record


def decompress_stream(
    data: BinaryIO, name: str, out: AbstractContextManager[BinaryIO], model: str | None
) -> dict[str, Any]:
    """Decompress what `compress_stream` wrote; returns sizes and seconds, as `dlkit decompress` prints them.

    Args:
        data: what to decompress.
        name: of it, for errors.
        out: the file to write, as a context manager that is entered once the codec is ready.
        model: that it was compressed with; None for none.

    Raises:
        RequestError: a model is missing, or there is one too many.
        DlkitError: the data is damaged, or was compressed with another model or on another machine.
    """
    from dlkit.compression import archive
    from dlkit.compression.container import ContainerReader

    began = time.perf_counter()
    reader = ContainerReader(data, name)
    header = reader.header
    if header["method"] == "model" and model is None:
        raise RequestError(f"{name} was compressed with the model {header['name']}", "give it with `model` RUN")
    if header["method"] != "model" and model is not None:
        raise RequestError(f"{name} was compressed without a model", "leave `model` out")
    with open_codec(model, None, None, header) as codec, out as file, stage("decompressing", None) as advance:
        size = archive.decompress(reader, file.write, codec, advance)
    return {
        "bytes_in": reader.read,
        "bytes_out": size,
        "bits_per_byte": round(8 * reader.read / size, 4) if size else None,
        "model": model,
        "seconds": round(time.perf_counter() - began, 2),
    }
