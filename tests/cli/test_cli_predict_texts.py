"""dlkit predict on texts and pairs of texts: equal to transformers on the exported model; lines, tables, pipes."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from dlkit.cli.app import run as dlkit

TEXTS = [
    "a good film that I saw",
    "bad",
    "it was, all in all, a very long and very bad film that I saw twice",
    "a film",
]
RECIPE = """task: text-classification
data: {{name: texts, path: {path}, text: review, label: mood, {pair}batch_size: 3, context: 32, test: 0.0}}
model: {{name: bert, layers: 1, width: 16, heads: 2, context: 32}}
tokenizer: {{name: wordpiece, vocab_size: 120}}
loss: {{name: cross_entropy}}
optimizer: {{name: adamw, lr: 0.01}}
train: {{epochs: 4, precision: fp32}}
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "reviews.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "review", "reply", "mood"])
        for i in range(60):
            word, mood = (("good", "glad"), ("bad", "sad"))[i % 2]
            writer.writerow([i, f"a {word} film {'that I saw ' * (i % 5)}", f"all {word} and so on"[: 4 + i % 9], mood])
    return path


def trained(table: Path, name: str, pair: str) -> Path:
    (table.parent / f"{name}.yaml").write_text(RECIPE.format(path=table, pair=pair))
    folder = table.parent / name
    assert dlkit(["train", str(table.parent / f"{name}.yaml"), "--run-dir", str(folder), "-q"]) == 0
    return folder


@pytest.fixture(scope="module")
def single(table: Path) -> Path:
    return trained(table, "single", "")


@pytest.fixture(scope="module")
def paired(table: Path) -> Path:
    return trained(table, "paired", "pair: reply, ")


def by_transformers(here: Any, run: Path, rows: list[tuple[str, ...]]) -> list[dict[str, float]]:
    """Each row alone, unpadded, through the exported model: label -> probability."""
    transformers = pytest.importorskip("transformers")
    hub = run.with_name(f"{run.name}-hub")
    if not hub.exists():
        assert here("export", str(run), str(hub), "-q").code == 0
    tokenizer = transformers.AutoTokenizer.from_pretrained(hub)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(hub).eval()
    found: list[dict[str, float]] = []
    for row in rows:
        ids, segments = [tokenizer.cls_token_id], [0]
        for number, text in enumerate(row):
            new = [*tokenizer.encode(text, add_special_tokens=False), tokenizer.sep_token_id]
            ids, segments = ids + new, segments + [number] * len(new)
        with torch.inference_mode():
            logits = model(torch.tensor([ids]), token_type_ids=torch.tensor([segments])).logits[0]
        found.append({model.config.id2label[i]: p for i, p in enumerate(logits.softmax(0).tolist())})
    return found


def test_texts_equal_transformers_in_their_order(here: Any, piped: Any, single: Path, tmp_path: Path) -> None:
    """Batches of three that are sorted by length and padded, against each text alone."""
    many = [*TEXTS, *TEXTS[::-1]] * 3
    (tmp_path / "texts.txt").write_text("\n".join(many) + "\n\n")
    result = here("predict", str(single), str(tmp_path / "texts.txt"))
    assert result.code == 0, result.err
    found = result.records
    assert [record["input"] for record in found] == many
    answers = by_transformers(here, single, [(text,) for text in many])
    for record, named, expected in zip(found, result.probabilities, answers, strict=True):
        assert named == pytest.approx(expected, abs=1e-6)
        assert record["label"] == max(expected, key=expected.__getitem__)
    labels = [record["label"] for record in found]
    assert {"glad", "sad"} == set(labels)
    assert piped("\n".join(many).encode(), "predict", str(single), "-", "-q").out.splitlines() == labels
    assert here("predict", str(single), TEXTS[0], TEXTS[2], "-q").out.splitlines() == [labels[0], labels[2]]


def test_pairs_come_from_columns(here: Any, piped: Any, paired: Path, table: Path, tmp_path: Path) -> None:
    result = here("predict", str(paired), "--rows", str(table))
    assert result.code == 0, result.err
    rows = list(csv.DictReader(table.open()))
    expected = by_transformers(here, paired, [(row["review"], row["reply"]) for row in rows])
    assert [record["input"] for record in result.records] == rows
    for named, each in zip(result.probabilities, expected, strict=True):
        assert named == pytest.approx(each, abs=1e-6)
    lines = "".join(json.dumps({"reply": row["reply"], "review": row["review"]}) + "\n" for row in rows[:5])
    from_pipe = piped(lines.encode(), "predict", str(paired), "--rows", "-")
    assert from_pipe.probabilities == [pytest.approx(each, abs=1e-6) for each in expected[:5]]
    out = tmp_path / "scored.csv"
    assert here("predict", str(paired), "--rows", str(table), "--out", str(out)).code == 0
    with out.open() as file:
        scored = list(csv.DictReader(file))
    assert [{name: row[name] for name in rows[0]} for row in scored] == rows
    assert [float(row["probability"]) for row in scored] == pytest.approx([max(e.values()) for e in expected], abs=1e-6)


def test_texts_that_cannot_be_read(here: Any, piped: Any, single: Path) -> None:
    result = piped(b"good film\n\xff\nbad film\n", "predict", str(single), "-")
    assert (result.code, [record["error"] for record in result.records]) == (
        1,
        [None, "not UTF-8: byte 0xff", None],
    )
    rows = b'{"review": "good"}\n{"review": 3}\n{"mood": "sad"}\n'
    result = piped(rows, "predict", str(single), "--rows", "-")
    errors = [record["error"] for record in result.records]
    assert errors == [None, "column 'review' has no text: 3", "column 'review' has no text: None"]


@pytest.mark.parametrize(
    ("run", "arguments", "code", "error", "hint"),
    [
        (
            "single",
            ["good"],
            1,
            "no such file: good",
            "a text of one word comes through a pipe: echo good | dlkit predict",
        ),
        ("single", ["."], 1, "cannot read: Is a directory: .", "give a file"),
        (
            "single",
            ["--rows", "other.csv"],
            2,
            "the rows have no column 'review'; theirs are x",
            "the run reads review",
        ),
        ("paired", ["a text"], 2, "this run reads review, reply of each example, not one text", "give a table"),
        ("paired", ["--rows", "gone.csv"], 1, "no such file: gone.csv", "give a file"),
        ("single", ["--rows", "lines.txt"], 2, "lines.txt: not a table of a known kind", "its name must end in .csv"),
        ("single", ["rows.tsv"], 2, "rows.tsv: not a table of a known kind", "its name must end in .csv"),
    ],
)
def test_wrong_requests(
    here: Any,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: str,
    arguments: list[str],
    code: int,
    error: str,
    hint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("other.csv", "lines.txt", "rows.tsv"):
        (tmp_path / name).write_text("x\n1\n")
    result = here("predict", str(request.getfixturevalue(run)), *arguments)
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith(f"error: {error}")
    assert result.err.splitlines()[1].startswith(f"hint: {hint}")
