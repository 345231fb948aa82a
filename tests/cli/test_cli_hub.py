"""Hugging Face directories from the shell: classes by name, ends of texts, padded vocabularies, bits per byte."""

from __future__ import annotations

import io
import json
import math
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlkit.cli.app import run

NLI = ["entailment", "neutral", "contradiction"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "aye", "hmm", "nay", "it", "is"]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Let standard input hold these bytes."""

    def put(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))

    return put


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of transformers: aye means the first class, hmm the second, nay the third."""
    transformers = pytest.importorskip("transformers")
    import torch

    transformers.logging.disable_progress_bar()
    path = tmp_path_factory.mktemp("hub") / "nli"
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=16, id2label=dict(enumerate(NLI)), hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    model = transformers.BertForSequenceClassification(config)
    tokens, wanted = torch.tensor([[2, 8, 9, word, 3] for word in (5, 6, 7)]), torch.arange(3)
    model.eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
        pooled = model.bert(tokens).pooler_output  # (3, 16), of rank 3
        model.classifier.weight.copy_(9 * torch.linalg.pinv(pooled).T)
        model.classifier.bias.zero_()
        assert (model(tokens).logits.argmax(-1) == wanted).all()
    model.save_pretrained(path)
    (path / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS))
    return path


def rows(folder: Path, names: list[str]) -> Path:
    file = folder / "rows.jsonl"
    each = [{"text": f"it is {word}", "label": name} for word, name in zip(("aye", "hmm", "nay"), names, strict=True)]
    file.write_text("".join(json.dumps(row) + "\n" for row in each * 10))
    return file


def accuracy(here: Any, hub: Path, file: Path, folder: Path, *changes: str) -> Any:
    """Of the weights as they are: the learning rate is too small to change them."""
    arguments = ["train", "texts-bert", f"data.path={file}", f"model.weights={hub}", "data.context=16", *changes]
    trained = here(*arguments, "optimizer.lr=1e-20", "train.epochs=1", "--run-dir", str(folder / "run"))
    if trained.code:
        return trained
    return here("eval", str(folder / "run")).record["metrics"]["accuracy"], trained.err


@pytest.mark.parametrize(
    "names", [NLI, [name.upper() for name in NLI], ["Entailment", "NEUTRAL", "Contradiction"]], ids=str
)
def test_classes_of_a_pretrained_head_go_by_name(here: Any, classifier: Path, tmp_path: Path, names: list[str]) -> None:
    assert accuracy(here, classifier, rows(tmp_path, names), tmp_path)[0] == 1.0


def test_other_names_are_an_error_with_both_lists(here: Any, classifier: Path, tmp_path: Path) -> None:
    file = rows(tmp_path, ["yes", "perhaps", "no"])
    result = accuracy(here, classifier, file, tmp_path)
    assert result.code == 2
    assert "has the classes entailment, neutral, contradiction; the data has no, perhaps, yes" in result.err
    assert "model.new_head=true" in result.err
    assert accuracy(here, classifier, file, tmp_path, "model.labels=['yes', perhaps, 'no']")[0] == 1.0
    shutil.rmtree(tmp_path / "run")
    _, told = accuracy(here, classifier, file, tmp_path, "model.new_head=true")
    assert "model.new_head is set: the last layer starts anew" in told


def test_names_that_say_nothing_go_by_place_and_that_is_told(here: Any, classifier: Path, tmp_path: Path) -> None:
    shutil.copytree(classifier, tmp_path / "hub")
    config = json.loads((classifier / "config.json").read_text())
    config |= {"id2label": {str(i): f"LABEL_{i}" for i in range(3)}}
    (tmp_path / "hub" / "config.json").write_text(json.dumps(config))
    right, told = accuracy(here, tmp_path / "hub", rows(tmp_path, ["a", "b", "c"]), tmp_path)
    assert right == 1.0
    assert "does not name its classes: LABEL_0 as a, LABEL_1 as b, LABEL_2 as c" in told


def test_classes_of_a_run_go_by_name_too(here: Any, classifier: Path, tmp_path: Path) -> None:
    accuracy(here, classifier, rows(tmp_path, NLI), tmp_path)
    (tmp_path / "again").mkdir()
    result = accuracy(here, tmp_path / "run", rows(tmp_path, ["x", "y", "z"]), tmp_path / "again")
    assert result.code == 2
    assert "has the classes contradiction, entailment, neutral; the data has x, y, z" in result.err


def test_an_encoder_is_not_exported_with_a_random_head(here: Any, classifier: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(classifier, tmp_path / "hub")
    tensors = load_file(classifier / "model.safetensors")
    bare = {name: value for name, value in tensors.items() if not name.startswith("classifier")}
    save_file(bare, tmp_path / "hub" / "model.safetensors")
    result = here("export", str(tmp_path / "hub"), str(tmp_path / "out"))
    assert result.code == 1
    assert "an export would hold values that nobody trained" in result.err
    assert not (tmp_path / "out").exists()
    result = here("inspect-attention", str(tmp_path / "hub"), "it is aye")
    assert result.code == 0
    assert "hub lacks a head for masked-lm: only its encoder is inspected" in result.err
    assert here("export", str(classifier), str(tmp_path / "out"), "-q").code == 0
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert [config["id2label"][str(i)] for i in range(3)] == NLI


def test_what_a_masked_model_lacks_is_named_wherever_it_is_opened(here: Any, classifier: Path, tmp_path: Path) -> None:
    """transformers writes a tied decoder's bias alone; without it the head is there, but for one vector."""
    import transformers
    from safetensors.torch import load_file, save_file

    config = transformers.BertConfig.from_pretrained(classifier)
    hub = tmp_path / "hub"
    transformers.BertForMaskedLM(config).save_pretrained(hub)
    shutil.copy(classifier / "vocab.txt", hub)
    (tmp_path / "t.txt").write_text("it is aye\n" * 40)
    tensors = load_file(hub / "model.safetensors")
    del tensors["cls.predictions.bias"]
    save_file(tensors, hub / "model.safetensors")

    result = here("export", str(hub), str(tmp_path / "out"))
    assert result.code == 1
    assert re.fullmatch(r"error: .*hub lacks head\.decoder\.bias: an export would .*\nhint: .*\n", result.err)
    assert not (tmp_path / "out").exists()
    result = here("inspect-attention", str(hub), "it is aye")
    assert "hub lacks head.decoder.bias: only its encoder is inspected" in result.err
    result = here("inspect-attention", str(hub), "it is aye", "--ablate")
    assert (result.code, "hub lacks head.decoder.bias: there is no loss" in result.err) == (2, True)
    result = here(
        "train", "pydoc-bert", "model.name=bert", f"model.weights={hub}", "~tokenizer", "data.context=16",
        "data.name=text", f"data.path={tmp_path / 't.txt'}", "train.epochs=null", "train.steps=1",
        "--run-dir", str(tmp_path / "run"),
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "does not have head.decoder.bias: they start anew" in result.err


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


def test_prompts_do_not_change_each_others_texts(here: Any, typed: Any, gpt: Path) -> None:
    prompts = ["R", "Before we proceed any further, hear me speak", "with\fa\u2028b", "import"]
    options = ("--tokens", "40", "--json", "-n", "2", "--top-k", "50")
    typed("".join(f"{prompt}\r\n" for prompt in prompts).encode("utf-8-sig"))
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
    together = [json.loads(line) for line in here(*options).out.splitlines()]
    assert sizes[0] == 7
    # what two rows take: keys and values (1 layer of 16 numbers, 24 slots), twice; the prompt; logits
    row = 4 * (2 * 2 * 16 * 24 + 16 * 16 * 16 + 16 * 301)
    monkeypatch.setattr(generation, "_BATCH_BYTES", 2 * row)
    sizes.clear()
    apart = [json.loads(line) for line in here(*options).out.splitlines()]
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
