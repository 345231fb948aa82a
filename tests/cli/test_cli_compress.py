"""`dlkit compress` and `dlkit decompress` from the shell."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from dlkit.cli.app import run
from dlkit.compression import archive, gpt_distributions, numerics
from dlkit.compression.container import ContainerReader, ContainerWriter

pytest.importorskip("constriction")

TEXT = b"The with statement is used to wrap the execution of a block. \xff\xfe\n" * 6
TINY = ["model.layers=1", "model.width=16", "model.heads=2", "tokenizer.vocab_size=300", "data.context=32"]


@pytest.fixture(scope="module")
def gpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT that was trained for two steps."""
    folder = tmp_path_factory.mktemp("compress") / "gpt"
    steps = ["~train.epochs", "train.steps=2", "train.precision=fp32"]
    assert run(["train", "pydoc-gpt", *TINY, *steps, "--run-dir", str(folder), "-q"]) == 0
    return folder


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text"
    path.write_bytes(TEXT)
    return path


def test_there_and_back_in_another_process(here: Any, program: Any, gpt: Path, text: Path) -> None:
    record = here("compress", str(text), "--model", str(gpt), "--json").record
    packed = text.with_name("text.dlk")
    assert record["input"] == str(text)
    assert record["output"] == str(packed)
    assert record["bytes_in"] == len(TEXT)
    assert record["bytes_out"] == packed.stat().st_size
    assert record["bits_per_byte"] == round(8 * record["bytes_out"] / len(TEXT), 4)
    assert record["verified"] is True
    assert record["payload_bytes"] < record["bytes_out"]
    assert record["model_bytes"] > 10_000
    text.unlink()
    result = program("decompress", str(packed), "--model", str(gpt))
    assert result.code == 0, result.err
    assert result.record["bytes_out"] == len(TEXT)
    assert text.read_bytes() == TEXT
    assert sorted(path.name for path in text.parent.iterdir()) == ["text", "text.dlk"]


def test_what_a_gpu_coded_needs_a_gpu(here: Any, gpt: Path, text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    describe = numerics.describe_numerics
    with monkeypatch.context() as patch:
        on_a_gpu = {"device": "cuda", "processor": "a GPU"}
        patch.setattr(numerics, "describe_numerics", lambda *a: describe(*a) | on_a_gpu)
        assert here("compress", str(text), "--model", str(gpt), "-q").code == 0
    text.unlink()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = here("decompress", f"{text}.dlk", "--model", str(gpt))
    assert (result.code, result.out, text.exists()) == (1, "", False)
    error, hint = result.err.splitlines()
    assert error == "error: the file was coded on a GPU (a GPU), whose sums no other processor makes"
    assert hint.startswith("hint: decompress it on a machine with the same GPU")


def test_an_archive_of_another_arithmetic_is_refused(
    here: Any, gpt: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe, probe = numerics.describe_numerics, gpt_distributions.probe_crc
    with monkeypatch.context() as patch:
        patch.setattr(numerics, "describe_numerics", lambda *a: {**describe(*a), "products": "tf32"})
        patch.setattr(gpt_distributions, "probe_crc", lambda *a: probe(*a) ^ 1)  # as if a last bit differed
        assert here("compress", str(text), "--model", str(gpt), "-q", "--no-verify").code == 0
    result = here("decompress", f"{text}.dlk", "--model", str(gpt), "-o", str(text.with_name("back")))
    assert result.code == 1
    assert "products of float32 numbers: tf32 there, fp32 here" in result.err
    # an archive that does not say it is of a CPU, which had float32 only
    here_now = describe(1, torch.device("cpu"))
    assert numerics.numerics_differences({k: v for k, v in here_now.items() if k != "products"}, here_now) == ""


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_there_and_back_on_a_gpu(here: Any, program: Any, gpt: Path, text: Path) -> None:
    assert here("compress", str(text), "--model", str(gpt), "--device", "cuda", "--json").record["verified"] is True
    text.unlink()
    result = program("decompress", f"{text}.dlk", "--model", str(gpt))
    assert result.code == 0, result.err
    assert text.read_bytes() == TEXT


def test_prequential_needs_no_model_and_no_torch(here: Any, text: Path) -> None:
    packed = text.with_name("p.dlk")
    result = here("compress", str(text), "-o", str(packed), "--prequential", "-q")
    assert (result.code, result.out) == (0, f"{packed}\n")
    assert here("decompress", str(packed), "-o", str(text.with_name("back")), "-q").out == f"{text.with_name('back')}\n"
    assert text.with_name("back").read_bytes() == TEXT
    code = (
        f"from dlkit.cli.app import run; import sys; run(['decompress', {str(packed)!r}, '-o', {str(packed)!r} + 'x'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code + "; print('torch' in sys.modules)"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "False"


def test_a_pipe(text: Path) -> None:
    pack = [sys.executable, "-m", "dlkit", "compress", "-", "-o", "-", "--prequential"]
    unpack = [sys.executable, "-m", "dlkit", "decompress", "-", "-o", "-"]
    packed = subprocess.run(pack, input=TEXT, capture_output=True, check=True)
    assert b"bits a byte" in packed.stderr
    assert subprocess.run(unpack, input=packed.stdout, capture_output=True, check=True).stdout == TEXT


def test_wrong_requests(here: Any, gpt: Path, text: Path, tmp_path: Path) -> None:
    wanted = {
        ("compress", str(text)): "compress needs a model",
        ("compress", str(text), "--prequential", "--model", str(gpt)): "contradict",
        ("compress", str(text), "--prequential", "--threads", "2"): "--threads is about --model",
        ("compress", str(text), "--prequential", "--device", "cuda"): "--device is about --model",
        ("compress", "-", "--prequential"): "standard input has no name",
        ("compress", str(text), "--prequential", "-o", str(tmp_path / "no" / "x")): "its folder is not there",
        ("compress", str(text), "--prequential", "-o", str(text)): "is there already",
        ("compress", str(text), "--prequential", "-o", str(text), "--overwrite"): "is the input itself",
        ("decompress", str(text)): "does not end in .dlk",
    }
    for arguments, message in wanted.items():
        result = here(*arguments)
        assert (result.code, result.out) == (2, "")
        assert message in result.err
        assert result.err.count("error:") == 1
    result = here("compress", str(tmp_path / "absent"), "--prequential")
    assert result.code == 1
    assert "absent" in result.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text"]


def test_the_model_must_fit_the_file(here: Any, gpt: Path, text: Path, tmp_path: Path) -> None:
    packed, back = tmp_path / "m.dlk", tmp_path / "back"
    assert (
        here("compress", str(text), "-o", str(packed), "--model", str(gpt), "--no-verify").record["verified"] is False
    )
    result = here("decompress", str(packed), "-o", str(back))
    assert (result.code, f"was compressed with the model {gpt}" in result.err) == (2, True)
    plain = tmp_path / "p.dlk"
    assert here("compress", str(text), "-o", str(plain), "--prequential").code == 0
    result = here("decompress", str(plain), "-o", str(back), "--model", str(gpt))
    assert (result.code, "without a model" in result.err) == (2, True)
    # the same file from another model, or for more threads than there are
    for change, message in (({"model": "f" * 32}, "another model"), ({"threads": 4096}, "needs 4096 threads")):
        reader = ContainerReader(io.BytesIO(packed.read_bytes()), "x")
        changed = tmp_path / "changed.dlk"
        with changed.open("wb") as file:
            writer = ContainerWriter(file, {**reader.header, **change})
            for chunk in reader.chunks():
                writer.add(chunk)
            writer.finish()
        result = here("decompress", str(changed), "-o", str(back), "--model", str(gpt))
        assert (result.code, message in result.err) == (1, True), result.err
        assert "hint:" in result.err
    assert not back.exists()


def test_damage_leaves_nothing_behind(here: Any, text: Path, tmp_path: Path) -> None:
    packed, back = tmp_path / "p.dlk", tmp_path / "back"
    assert here("compress", str(text), "-o", str(packed), "--prequential").code == 0
    whole = packed.read_bytes()
    for damaged, message in (
        (whole[:-3], "cut off"),
        (whole[:60] + b"?" + whole[61:], "damaged"),
        (whole + b"x", "goes on behind its end"),
        (b"", "is empty"),
        (TEXT, "is not a .dlk file"),
    ):
        packed.write_bytes(damaged)
        result = here("decompress", str(packed), "-o", str(back))
        assert (result.code, message in result.err) == (1, True), result.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.dlk", "text"]


def test_a_result_that_does_not_decode_is_no_result(
    here: Any, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "decompress", lambda reader, write, codec, advance: write(b"something else"))
    result = here("compress", str(text), "--prequential")
    assert (result.code, "does not decode to the input" in result.err) == (1, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text"]


def test_an_interrupt_leaves_nothing_behind(
    here: Any, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "text.dlk"
    old.write_bytes(b"an older one")

    def interrupted(*_: object) -> None:
        assert len(list(tmp_path.iterdir())) == 3  # the temporary file is there
        raise KeyboardInterrupt

    monkeypatch.setattr(archive, "compress", interrupted)
    assert here("compress", str(text), "--prequential", "--overwrite").code == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text", "text.dlk"]
    assert old.read_bytes() == b"an older one"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize("command", ["compress", "decompress"])
def test_signals(tmp_path: Path, command: str, number: int, code: int) -> None:
    source = tmp_path / "big"
    source.write_bytes(os.urandom(1 << 14) * 2)
    arguments = ["compress", str(source), "--prequential", "--streams", "4", "--no-verify"]
    if command == "decompress":
        assert run([*arguments, "-q"]) == 0
        source.unlink()
        arguments = ["decompress", str(source) + ".dlk"]
    before = sorted(path.name for path in tmp_path.iterdir())
    process = subprocess.Popen(
        [sys.executable, "-m", "dlkit", *arguments],
        stdout=subprocess.PIPE,
        # what a shell starts in the background would ignore it, and so would its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while process.poll() is None and not list(tmp_path.glob(".*.tmp")):
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == before
