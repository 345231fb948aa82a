"""dlkit import of language models: BERT, DistilBERT, RoBERTa and GPT as transformers saves and answers them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "good", "bad", "film", "that", "i", "saw", "it", "was"]
TEXTS = ["a good film that i saw", "it was bad", "a film", "good good good film it was that i saw"]
NLI = ("contradiction", "entailment", "neutral")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with a head for three classes, as transformers saves it."""
    import transformers

    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=24, id2label=dict(enumerate(NLI)), initializer_range=0.5,
    )  # fmt: skip
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)  # pyright: ignore
    return folder


def by_transformers(folder: Path, firsts: list[str], seconds: list[str] | None = None) -> list[dict[str, float]]:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        encoded = tokenizer(firsts, seconds, padding=True, return_tensors="pt")
        probabilities = model(**encoded).logits.softmax(1).tolist()
    return [{model.config.id2label[i]: p for i, p in enumerate(row)} for row in probabilities]


def test_a_bert_answers_as_transformers_and_goes_out_again(here: Any, imported: Any, hub: Path, tmp_path: Path) -> None:
    run = imported(tmp_path / "run", f"hf:{hub}")
    found = here("predict", str(run), *(f" {text}" for text in TEXTS))
    for record, named, expected in zip(found.records, found.probabilities, by_transformers(hub, TEXTS), strict=True):
        assert named == pytest.approx(expected, abs=1e-5)
        assert record["label"] == max(expected, key=expected.__getitem__)
    assert here("export", str(run), str(tmp_path / "out"), "-q").code == 0
    again = imported(tmp_path / "again", str(tmp_path / "out"))
    assert here("predict", str(again), *(f" {text}" for text in TEXTS)).records == found.records
    assert here("inspect-attention", str(run), TEXTS[0]).code == 0


@pytest.fixture(scope="module")
def distilled(hub: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DistilBERT with a head for three classes, as transformers saves it."""
    import transformers

    folder = tmp_path_factory.mktemp("distilbert")
    torch.manual_seed(1)
    config = transformers.DistilBertConfig(
        vocab_size=len(WORDS), dim=16, n_layers=2, n_heads=2, hidden_dim=32, max_position_embeddings=24,
        id2label=dict(enumerate(NLI)), initializer_range=0.5,
    )  # fmt: skip
    transformers.DistilBertForSequenceClassification(config).save_pretrained(folder)
    transformers.BertTokenizerFast(str(hub / "vocab.txt")).save_pretrained(folder)  # pyright: ignore
    return folder


def test_a_distilbert_answers_as_transformers(here: Any, imported: Any, distilled: Path, tmp_path: Path) -> None:
    """Its head has a ReLU, and there are no segments."""
    run = imported(tmp_path / "run", f"hf:{distilled}")
    found = here("predict", str(run), *(f" {text}" for text in TEXTS)).probabilities
    for named, expected in zip(found, by_transformers(distilled, TEXTS), strict=True):
        assert named == pytest.approx(expected, abs=1e-5)
    assert here("inspect-attention", str(run), TEXTS[0]).code == 0
    refused = here("export", str(run), str(tmp_path / "out"))
    assert refused.code == 1 and "Hugging Face's BERT has a tanh in its head" in refused.err


def test_the_tokens_that_a_distilbert_predicts_are_those_of_transformers(distilled: Path, tmp_path: Path) -> None:
    import transformers

    from dlkit.lm.language_model import open_language_model

    model = transformers.DistilBertForMaskedLM(transformers.DistilBertConfig.from_pretrained(distilled)).eval()
    model.save_pretrained(tmp_path / "hub")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "hub" / name).write_bytes((distilled / name).read_bytes())
    opened = open_language_model(str(tmp_path / "hub"), torch.device("cpu"))
    ids = torch.randint(5, len(WORDS), (3, 10), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(opened.model(ids), model(ids).logits, atol=1e-5, rtol=1e-4)
    assert (opened.task, opened.fresh) == ("masked-lm", ())


@pytest.mark.parametrize("pair", [False, True], ids=["texts", "pairs"])
def test_a_roberta_answers_as_transformers(here: Any, imported: Any, tmp_path: Path, pair: bool) -> None:
    """Its positions begin behind the padding's, its separators are two, and there are no segments."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = {token: i for i, token in enumerate([*special, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(alphabet, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    tokenizer.add_special_tokens(special)
    torch.manual_seed(2)
    config = transformers.RobertaConfig(
        vocab_size=len(alphabet), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=130, type_vocab_size=1, id2label=dict(enumerate(NLI)), initializer_range=0.5,
    )  # fmt: skip
    model = transformers.RobertaForSequenceClassification(config).eval()
    model.save_pretrained(tmp_path / "hub")
    tokenizer.save(str(tmp_path / "hub" / "tokenizer.json"))
    run = imported(tmp_path / "run", str(tmp_path / "hub"), "data.text=one", *(["data.pair=two"] if pair else []))
    rows = [{"one": one, "two": two} for one, two in zip(TEXTS, TEXTS[::-1], strict=True)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = here("predict", str(run), "--rows", str(tmp_path / "rows.jsonl"))
    assert result.code == 0, result.err
    for named, row in zip(result.probabilities, rows, strict=True):
        ids = [0, *tokenizer.encode(row["one"]).ids, 2]
        ids += [2, *tokenizer.encode(row["two"]).ids, 2] if pair else []
        with torch.inference_mode():
            expected = model(torch.tensor([ids])).logits[0].softmax(0).tolist()
        assert named == pytest.approx(dict(zip(NLI, expected, strict=True)), abs=1e-5)

    from dlkit.lm.language_model import open_language_model

    masked = transformers.RobertaForMaskedLM(config).eval()
    masked.save_pretrained(tmp_path / "masked")
    tokenizer.save(str(tmp_path / "masked" / "tokenizer.json"))
    opened = open_language_model(str(tmp_path / "masked"), torch.device("cpu"))
    ids = torch.randint(5, len(alphabet), (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(opened.model(ids), masked(ids).logits, atol=1e-5, rtol=1e-4)


def test_pairs_of_a_bert_and_its_classes_in_any_order(here: Any, imported: Any, hub: Path, tmp_path: Path) -> None:
    run = imported(tmp_path / "run", f"hf:{hub}", "data.text=premise", "data.pair=hypothesis", "data.label=gold")
    expected = by_transformers(hub, TEXTS, TEXTS[::-1])
    labels = ["neutral", "entailment", "contradiction", "neutral"]
    with (tmp_path / "pairs.csv").open("w", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(["hypothesis", "premise", "gold"])
        writer.writerows(zip(TEXTS[::-1], TEXTS, labels, strict=True))
    found = here("predict", str(run), "--rows", str(tmp_path / "pairs.csv")).probabilities
    for named, each in zip(found, expected, strict=True):
        assert named == pytest.approx(each, abs=1e-5)
    result = here("eval", str(run), f"data.path={tmp_path / 'pairs.csv'}")
    assert result.code == 0, result.err
    loss = -sum(np.log(each[label]) for each, label in zip(expected, labels, strict=True)) / 4
    assert result.record["metrics"]["loss"] == pytest.approx(loss, abs=1e-5)


def test_a_gpt_becomes_a_run_that_generates(here: Any, imported: Any, tmp_path: Path) -> None:
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=257, n_positions=16, n_embd=16, n_layer=1, n_head=2, eos_token_id=256, bos_token_id=256
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    model.save_pretrained(tmp_path / "hub")
    alphabet = {token: i for i, token in enumerate([*sorted(pre_tokenizers.ByteLevel.alphabet()), "<|endoftext|>"])}
    tokenizer = Tokenizer(models.BPE(alphabet, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    tokenizer.save(str(tmp_path / "hub" / "tokenizer.json"))
    run = imported(tmp_path / "run", str(tmp_path / "hub"))
    result = here("generate", str(run), "the ", "--tokens", "6", "--temperature", "0")
    assert result.code == 0, result.err
    ids = torch.tensor([tokenizer.encode("the ").ids])
    with torch.inference_mode():
        for _ in range(6):
            ids = torch.cat([ids, model(ids).logits[:, -1].argmax(-1, keepdim=True)], 1)
    assert result.record["tokens"] == 6
    from dlkit.lm.language_model import open_language_model

    opened = open_language_model(str(run), torch.device("cpu"))
    with torch.inference_mode():
        torch.testing.assert_close(opened.model(ids), model(ids).logits, atol=1e-5, rtol=1e-4)
    refused = here("predict", str(run), "a text")
    assert refused.code == 2 and refused.err.splitlines()[1].startswith("hint: dlkit generate")
