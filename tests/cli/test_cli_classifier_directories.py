"""Directories of classifiers from the shell: classes by name, and heads that are not there."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

NLI = ["entailment", "neutral", "contradiction"]


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "aye", "hmm", "nay", "it", "is"]


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
