"""Text models and texts of the user's own: plain torch and plain strings, trained as torch alone trains them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from dlkit import load
from dlkit.tasks.task_data import load_data
from dlkit.user_code import set_trust

CODE = """
import torch
from torch import nn


class Recurrent(nn.Module):
    def __init__(self, vocabulary_size, context, *, width: int = 16):
        super().__init__()
        torch.manual_seed(7)
        self.vocabulary = nn.Embedding(vocabulary_size, width)  # dlkit's own models have a number of this name
        self.rnn = nn.GRU(width, width, batch_first=True)
        self.out = nn.Linear(width, vocabulary_size)

    def forward(self, token_ids):
        return self.out(self.rnn(self.vocabulary(token_ids))[0])


class LastOnly(Recurrent):
    def forward(self, token_ids):
        return super().forward(token_ids)[:, -1]


class Untensored(Recurrent):
    def forward(self, token_ids):
        return [super().forward(token_ids)]


class BagOfWords(nn.Module):
    def __init__(self, vocabulary_size, context, num_classes, *, width: int = 16):
        super().__init__()
        torch.manual_seed(7)
        self.words = nn.Embedding(vocabulary_size, width)
        self.segments = nn.Embedding(2, width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, token_ids, segment_ids, attention_mask):
        x = self.words(token_ids)
        if segment_ids is not None:
            x = x + self.segments(segment_ids)
        kept = attention_mask[..., None].to(x.dtype)
        return self.head((x * kept).sum(1) / kept.sum(1))


def ramblings(copies: int = 4):
    return {"train": "to be or not so " * copies, "val": "or not to be so "}


def reviews():
    rows = [("a good film " * (1 + i % 3), "yes") if i % 2 else ("a bad film", "no") for i in range(12)]
    return {"train": rows, "test": rows[:5]}


def comparisons():
    return {"train": [("good", "so", "better"), ("bad", "so", "worse")] * 3}


def strange():
    return {"train": [("good", "yes"), ("bad", "no")], "test": [("so", "perhaps")]}


def uneven():
    return {"train": [("good", "yes"), 3]}


def listed():
    return ["train"]


def unnamed():
    return {"training": "text"}
"""
CAUSAL = """
task: causal-lm
data: {name: mine.py:ramblings, context: 16, batch_size: 4}
tokenizer: {name: byte}
model: {name: mine.py:Recurrent, width: 8}
optimizer: {name: sgd, lr: 0.5}
train: {steps: 6, eval_every: never, checkpoint_every: never, precision: fp32, compile: off}
"""
MASKED = CAUSAL.replace("causal-lm", "masked-lm").replace("{name: byte}", "{name: wordpiece, vocab_size: 100}")
TEXTS = """
task: text-classification
data: {name: mine.py:reviews, context: 12, batch_size: 12}
tokenizer: {name: wordpiece, vocab_size: 100}
model: {name: mine.py:BagOfWords, width: 8}
optimizer: {name: sgd, lr: 0.5}
train: {steps: 6, eval_every: never, checkpoint_every: never, precision: fp32, compile: off}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(CODE)
    for name, recipe in (("causal", CAUSAL), ("masked", MASKED), ("texts", TEXTS)):
        Path(f"{name}.yaml").write_text(recipe)
    return tmp_path


def written(name: str) -> Any:
    """What the user's file defines."""
    names: dict[str, Any] = {}
    exec(CODE, names)
    return names[name]


def trained_by_torch(model: nn.Module, loss: Any, steps: int = 6) -> dict[str, Tensor]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for step in range(steps):
        optimizer.zero_grad()
        loss(step).backward()
        optimizer.step()
    return model.state_dict()


def require_same_weights(run: str, expected: dict[str, Tensor]) -> dict[str, Any]:
    """The state of the run's last checkpoint, whose weights must be these."""
    weights = load_file(f"{run}/checkpoints/last/model.safetensors")
    assert weights.keys() == expected.keys()
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-5)
    state = json.loads(Path(f"{run}/checkpoints/last/state.json").read_text())
    assert state["data"]["code"] == {"mine.py": hashlib.sha256(CODE.encode()).hexdigest()}
    return state


def test_a_causal_language_model_of_ones_own_learns_as_by_torch_alone(here, folder: Path) -> None:
    trained = here("train", "causal.yaml", "--trust", "--run-dir", "run", "--device", "cpu")
    assert trained.code == 0, trained.err
    token_ids = torch.tensor([256, *b"to be or not so " * 4])  # the separator has the id behind those of bytes
    windows = token_ids[:-1].view(4, 16)
    model = written("Recurrent")(257, 16, width=8)
    weights = trained_by_torch(model, lambda step: F.cross_entropy(model(windows).flatten(0, 1), token_ids[1:]))
    assert require_same_weights("run", weights)["data"]["own_model"] == "code/mine.py:Recurrent"
    held_out = torch.tensor([256, *b"or not to be so "])
    with torch.no_grad():
        nats = F.cross_entropy(model(held_out[None, :-1])[0], held_out[1:]).item()
    measured = here("eval", "run", "--trust", "--device", "cpu")
    assert measured.record["metrics"]["loss"] == pytest.approx(nats, rel=1e-4)
    assert measured.record["metrics"]["bits_per_byte"] == pytest.approx(nats / 0.693147, rel=1e-4)


def test_a_masked_language_model_of_ones_own_learns_as_by_torch_alone(here, folder: Path) -> None:
    trained = here("train", "masked.yaml", "--trust", "--run-dir", "run", "--device", "cpu")
    assert trained.code == 0, trained.err
    set_trust(True)
    recipe = load("masked.yaml")
    data = load_data(recipe)
    source = data.batches(recipe, "train", torch.device("cpu"), True)
    batches: list[Any] = [batch for epoch in range(6) for batch in source.epoch(epoch)]
    saved = json.loads(Path("run/checkpoints/last/state.json").read_text())["data"]
    model = written("Recurrent")(Tokenizer.from_str(saved["tokenizer"]).get_vocab_size(), 16, width=8)

    def loss(step: int) -> Tensor:
        batch = batches[step]
        return F.cross_entropy(model(batch.token_ids).flatten(0, 1)[batch.positions], batch.targets)

    require_same_weights("run", trained_by_torch(model, loss))
    assert here("eval", "run", "--trust", "--device", "cpu").code == 0


def test_a_classifier_of_ones_own_learns_and_predicts_as_by_torch_alone(here, folder: Path) -> None:
    whole = here("train", "texts.yaml", "--trust", "--run-dir", "run", "train.steps=4", "--device", "cpu")
    assert whole.code == 0, whole.err
    assert here("train", "run", "--resume", "train.steps=6", "--trust", "--device", "cpu").code == 0
    saved = json.loads(Path("run/checkpoints/last/state.json").read_text())["data"]
    tokenizer = Tokenizer.from_str(saved["tokenizer"])
    rows = written("reviews")()["train"]
    begin, end = (tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]"))

    def inputs(texts: list[str]) -> tuple[Tensor, None, Tensor]:
        each = [[begin, *tokenizer.encode(text, add_special_tokens=False).ids, end] for text in texts]
        longest = max(map(len, each))
        mask = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids in each])
        return torch.tensor([ids + [0] * (longest - len(ids)) for ids in each]), None, mask.bool()

    targets = torch.tensor([["no", "yes"].index(label) for _, label in rows])
    model = written("BagOfWords")(tokenizer.get_vocab_size(), 12, 2, width=8)
    given = inputs([text for text, _ in rows])
    require_same_weights("run", trained_by_torch(model, lambda step: F.cross_entropy(model(*given), targets)))
    predicted = here("predict", "run", "a good film", "--trust", "--device", "cpu")
    probability = model(*inputs(["a good film"])).softmax(-1)[0].max().item()
    assert predicted.record["probability"] == pytest.approx(probability, rel=1e-4)
    assert here("eval", "run", "--trust").record["metrics"]["accuracy"] == whole.record["metrics"]["test/accuracy"]


def test_pairs_of_ones_own_are_predicted_by_their_columns(here, folder: Path) -> None:
    changes = ["data.name=mine.py:comparisons", "data.batch_size=6", "train.steps=20"]
    assert here("train", "texts.yaml", "--trust", "--run-dir", "run", *changes).code == 0
    Path("new.csv").write_text("second,text\nso,bad\nso,good\n")
    predicted = here("predict", "run", "--rows", "new.csv", "--trust")
    assert [record["label"] for record in predicted.records] == ["worse", "better"]


def test_what_needs_the_layers_of_a_gpt_refuses_a_model_of_ones_own(here, folder: Path) -> None:
    assert here("train", "causal.yaml", "--trust", "--run-dir", "run", "train.steps=1").code == 0
    for command in (
        ("generate", "run", "to be"),
        ("inspect-attention", "run", "to be"),
        ("compress", "mine.py", "--model", "run"),
        ("entropy", "mine.py", "--model", "run"),
        ("export", "run", "exported"),
    ):
        refused = here(*command, "--trust")
        assert refused.code == 2, command
        assert refused.err.splitlines()[-2] == (
            "error: run holds Recurrent, a model of your own, and this needs the layers of dlkit's BERT or GPT"
        )
    untrusted = here("eval", "run")
    assert untrusted.code == 2 and "is code of your own, and this would run it" in untrusted.err
    longer = here("eval", "run", "--trust", "data.context=32")
    assert longer.code == 2 and "more than the 16 tokens that the model was made for" in longer.err


@pytest.mark.parametrize(
    ("recipe", "change", "words"),
    [
        ("causal", "model.widht=3", "model.widht: unknown key (did you mean width?)"),
        ("causal", "model.width=wide", "model.width: expected a whole number"),
        ("causal", "model={name: mine.py:LastOnly}", "LastOnly returns a tensor of shape (4, 257) for the first batch"),
        ("causal", "model={name: mine.py:Untensored}", "Untensored returns a list for the first batch"),
        ("texts", "model={name: mine.py:Recurrent}", "Recurrent takes 2 positional arguments, 3 come"),
        ("causal", "data.name=mine.py:reviews", "reviews: train is [('a bad film', 'no')"),
        ("causal", "data.name=mine.py:listed", "listed returned a list"),
        ("causal", "data.name=mine.py:unnamed", "unnamed returned a split 'training'; splits are train, val, test"),
        ("texts", "data.name=mine.py:ramblings", "ramblings: train is 'to be or not so"),
        ("texts", "data.name=mine.py:strange", "strange: test has the label 'perhaps'; the classes are no, yes"),
        ("texts", "data.name=mine.py:uneven", "uneven: example 1 of train is 3"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_text_of_ones_own_is_said_in_a_line(
    here, folder: Path, recipe: str, change: str, words: str
) -> None:
    refused = here("train", f"{recipe}.yaml", "--trust", "--run-dir", "run", change)
    assert refused.code == 2
    assert words in refused.err
    assert "Traceback" not in refused.err and "internal" not in refused.err
