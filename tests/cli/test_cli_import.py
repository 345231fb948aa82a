"""dlkit import: networks of torchvision and transformers, as these save them, give the same answers as runs."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torchvision.transforms._presets import ImageClassification

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "good", "bad", "film", "that", "i", "saw", "it", "was"]
TEXTS = ["a good film that i saw", "it was bad", "a film", "good good good film it was that i saw"]
NLI = ("contradiction", "entailment", "neutral")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator, root = np.random.default_rng(0), tmp_path_factory.mktemp("photos")
    for label in ("eel", "cat"):  # the model knows a dog too
        (root / label).mkdir()
        for i in range(3):
            pixels = generator.integers(0, 256, (70 + i, 90, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / label / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=3).eval()


@pytest.fixture(scope="module")
def file(network: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    torch.save(network.state_dict(), folder / "resnet18.pth")
    (folder / "names.txt").write_text("cat\ndog\neel\n")
    return folder / "resnet18.pth"


def records(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def named(record: dict[str, Any]) -> dict[str, float]:
    return {entry["label"]: entry["probability"] for entry in record["top"]}


def imported(here: Any, run: Path, *arguments: str) -> Path:
    result = here("import", *arguments, "--run-dir", str(run))
    assert result.code == 0, result.err
    assert result.record["run"] == str(run)
    return run


def by_torchvision(network: torch.nn.Module, files: list[Path], **preset: Any) -> torch.Tensor:
    """With the transform that torchvision publishes beside its weights."""
    see = ImageClassification(**{"crop_size": 64, "resize_size": round(64 / 0.875), **preset})
    with torch.inference_mode():
        return network(torch.stack([see(Image.open(file)) for file in files])).softmax(1)


def test_a_file_of_torchvision_answers_as_torchvision(
    here: Any, network: torch.nn.Module, file: Path, photos: Path, tmp_path: Path
) -> None:
    names = str(file.with_name("names.txt"))
    run = imported(here, tmp_path / "run", str(file), "data.size=64", "--model", "resnet18", "--classes", names)
    files = sorted(photos.glob("*/*"))
    result = here("predict", str(run), str(photos))
    assert result.code == 0, result.err
    expected = by_torchvision(network, files)
    for record, each in zip(records(result.out), expected.tolist(), strict=True):
        assert named(record) == pytest.approx(dict(zip(("cat", "dog", "eel"), each, strict=True)), abs=1e-5)

    result = here("eval", str(run), f"data.path={photos}")  # classes by name: eel is the last of the three here
    right = [("cat", "dog", "eel")[i] == path.parent.name for i, path in zip(expected.argmax(1), files, strict=True)]
    assert result.record["metrics"]["accuracy"] == pytest.approx(sum(right) / 6)
    wanted = torch.tensor([{"cat": 0, "eel": 2}[path.parent.name] for path in files])
    loss = torch.nn.functional.nll_loss(expected.log(), wanted).item()
    assert result.record["metrics"]["loss"] == pytest.approx(loss, abs=1e-5)
    assert (result.record["n"], result.record["step"]) == (6, 0)

    ood = records(here("eval", str(run), f"data.path={photos}", "--ood", "noise").out)
    assert ood[1]["kind"] == "out-of-distribution"
    again = imported(
        here, tmp_path / "again", str(run), "data.size=64", "--model", "resnet18"
    )  # which names its classes
    assert records(here("predict", str(again), str(photos)).out) == records(here("predict", str(run), str(photos)).out)


def test_classes_that_differ_are_both_listed(here: Any, file: Path, photos: Path, tmp_path: Path) -> None:
    result = here("import", str(file), "data.size=64", "--model", "resnet18", "--run-dir", str(tmp_path / "run"))
    assert result.code == 0
    assert "does not name its classes: they are 0 to 2; --classes names them" in result.err
    assert result.record["remarks"]
    result = here("eval", str(tmp_path / "run"), f"data.path={photos}")
    assert result.code == 1
    assert "the classes cat, eel; the model was trained on" in result.err and "the classes 0, 1, 2" in result.err
    result = here("eval", str(tmp_path / "run"))
    assert (result.code, result.err.splitlines()[1]) == (1, "hint: data.path says where the data is")


def test_a_directory_of_timm_says_how_images_are_seen(
    here: Any, network: torch.nn.Module, photos: Path, tmp_path: Path
) -> None:
    """timm's ResNets have torchvision's names; config.json has size, crop, statistics and labels."""
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]
    folder = tmp_path / "hub"
    folder.mkdir()
    save_file(network.state_dict(), folder / "model.safetensors")
    pretrained = {"input_size": [3, 48, 48], "crop_pct": 0.75, "mean": mean, "std": std, "interpolation": "bilinear"}
    config = {
        "architecture": "resnet18",
        "num_classes": 3,
        "pretrained_cfg": pretrained,
        "label_names": ["x", "y", "z"],
    }
    (folder / "config.json").write_text(json.dumps(config))
    run = imported(here, tmp_path / "run", f"hf:{folder}")
    expected = by_torchvision(network, sorted(photos.glob("*/*")), crop_size=48, resize_size=64, mean=mean, std=std)
    for record, each in zip(records(here("predict", str(run), str(photos)).out), expected.tolist(), strict=True):
        assert named(record) == pytest.approx(dict(zip("xyz", each, strict=True)), abs=1e-5)


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


def test_a_bert_answers_as_transformers_and_goes_out_again(here: Any, hub: Path, tmp_path: Path) -> None:
    run = imported(here, tmp_path / "run", f"hf:{hub}")
    found = records(here("predict", str(run), *(f" {text}" for text in TEXTS)).out)
    for record, expected in zip(found, by_transformers(hub, TEXTS), strict=True):
        assert named(record) == pytest.approx(expected, abs=1e-5)
        assert record["label"] == max(expected, key=expected.__getitem__)
    assert here("export", str(run), str(tmp_path / "out"), "-q").code == 0
    again = imported(here, tmp_path / "again", str(tmp_path / "out"))
    assert records(here("predict", str(again), *(f" {text}" for text in TEXTS)).out) == found
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


def test_a_distilbert_answers_as_transformers(here: Any, distilled: Path, tmp_path: Path) -> None:
    """Its head has a ReLU, and there are no segments."""
    run = imported(here, tmp_path / "run", f"hf:{distilled}")
    found = records(here("predict", str(run), *(f" {text}" for text in TEXTS)).out)
    for record, expected in zip(found, by_transformers(distilled, TEXTS), strict=True):
        assert named(record) == pytest.approx(expected, abs=1e-5)
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


def test_pairs_of_a_bert_and_its_classes_in_any_order(here: Any, hub: Path, tmp_path: Path) -> None:
    run = imported(here, tmp_path / "run", f"hf:{hub}", "data.text=premise", "data.pair=hypothesis", "data.label=gold")
    expected = by_transformers(hub, TEXTS, TEXTS[::-1])
    labels = ["neutral", "entailment", "contradiction", "neutral"]
    with (tmp_path / "pairs.csv").open("w", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(["hypothesis", "premise", "gold"])
        writer.writerows(zip(TEXTS[::-1], TEXTS, labels, strict=True))
    for record, each in zip(
        records(here("predict", str(run), "--rows", str(tmp_path / "pairs.csv")).out), expected, strict=True
    ):
        assert named(record) == pytest.approx(each, abs=1e-5)
    result = here("eval", str(run), f"data.path={tmp_path / 'pairs.csv'}")
    assert result.code == 0, result.err
    loss = -sum(np.log(each[label]) for each, label in zip(expected, labels, strict=True)) / 4
    assert result.record["metrics"]["loss"] == pytest.approx(loss, abs=1e-5)


def test_a_gpt_becomes_a_run_that_generates(here: Any, tmp_path: Path) -> None:
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
    run = imported(here, tmp_path / "run", str(tmp_path / "hub"))
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


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["gone.pth", "--model", "resnet18"], 1, "no such file or directory: gone.pth"),
        (["hf:owner/name"], 1, "no such file or directory: owner/name"),
        (["{file}"], 2, "{file} does not say which model it is of"),
        (["{file}", "--model", "resnet19"], 2, "no such model: resnet19 (did you mean resnet18?)"),
        (["{file}", "--model", "resnet34"], 1, "{file}: the weights do not fit the model"),
        (["{file}", "--model", "convnext_tiny"], 1, "{file}: the weights do not fit the model"),
        (["trunk.pth", "--model", "resnet18"], 1, "the weights have no last layer fc.weight"),
        (["{file}", "--model", "resnet18", "--classes", "two.txt"], 2, "2 names of classes, {file} has 3 outputs"),
        (["{file}", "--model", "resnet18", "--classes", "twice.txt"], 2, "twice.txt: the class 'a' stands twice"),
        (["{file}", "--model", "resnet18", "--classes", "gone.txt"], 1, "cannot read gone.txt"),
        (["{file}", "--model", "resnet18", "--mean", "a,b"], 2, "--mean a,b: no numbers"),
        (["{file}", "--model", "resnet18", "--mean", "0,0,0"], 2, "--mean and --std go together"),
        (
            ["{file}", "--model", "resnet18", "--mean", "0,0", "--std", "1,1"],
            2,
            "mean and std are 0.0, 0.0 and 1.0, 1.0",
        ),
        (["{file}", "--model", "resnet18", "data.sise=3"], 2, "1 problem in the recipe"),
        (["{hub}", "--model", "resnet18"], 2, "--model resnet18: {hub}/config.json says what the model is"),
        (["text.pth", "--model", "resnet18"], 1, "text.pth holds more than tensors"),
        (["{file}", "--model", "resnet18", "--run-dir", "full"], 2, "full is not empty and holds no run"),
    ],
)
def test_wrong_requests(
    here: Any,
    file: Path,
    hub: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    error: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.txt").write_text("a\nb\n")
    (tmp_path / "twice.txt").write_text('["a", "b", "a"]')
    (tmp_path / "text.pth").write_text("no weights")
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "trunk.pth")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("")
    result = here("import", *(text.format(file=file, hub=hub) for text in arguments))
    assert (result.code, result.out) == (code, "")
    *_, line, hint = result.err.splitlines() if "hint: " in result.err else [*result.err.splitlines(), "hint: "]
    assert f"error: {error.format(file=file, hub=hub)}" in line
    assert hint.startswith("hint: ")
    assert not (tmp_path / "runs").exists()
