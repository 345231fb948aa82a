"""Hugging Face directories of GPTs from the shell: ends of texts, padded vocabularies, bits per byte, bad weights."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlkit.cli.app import run


@pytest.fixture(scope="module")
def gpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT as a Hugging Face directory, with a tokenizer of 301 tokens."""
    folder = tmp_path_factory.mktemp("gpt")
    small = ["model.layers=1", "model.width=16", "model.heads=2", "tokenizer.vocab_size=300", "data.context=16"]
    made = ["train", "pydoc-gpt", *small, "~train.epochs", "train.steps=3", "--run-dir", str(folder / "run"), "-q"]
    assert run(made) == 0
    assert run(["export", str(folder / "run"), str(folder / "hub"), "-q"]) == 0
    return folder / "hub"


def copied(hub: Path, folder: Path, change: Callable[[dict[str, Any]], None] = lambda _: None, **config: Any) -> Path:
    """A copy with other tensors and another config.json."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(hub, folder / "copy", dirs_exist_ok=True)
    tensors = load_file(hub / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "copy" / "model.safetensors", {"format": "pt"})
    (folder / "copy" / "config.json").write_text(json.dumps(json.loads((hub / "config.json").read_text()) | config))
    return folder / "copy"


def favours(number: int) -> Callable[[dict[str, Any]], None]:
    """Weights under which a token is by far the likeliest."""

    def change(tensors: dict[str, Any]) -> None:
        row = tensors["transformer.wte.weight"][number]
        tensors["transformer.ln_f.bias"] = tensors["transformer.ln_f.bias"] + 50 * row / row.norm() ** 2

    return change


@pytest.mark.parametrize("where", ["config", "list", "generation", "tokenizer"])
def test_a_text_ends_at_the_token_that_the_directory_names(here: Any, gpt: Path, tmp_path: Path, where: str) -> None:
    config = {"config": {"eos_token_id": 70}, "list": {"eos_token_id": [3, 70]}}.get(where, {"eos_token_id": None})
    hub = copied(gpt, tmp_path, favours(70), **config)
    (hub / "generation_config.json").write_text(json.dumps({"eos_token_id": 70} if where == "generation" else {}))
    if where == "tokenizer":
        token = json.loads((hub / "tokenizer.json").read_text())["model"]["vocab"]
        name = next(text for text, number in token.items() if number == 70)
        (hub / "tokenizer_config.json").write_text(json.dumps({"eos_token": name}))
    record = here("generate", str(hub), "x", "--tokens", "9", "--temperature", "0", "--json").record
    assert (record["text"], record["tokens"], record["stopped"]) == ("", 0, True)
    longer = here("generate", str(copied(gpt, tmp_path, favours(71), **config)), "x", "--tokens", "9", "--json").record
    assert (longer["tokens"], longer["stopped"]) == (9, False)


def test_rows_of_a_padded_vocabulary_are_never_drawn(here: Any, gpt: Path, tmp_path: Path) -> None:
    import torch

    def pad(tensors: dict[str, Any]) -> None:
        weight = tensors["transformer.wte.weight"]
        tensors["transformer.wte.weight"] = torch.cat((weight, 30 * weight[:19]))

    hub = copied(gpt, tmp_path, pad, vocab_size=320)
    for extra in ([], ["--temperature", "0"], ["--top-k", "5"]):
        record = here("generate", str(hub), "import", "--tokens", "40", "--json", *extra).record
        assert record["tokens"] > 0 and "error" not in record
    text = tmp_path / "t.txt"
    text.write_text("import this\n" * 20)
    assert here("entropy", str(text), "--model", str(hub)).code == 0
    assert here("compress", str(text), "--model", str(hub), "-o", str(tmp_path / "t.dlz")).record["verified"]


def test_prompts_do_not_change_each_others_texts(here: Any, stdin: Any, gpt: Path) -> None:
    prompts = ["R", "Before we proceed any further, hear me speak", "with\fa\u2028b", "import"]
    options = ("--tokens", "40", "--json", "-n", "2", "--top-k", "50")
    stdin("".join(f"{prompt}\r\n" for prompt in prompts).encode("utf-8-sig"))
    together = [json.loads(line) for line in here("generate", str(gpt), "-", *options).out.split("\n")[:-1]]
    assert [record["prompt"] for record in together] == [prompt for prompt in prompts for _ in range(2)]
    for i, prompt in enumerate(prompts):
        alone = [json.loads(line) for line in here("generate", str(gpt), prompt, *options).out.split("\n")[:-1]]
        assert [record["text"] for record in alone] == [record["text"] for record in together[2 * i : 2 * i + 2]]
        assert alone[0]["text"] != alone[1]["text"]


def test_bits_a_byte_need_tokens_that_give_the_text_back(here: Any, gpt: Path, tmp_path: Path) -> None:
    hub, text = copied(gpt, tmp_path), tmp_path / "t.txt"
    described = json.loads((hub / "tokenizer.json").read_text()) | {"normalizer": {"type": "Lowercase"}}
    (hub / "tokenizer.json").write_text(json.dumps(described))
    options = ["train", "text-gpt2-finetune", f"data.path={text}", f"model.weights={hub}", "data.context=16"]
    options += ["~train.epochs", "train.steps=1"]
    for content, there in (("import this\n" * 40, True), ("Import This\n" * 40, False)):
        text.write_text(content)
        made = here(*options, "--run-dir", str(tmp_path / f"run-{there}"))
        record = here("eval", str(tmp_path / f"run-{there}")).record
        assert ("bits_per_byte" in record["metrics"], "val/bits_per_byte" in made.record["metrics"]) == (there, there)
        assert ("left_out" in record, "left_out" in made.record, "is left out" in made.err) == (not there,) * 3


def test_weights_that_are_not_there_say_how_to_get_them(here: Any, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("a text\n" * 99)
    for name, hint in (
        ("gpt2", "hf download openai-community/gpt2 --local-dir gpt2"),
        ("some/model", "hf download some/model --local-dir some/model"),
    ):
        result = here("train", "text-gpt2-finetune", f"data.path={tmp_path / 't.txt'}", f"model.weights={name}")
        assert (result.code, result.out) == (1, "")
        assert f"hint: {hint}\n" in result.err


def holds(value: float) -> Callable[[dict[str, Any]], None]:
    def change(tensors: dict[str, Any]) -> None:
        tensors["transformer.h.0.mlp.c_proj.bias"][3] = value

    return change


def overflows(tensors: dict[str, Any]) -> None:
    """Weights that are finite, and an output that is not."""
    tensors["transformer.h.0.ln_1.weight"][:] = 3e38
    tensors["transformer.h.0.attn.c_attn.weight"] *= 1e20


def too_large(tensors: dict[str, Any]) -> None:
    """For float32."""
    import torch

    tensors["transformer.ln_f.bias"] = torch.full((16,), 1e300, dtype=torch.float64)


@pytest.mark.parametrize("change", [holds(math.nan), holds(-math.inf), too_large, overflows])
def test_weights_that_are_no_numbers_give_no_answer(
    here: Any, gpt: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    hub, text = str(copied(gpt, tmp_path, change)), tmp_path / "t.txt"
    text.write_text("import this\n" * 40)
    made = tmp_path / "made"
    assert here("compress", str(text), "--model", str(gpt), "-o", str(tmp_path / "good.dlk"), "-q").code == 0
    tune = ["data.context=16", "~train.epochs", "train.steps=1", "--run-dir", str(made)]
    commands = [
        ["generate", hub, "import", "--temperature", "0"],
        ["generate", hub, "import", "-q"],
        ["entropy", str(text), "--model", hub],
        ["entropy", str(text), "--model", hub, "--tokens", "--surprisal", f"{made}.html"],
        ["compress", str(text), "--model", hub, "-o", str(made), "--no-verify"],
        ["decompress", str(tmp_path / "good.dlk"), "--model", hub, "-o", str(made)],
        ["inspect-attention", hub, "import this", "--html", f"{made}.html"],
        ["train", "text-gpt2-finetune", f"data.path={text}", f"model.weights={hub}", *tune],
    ]
    if change is not overflows:  # those are numbers that others may read
        commands.append(["export", hub, str(made)])
    for command in commands:
        result = here(*command)
        errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
        assert (result.code, result.out, len(errors)) == (1, "", 1), command
        assert re.search("not finite|NaN or infinite|another model|diverged", errors[0]), command
        assert not made.is_file() and not Path(f"{made}.html").exists()
        assert not (made / "summary.json").exists() and not (made / "config.json").exists()


def test_a_checkpoint_whose_bytes_are_right_and_numbers_are_not(here: Any, gpt: Path, tmp_path: Path) -> None:
    from dlkit.training import checkpoint

    source, run = gpt.with_name("run"), tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    shutil.copy(source / "recipe.yaml", run)
    held = checkpoint.load_checkpoint(source / "checkpoints" / "last")
    held.tensors["model"]["norm.weight"][0] = math.nan
    checkpoint.save_checkpoint(run / "checkpoints", held)
    checkpoint.set_pointer(run / "checkpoints", "last", held.step)
    weights = ["train", "pydoc-gpt", f"model.weights={run}", "data.context=16", "--run-dir", str(tmp_path / "new")]
    for command in (
        ["generate", str(run), "x"],
        ["export", str(run), str(tmp_path / "out")],
        ["eval", str(run)],
        weights,
    ):
        result = here(*command)
        assert (result.code, result.out) == (1, "")
        assert "norm.weight holds numbers that are not finite" in result.err
    assert not (tmp_path / "out").exists()


def test_many_samples_go_in_batches_that_memory_holds(
    here: Any, gpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlkit import memory
    from dlkit.lm import generation
    from dlkit.models.gpt import GPT

    sizes: list[int] = []
    whole = GPT.make_cache

    def counted(self: GPT, sequences: int, capacity: int) -> Any:
        sizes.append(sequences)
        return whole(self, sequences, capacity)

    monkeypatch.setattr(GPT, "make_cache", counted)
    options = ("generate", str(gpt), "import", "--tokens", "20", "-n", "7", "--json")
    together = here(*options).records
    assert sizes[0] == 7
    # what two rows take: keys and values (1 layer of 16 numbers, 24 slots), twice; the prompt; logits
    row = 4 * (2 * 2 * 16 * 24 + 16 * 16 * 16 + 16 * 301)
    monkeypatch.setattr(generation, "_BATCH_BYTES", 2 * row)
    sizes.clear()
    apart = here(*options).records
    assert sizes[0] == 2 and max(sizes) == 2
    assert [record["text"] for record in apart] == [record["text"] for record in together]
    monkeypatch.setattr(memory, "free_memory", lambda device="cpu": 2 * row)
    assert len(here(*options).out.splitlines()) == 7
    assert sizes[-1] == 1


@pytest.mark.parametrize(
    "name", ["generation_config.json", "tokenizer_config.json", "tokenizer.json", "model.safetensors", "vocab.txt"]
)
def test_no_file_of_a_directory_is_waited_for(here: Any, gpt: Path, tmp_path: Path, name: str) -> None:
    hub = copied(gpt, tmp_path)
    if name == "vocab.txt":
        (hub / "tokenizer.json").unlink()
    (hub / name).unlink(missing_ok=True)
    os.mkfifo(hub / name)
    result = here("generate", str(hub), "x")
    assert (result.code, result.out) == (1, "")
    assert "it is a pipe, not a file" in result.err
