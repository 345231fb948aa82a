"""`dlkit compress`: lossless compression with a trained model, or with one that learns while it codes."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, cast

import typer

from dlkit.cli import completion
from dlkit.cli.binary import binary_input, binary_output, refuse
from dlkit.cli.console import Output, live_console, note
from dlkit.cli.options import Device, Json, Quiet
from dlkit.errors import DlkitError, RequestError
from dlkit.processors import cores
from dlkit.storage import run_reference

if TYPE_CHECKING:
    from dlkit.compression.archive import Codec

SUFFIX = ".dlk"


def compress_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What to compress, or - for standard input.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to (default: FILE.dlk), or -.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="A GPT: a run, a checkpoint or a Hugging Face directory.",
            autocompletion=completion.runs,
        ),
    ] = None,
    prequential: Annotated[
        bool, typer.Option("--prequential", help="No model: learn while coding; decompress needs none either.")
    ] = False,
    streams: Annotated[
        int | None,
        typer.Option(min=1, max=4096, metavar="N", help="Streams side by side, at most (default: by the size)."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Threads, here and when decompressing (default: the cores).")
    ] = None,
    device: Device = "cpu",
    verify: Annotated[bool, typer.Option("--verify/--no-verify", help="Decode the result before it counts.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compress a file with a language model, without loss.

    A range coder spends -log2 p bits on each token of the file, p its probability under the model. Whoever decompresses
    it needs the same model, torch, kind of processor (or GPU, with --device cuda) and number of threads; --prequential
    needs nothing but dlkit.
    Prints a record; -q prints the output's path.

    \b
    Examples:
      dlkit compress book.txt --model runs/text-gpt-1
      tar c notes | dlkit compress - -o notes.tar.dlk --prequential
    """
    if (model is None) != prequential:
        problem = "--model and --prequential contradict each other" if prequential else "compress needs a model"
        raise RequestError(problem, "give --model RUN, or --prequential to learn one while coding")
    if prequential and (threads is not None or device != "cpu"):
        option = "--device" if threads is None else "--threads"
        raise RequestError(f"{option} is about --model: prequential coding counts in whole numbers, on one thread")
    source = None if str(file) == "-" else file
    if output is None and source is None:
        raise RequestError("standard input has no name", "give -o FILE.dlk, or -o - for standard output")
    goal = file.with_name(file.name + SUFFIX) if output is None else None if str(output) == "-" else output
    refuse(goal, overwrite)
    if goal is not None and source is not None and goal.exists() and goal.samefile(source):
        raise RequestError(f"{goal} is the input itself", "give another -o")
    with (
        binary_input(source) as data,
        settings(model, threads, streams, device=device) as codec,
        binary_output(goal) as out,
    ):
        record = _run(data, source, out, codec, verify, quiet)
    record = {"input": str(file), "output": str(goal or "-"), **record, "model": model, "verified": verify}
    if goal is None:
        if not quiet:
            note(f"{record['bytes_in']:,} bytes to {record['bytes_out']:,}, {record['bits_per_byte']} bits a byte")
        return
    Output(as_json, quiet).emit(record, record["output"], lambda: _table(record))


def settings(
    model: str | None,
    threads: int | None,
    streams: int | None,
    recorded: dict[str, Any] | None = None,
    device: str = "cpu",
) -> Any:
    """A context with the codec: of a model within fixed threads, or prequential where there is none.

    Args:
        model: a run or Hugging Face directory.
        threads: of torch; None for what it uses by itself.
        streams: at most.
        recorded: the header of a file to decode, which says where that must be done.
        device: to encode on.

    Raises:
        DlkitError: the file was coded on a GPU, and none is here.
    """
    from contextlib import contextmanager, nullcontext

    if model is None:
        from dlkit.compression.prequential import PrequentialCodec

        return nullcontext(PrequentialCodec(streams))

    run_reference.require(model)
    import torch

    from dlkit.compression import environment
    from dlkit.compression.language import LanguageCodec
    from dlkit.lm.language_model import open_language_model
    from dlkit.train.device import pick_device

    if recorded and recorded["device"] == "cuda" and not torch.cuda.is_available():
        raise DlkitError(
            f"the file was coded on a GPU ({recorded['processor']}), whose sums no other processor makes",
            "decompress it on a machine with the same GPU; `compress --device cpu` makes files for CPUs",
        )
    reader = open_language_model(model, pick_device(recorded["device"] if recorded else device))
    if not reader.causal:
        raise RequestError(f"{reader.path} is a model for {reader.task}, which predicts no next token", "give a GPT")
    count = recorded["threads"] if recorded else threads or min(torch.get_num_threads(), cores())
    codec = LanguageCodec(cast(Any, reader.model), reader.tokenizer, count, streams, str(reader.path))
    if recorded:
        codec.identify(recorded)  # a wrong model is named before a wrong machine

    @contextmanager
    def fixed() -> Any:
        with environment.reproducible(count):
            yield codec

    return fixed()


def _run(data: BinaryIO, source: Path | None, out: BinaryIO, codec: Codec, verify: bool, quiet: bool) -> dict[str, Any]:
    from dlkit.cli.progress import Progress
    from dlkit.compression import archive
    from dlkit.compression.container import Reader

    console = None if quiet else live_console()
    total = source.stat().st_size if source is not None and source.is_file() else None
    began = time.perf_counter()
    with Progress("compressing", total, console) as progress:
        written = archive.compress(data, out, codec, progress.advance)
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
        with Progress("verifying", size, console) as progress:
            archive.decompress(Reader(out, "the result"), digest.update, codec, progress.advance)
        if digest.hexdigest() != written.sha256:
            raise DlkitError(
                "the result does not decode to the input; nothing was written", "please report this, with the input"
            )
        record["verify_seconds"] = round(time.perf_counter() - encoded, 2)
    return record


def _table(record: dict[str, Any]) -> Any:
    from dlkit.cli.entropy.view import facts_table

    size, out = record["bytes_in"], record["bytes_out"]
    facts = [
        ("input", f"{record['input']}, {size:,} bytes"),
        ("output", f"{record['output']}, {out:,} bytes" + (f", {record['bits_per_byte']} bits a byte" if size else "")),
        ("of it payload", f"{record['payload_bytes']:,} bytes; {record['ideal_bytes']:,} is the model's ideal"),
    ]
    if record["model"]:
        facts.append(("with the model", f"{record['payload_bytes'] + record['model_bytes']:,} bytes"))
    return facts_table([*facts, ("verified", "decoded, the same bytes" if record["verified"] else "no")])
