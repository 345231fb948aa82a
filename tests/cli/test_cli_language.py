"""Language tasks from the shell: train, eval, resume, generate, export, begin with weights."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from dlkit.cli.app import run
from dlkit.training.checkpoint import Checkpoint
from dlkit.training.run_directory import RunDirectory

TINY = [
    "model.layers=1",
    "model.width=16",
    "model.heads=2",
    "tokenizer.vocab_size=300",
    "data.context=32",
    "~train.epochs",
]


@pytest.fixture(scope="module")
def gpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT that was trained for a few steps."""
    folder = tmp_path_factory.mktemp("language") / "gpt"
    assert run(["train", "pydoc-gpt", *TINY, "train.steps=6", "--run-dir", str(folder), "-q"]) == 0
    return folder


def test_a_record_of_a_language_model(here: Any, gpt: Path) -> None:
    record = here("eval", str(gpt), "--json").record
    assert record["split"] == "test"
    assert {"loss", "perplexity", "accuracy", "bits_per_byte"} == set(record["metrics"])
    assert 2 < record["metrics"]["bits_per_byte"] < 8
    quiet = here("eval", str(gpt), "-q").out
    assert float(quiet) == record["metrics"]["loss"]
    overlapping = here("eval", str(gpt), "data.stride=16", "--json").record
    assert overlapping["n"] == record["n"]
    assert json.loads((gpt / "environment.json").read_text())["data"]["tokenizer"]["tokens"] == 301


@pytest.mark.parametrize("recipe", ["pydoc-gpt", "pydoc-bert"])
def test_a_killed_language_model_goes_on_exactly(
    here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: str
) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    common = ["train", recipe, *TINY, "train.checkpoint_every=3 steps", "train.steps=6", "model.dropout=0.1"]
    assert here(*common, "--run-dir", str(whole)).code == 0
    saved: list[int] = []

    def save(self: RunDirectory, checkpoint: Checkpoint, best: bool) -> Path:
        if saved:
            raise KeyboardInterrupt  # as a kill between two checkpoints would
        saved.append(checkpoint.step)
        return original(self, checkpoint, best)

    original = RunDirectory.save
    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "save", save)
        assert here(*common, "--run-dir", str(halves)).code == 130
    assert saved == [3]
    result = here("train", str(halves), "--resume")
    assert result.code == 0, result.err
    one, two = ((folder / "checkpoints/last/model.safetensors").read_bytes() for folder in (whole, halves))
    assert one == two


def test_generate_prints_records_and_text(here: Any, stdin: Any, gpt: Path) -> None:
    record = here("generate", str(gpt), "The with", "--tokens", "7", "--json").record
    assert record["prompt"] == "The with"
    assert record["tokens"] <= 7
    assert record["run"] == str(gpt)
    again = here("generate", str(gpt), "The with", "--tokens", "7", "-q").out
    assert again == record["text"] + "\n"
    stdin("def\nclass é\n".encode())
    lines = here("generate", str(gpt), "-", "-n", "2", "--tokens", "3").records
    assert [line["prompt"] for line in lines] == ["def", "def", "class é", "class é"]
    first = here("generate", str(gpt), "x", "--temperature", "0", "--tokens", "20", "--seed", "1", "-q").out
    assert first == here("generate", str(gpt), "x", "--temperature", "0", "--tokens", "20", "--seed", "2", "-q").out


def test_a_long_prompt_keeps_its_end(here: Any, gpt: Path) -> None:
    result = here("generate", str(gpt), "word " * 500, "--tokens", "2")
    assert result.code == 0
    assert "tokens: its last 32 tokens are used" in result.err
    long = here("generate", str(gpt), "word " * 5_000, "--tokens", "2", "-q")
    assert "25000 characters: its last 32 tokens are used" in long.err
    assert long.out == here("generate", str(gpt), "word " * 500, "--tokens", "2", "-q").out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--temperature", "-1"], 2, "a temperature of -1.0"),
        (["--top-p", "0"], 2, "top-p must be in (0, 1], got 0.0"),
        (["--tokens", "0"], 2, "--tokens"),
        (["--checkpoint", "7"], 1, "has no checkpoint '7'"),
    ],
)
def test_wrong_wishes(here: Any, gpt: Path, arguments: list[str], code: int, message: str) -> None:
    result = here("generate", str(gpt), "x", *arguments)
    assert result.code == code
    assert message in result.err
    assert "Traceback" not in result.err


def test_prompts_that_cannot_be_read(here: Any, stdin: Any, gpt: Path) -> None:
    stdin(b"\xff\xfe")
    assert "are not UTF-8" in here("generate", str(gpt), "-").err
    assert "PROMPT is not UTF-8" in here("generate", str(gpt), "a\udcff").err
    stdin(b"")
    assert "no prompt on standard input" in here("generate", str(gpt), "-").err


@pytest.mark.parametrize("is_new", [True, False])
def test_a_failed_export_leaves_nothing_and_can_be_given_again(
    here: Any, gpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_new: bool
) -> None:
    target = tmp_path / "hf"
    if not is_new:
        target.mkdir()
    original = os.fsync
    left: list[int] = []

    def fail(descriptor: int) -> None:
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        left.pop()
        original(descriptor)

    for survived in range(8):  # four files, and after each their folder
        left[:] = range(survived)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            result = here("export", str(gpt), str(target))
        assert (result.code, result.out) == (1, "")
        assert result.err.startswith(f"error: cannot write {target}/")
        assert target.exists() != is_new
        assert is_new or not list(target.iterdir())
    assert here("export", str(gpt), str(target), "-q").code == 0


def test_export_and_back(here: Any, gpt: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    import torch

    target = tmp_path / "hf"
    assert here("export", str(gpt), str(target), "-q").out == f"{target}\n"
    text = here("generate", str(gpt), "The", "--temperature", "0", "--tokens", "9", "-q").out
    assert here("generate", str(target), "The", "--temperature", "0", "--tokens", "9", "-q").out == text
    tokenizer = transformers.AutoTokenizer.from_pretrained(target)
    model = transformers.AutoModelForCausalLM.from_pretrained(target).eval()
    numbers = torch.tensor([[model.config.bos_token_id, *tokenizer("The", add_special_tokens=False)["input_ids"]]])
    got = model.generate(numbers, max_new_tokens=9, do_sample=False, eos_token_id=None, pad_token_id=0)
    assert tokenizer.decode(got[0, numbers.shape[1] :]) + "\n" == text
    result = here("export", str(gpt), str(target))
    assert result.code == 2
    assert "is there already" in result.err
    finer = ["train", "text-gpt2-finetune", "data.path=" + str(gpt / "recipe.yaml"), f"model.weights={target}"]
    record = here(*finer, "data.context=32", "train.epochs=1", "--run-dir", str(tmp_path / "fine")).record
    assert record["parameters"] == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("trained", ["bf16", "fp32", "fp16"])
def test_a_gpu_holds_the_weights_in_what_the_run_was_trained_in(
    here: Any, gpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: str
) -> None:
    import torch

    from dlkit.lm import language_model

    folder = shutil.copytree(gpt, tmp_path / "run")
    recipe = folder / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("precision: fp32", f"precision: {trained}"))
    assert f"precision: {trained}" in recipe.read_text()
    original = language_model.weights_format
    assert original(language_model.open_language_model(str(folder), torch.device("cpu")), torch.device("cpu")) == "fp32"
    monkeypatch.setattr(language_model, "weights_format", lambda opened, _: original(opened, torch.device("cuda")))
    record = here("generate", str(folder), "The", "--tokens", "3").record
    assert record["precision"] == ("bf16" if trained == "bf16" else "fp32")
    assert record["tokens"] == 3


def test_a_run_of_images_writes_no_text(here: Any, tmp_path: Path) -> None:
    assert here("train", "digits-mlp", "train.epochs=1", "--run-dir", str(tmp_path / "r")).code == 0
    result = here("generate", str(tmp_path / "r"), "x")
    assert result.code == 2
    assert "holds no BERT or GPT" in result.err


def reviews(folder: Path) -> Path:
    file = folder / "reviews.jsonl"
    rows = [
        {"text": f"{'good' if i % 2 else 'bad'} film number {i}", "label": "yes" if i % 2 else "no"} for i in range(80)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_pretrain_then_fine_tune(here: Any, tmp_path: Path) -> None:
    file = reviews(tmp_path)
    plain = tmp_path / "plain.txt"
    plain.write_text("".join(json.loads(line)["text"] + "\n" for line in file.read_text().splitlines()))
    small = ["model.layers=1", "model.width=16", "model.heads=2", "tokenizer.vocab_size=200"]
    masked = tmp_path / "masked"
    made = here(
        "train", "pydoc-bert", "data.name=text", f"data.path={plain}", *small, "data.context=16", "train.epochs=2",
        "--run-dir", str(masked),
    )  # fmt: skip
    assert made.code == 0, made.err
    assert made.record["metrics"].keys() == {"val/loss", "val/perplexity", "val/accuracy"}
    fine = ["train", "texts-bert", f"data.path={file}", "data.context=16", "optimizer.lr=1e-2", "model.norm_first=true"]
    result = here(*fine, f"model.weights={masked}", "--run-dir", str(tmp_path / "fine"))
    assert result.code == 0, result.err
    assert "head.classifier.weight, head.classifier.bias: they start anew" in result.err
    record = here("eval", str(tmp_path / "fine")).record
    assert record["metrics"]["accuracy"] == 1.0
    assert [row["class"] for row in record["per_class"]] == ["no", "yes"]
    hf = here("export", str(tmp_path / "fine"), str(tmp_path / "hf"))
    assert hf.code == 1
    assert "post-norm" in hf.err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["model={name: bert}"], "bert is not for causal-lm"),
        (["data.name=digits"], "digits is not for causal-lm"),
        (["tokenizer.vocab_size=10"], "must be >= 256"),
        (["model.heads=3", "model.width=16"], "3 heads do not divide a width of 16"),
        (["model.context=8"], "data.context is 32"),
        (["model.weights=nowhere"], "no such file or folder"),
        (["loss.name=squared_error"], "squared_error is not for causal-lm"),
    ],
)
def test_recipes_that_do_not_fit(here: Any, changes: list[str], message: str, tmp_path: Path) -> None:
    result = here("train", "pydoc-gpt", *TINY, "train.steps=1", *changes, "--run-dir", str(tmp_path / "r"))
    assert result.code in (1, 2)
    assert message in result.err
    assert "Traceback" not in result.err
    assert not (tmp_path / "r").exists()


def test_weights_of_another_family(here: Any, gpt: Path, tmp_path: Path) -> None:
    result = here("train", "texts-bert", f"data.path={reviews(tmp_path)}", f"model.weights={gpt}")
    assert result.code == 2
    assert "holds a gpt, not a bert" in result.err
    wrong = ["train", "pydoc-gpt", f"model.weights={gpt}", "tokenizer.vocab_size=5000", "data.context=32"]
    result = here(*wrong)
    assert result.code == 2
    assert "the tokenizer has" in result.err
    result = here("train", "pydoc-gpt", f"model.weights={gpt}", "tokenizer.vocab_size=260", "data.context=32")
    assert result.code == 2
    assert "whose tokens are not those that" in result.err


def test_prompts_have_an_end(here: Any, stdin: Any, gpt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dlkit.cli import generate

    monkeypatch.setattr(generate, "_MOST_BYTES", 8)
    stdin(b"y\n" * 5)
    result = here("generate", str(gpt), "-")
    assert (result.code, result.out) == (2, "")
    assert "is larger than 8 bytes: not a list of prompts" in result.err
