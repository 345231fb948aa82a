"""SST-2, IMDB, GLUE and SuperGLUE as labelled texts, from generated data in the real schemas, to a training step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from dlkit.data.registry import DATASETS
from dlkit.data.text import glue, prepared
from dlkit.data.text.labelled import LabelledTexts
from dlkit.data.text.sentences import sentences
from dlkit.data.text.text_columns import TEXT_COLUMNS
from dlkit.errors import DlkitError, RequestError

CONFIGS = [
    *((name, glue.glue) for name in TEXT_COLUMNS if name.startswith("glue/")),
    *((name, glue.superglue) for name in (*TEXT_COLUMNS, "superglue/copa", "superglue/record") if "superglue" in name),
    ("sst2", glue.sst2),
    ("imdb", glue.imdb),
]


def read(name: str, loader: Any) -> LabelledTexts:
    return loader(config=name.partition("/")[2]) if "/" in name else loader(validation=0.0)


@pytest.mark.parametrize(("name", "loader"), CONFIGS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_task_is_read_and_trains(hub: Any, obtain: Any, tmp_path: Any, name: str, loader: Any) -> None:
    from dlkit import recipe
    from dlkit.assemble import assemble_training

    hub.add(name)
    obtain(name)
    data, tables = read(name, loader), prepared.load_prepared_texts(name).tables
    if name.endswith("record"):
        labels = [0.0] * (tables["train"].num_rows - 1)  # the first of the generated rows has no answer
    else:
        labels = [float(value) for value in tables["train"]["label"].to_pylist()]
    assert data.splits["train"].targets.tolist() == labels
    assert len(data.splits["train"].first) == len(labels) * (2 if name.endswith("copa") else 1)
    assert all("train line" in text for text in data.splits["train"].first)
    for examples in data.splits.values():
        assert examples.second is None or len(examples.second) == len(examples.first)
    section, _, config = name.partition("/")
    changes = [
        f"data.name={section}",
        *([f"data.config={config}"] if config else []),
        "data.validation=0",
        "model.layers=1",
        "train.epochs=1",
    ]
    if data.answer == "number":
        changes.append("loss.name=squared_error")
    built = assemble_training(recipe.load("sst2-bert", changes), torch.device("cpu"))
    batch = next(iter(built.training.batches.epoch(0)))
    loss, _ = built.training.task.forward(built.training.model, batch)
    loss.backward()
    assert loss.isfinite()
    assert built.dataset.sources["rows"]["train"] == len(labels)


def test_rows_whose_label_is_hidden_are_left_out(hub: Any, obtain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa

    hub.add("glue/rte")
    obtain("glue/rte")
    whole = prepared.load_prepared_texts("glue/rte")
    hidden = whole.tables["test"]
    place = hidden.column_names.index("label")
    whole.tables["test"] = hidden.set_column(place, "label", pa.array([-1] * hidden.num_rows, hidden["label"].type))
    monkeypatch.setattr(prepared, "load_prepared_texts", lambda _: whole)
    assert sorted(glue.glue(config="rte").splits) == ["train", "val"]


def test_what_cannot_be_read(hub: Any, obtain: Any) -> None:
    with pytest.raises(DlkitError) as caught:
        glue.glue(config="rte")
    assert "dlkit download glue/rte" in str(caught.value.hint)
    hub.add("glue/rte")
    obtain("glue/rte")
    with pytest.raises(RequestError, match="has a validation split"):
        glue.glue(config="rte", validation=0.1)


def test_a_pronoun_is_marked_where_it_stands() -> None:
    rows = {
        "text": ["Mark told Pete that he lied .", "short"],
        "span1_text": ["Mark", "x"],
        "span2_text": ["he", "y"],
        "span2_index": [4, 9],
    }
    first, second = TEXT_COLUMNS["superglue/wsc"].read(rows)
    assert first == ["Mark told Pete that * he * lied .", "short"]
    assert second == ["he: Mark", "y: x"]


def of_superglue(monkeypatch: pytest.MonkeyPatch, config: str, **columns: Any) -> LabelledTexts:
    """A task from rows that are given column by column, the same in every split."""
    import pyarrow as pa

    rows = prepared.PreparedTexts(
        f"superglue/{config}", dict.fromkeys(("train", "validation"), pa.table(columns)),
        {"label": ("False", "True")} if "label" in columns else {}, {},
    )  # fmt: skip
    monkeypatch.setattr(prepared, "load_prepared_texts", lambda _: rows)
    return glue.superglue(config=config)  # type: ignore[arg-type]


def test_candidates_of_record_take_the_place_of_the_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    data = of_superglue(
        monkeypatch, "record",
        passage=["Ann met Bob Lee.", "The U.S. won."],
        query=["@placeholder smiled", "it was @placeholder"],
        entities=[["Ann", "Bob Lee", "Ann"], ["U.S.", "the US", "France"]],
        answers=[["Bob Lee"], ["U.S.", "the US"]],
    )  # fmt: skip
    examples = data.splits["val"]
    assert examples.first == ["Ann met Bob Lee."] * 2 + ["The U.S. won."] * 3
    assert examples.second == ["Ann smiled", "Bob Lee smiled", "it was U.S.", "it was the US", "it was France"]
    assert examples.targets.tolist() == [1, 0]
    assert examples.counts is not None
    assert examples.counts.tolist() == [2, 3]
    assert examples.credit is not None
    assert examples.credit.tolist() == [[0, 0], [1, 1], [1, 1], [1, 1], [0, 0]]
    assert data.classes == ("entity 1", "entity 2", "entity 3")


@pytest.mark.parametrize(
    ("candidate", "answers", "f1", "exact"),
    [
        ("The Beatles", ["beatles"], 1, 1),  # articles and case do not count
        ("Paul McCartney", ["McCartney", "John"], 2 / 3, 0),
        ("a b c b", ["b b d"], 2 * 2 / 6, 0),  # "a" is an article: b c b against b b d
        ("x", ["y"], 0, 0),
        ("O'Neil", ["oneil"], 1, 1),
    ],
)
def test_credit_is_that_of_squad(candidate: str, answers: list[str], f1: float, exact: float) -> None:
    assert glue.answer_credit(candidate, answers) == (pytest.approx(f1), exact)


def test_answers_of_multirc_belong_to_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    places = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]
    data = of_superglue(
        monkeypatch, "multirc",
        paragraph=["p"] * 4, question=["q"] * 4, answer=["a"] * 4, label=[0, 1, 1, 0],
        idx=[dict(zip(("paragraph", "question", "answer"), place, strict=True)) for place in places],
    )  # fmt: skip
    groups = data.splits["val"].groups
    assert groups is not None
    assert groups.tolist() == [0, 0, 1, 2]


def test_eval_scores_a_benchmark(
    hub: Any, obtain: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlkit.cli.app import run

    def call(*arguments: str) -> tuple[int, list[dict[str, Any]], str]:
        capfd.readouterr()
        code = run(arguments)
        out, err = capfd.readouterr()
        return code, [json.loads(line) for line in out.splitlines()], err

    small = ["model.layers=1", "model.width=16", "model.heads=2", "train.epochs=1", "tokenizer.vocab_size=100"]
    for name in ("mnli", "rte"):
        hub.add(f"glue/{name}")
        obtain(f"glue/{name}")
        changes = [*small, f"data.config={name}", "--run-dir", str(tmp_path / name)]
        assert call("train", "glue-bert", *changes, "tokenizer.name=wordpiece")[0] == 0
    mnli, rte = str(tmp_path / "mnli"), str(tmp_path / "rte")
    code, records, _ = call("eval", mnli, rte, "--glue", "data.batch_size=4")
    assert code == 0
    measured = [("mnli", "val"), ("mnli", "val_mismatched"), ("rte", "val")]
    assert [(r["task"], r["split"]) for r in records[:-1]] == measured
    accuracy = [r["metrics"]["accuracy"] for r in records[:-1]]
    last = records[-1]
    assert (last["kind"], last["score"]) == ("benchmark", None)
    assert last["mean"] == pytest.approx((accuracy[0] / 2 + accuracy[1] / 2 + accuracy[2]) / 2)
    assert last["missing"] == ["cola", "sst2", "mrpc", "stsb", "qqp", "qnli", "wnli"]
    assert run(["eval", mnli, rte, "--glue", "--table", "markdown"]) == 0
    rows = [line.replace("|", "").split() for line in capfd.readouterr().out.splitlines()]
    assert [row[0] for row in rows[2:]] == ["mnli", "rte", last["benchmark"]]
    assert float(rows[3][rows[0].index("accuracy")]) == accuracy[2]
    code, _, err = call("eval", mnli, rte, "--glue", "-q")
    assert code == 1
    assert "no score of GLUE without cola, sst2, mrpc, stsb, qqp, qnli, wnli" in err
    code, _, err = call("eval", mnli, rte)
    assert code == 2
    assert "several runs" in err
    code, _, err = call("eval", mnli, "--glue", "--split", "val")
    assert code == 2
    assert "do not go with it" in err
    assert run(["train", "digits-mlp", "train.epochs=1", "--run-dir", str(tmp_path / "digits")]) == 0
    code, records, err = call("eval", rte, str(tmp_path / "digits"), "--glue")
    assert (code, records) == (2, [])
    assert "was trained on digits, no task of GLUE or SuperGLUE" in err


@pytest.mark.parametrize("name", ["sst2", "imdb"])
@pytest.mark.parametrize("manual", [True, False])
def test_sentences_to_pre_train_on(hub: Any, obtain: Any, name: str, manual: bool) -> None:
    from dlkit import recipe
    from dlkit.assemble import assemble_training
    from dlkit.data.text.pydoc import pydoc

    hub.add(name, dict.fromkeys(DATASETS[name].rows, 40))
    obtain(name)
    labelled = (glue.sst2 if name == "sst2" else glue.imdb)()
    corpus = sentences(of=name, manual=manual)  # type: ignore[arg-type]
    assert list(corpus.splits) == ["train", "val"]
    before = pydoc().splits["train"].read() + "\n" if manual else ""
    assert corpus.splits["train"].read() == before + "".join(f"{line}\n" for line in labelled.splits["train"].first)
    assert corpus.splits["val"].read().splitlines() == labelled.splits["val"].first
    changes = [f"data.of={name}", f"data.manual={str(manual).lower()}", "data.context=16", "model.layers=1"]
    built = assemble_training(recipe.load("sst2-pretrain", [*changes, "tokenizer.vocab_size=300"]), torch.device("cpu"))
    loss, _ = built.training.task.forward(built.training.model, next(iter(built.training.batches.epoch(0))))
    assert loss.isfinite()


@pytest.mark.parametrize("name", ["glue/stsb", "glue/rte", "superglue/multirc"])
def test_new_rows_get_what_an_evaluation_computes(hub: Any, obtain: Any, tmp_path: Path, capfd: Any, name: str) -> None:
    """A number or a class of each row of the validation split, read from JSON Lines by the names of its columns."""
    from dlkit.app.evaluate import request_evaluation
    from dlkit.cli.app import run as dlkit

    hub.add(name)
    obtain(name)
    section, _, config = name.partition("/")
    changes = [f"data.name={section}", f"data.config={config}", "data.validation=0", "model.layers=1", "train.epochs=1"]
    number = name.endswith("stsb")
    changes += ["loss.name=squared_error"] if number else []
    folder = tmp_path / "run"
    assert dlkit(["train", "sst2-bert", *changes, "--run-dir", str(folder), "-q"]) == 0
    rows = prepared.load_prepared_texts(name).tables["validation"].drop_columns("label").to_pylist()
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    capfd.readouterr()
    assert dlkit(["predict", str(folder), "--rows", str(tmp_path / "rows.jsonl")]) == 0
    found = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    opened = request_evaluation(folder, split="val").open()
    source: Any = opened.trained.dataset.batches(opened.recipe, "val", opened.device, False)
    expected: dict[int, list[float]] = {}
    with torch.inference_mode():
        for rows_of_batch, batch in zip(source.order(0), source.epoch(0), strict=True):
            logits = opened.trained.model.eval()(batch.token_ids, batch.segment_ids, batch.attention_mask)
            expected |= zip(rows_of_batch.tolist(), (logits if number else logits.softmax(1)).tolist(), strict=True)
    assert [record["input"] for record in found] == rows
    for i, record in enumerate(found):
        if number:
            assert record["value"] == pytest.approx(expected[i][0], abs=1e-5) and record["error"] is None
        else:
            probabilities = dict(zip(opened.trained.dataset.classes, expected[i], strict=True))
            named = {entry["label"]: entry["probability"] for entry in record["top"]}
            assert named == pytest.approx(probabilities, abs=1e-5)


def test_a_classifier_with_its_classes_in_another_order_is_measured_by_their_names(
    hub: Any, obtain: Any, tmp_path: Path, capfd: Any
) -> None:
    """transformers' own BERT, imported: NOT_ENTAILMENT comes first in it, and second in RTE."""
    import transformers

    from dlkit.cli.app import run as dlkit

    hub.add("glue/rte")
    obtain("glue/rte")
    rows = prepared.load_prepared_texts("glue/rte").tables["validation"].to_pydict()
    words = sorted({word for name in ("sentence1", "sentence2") for text in rows[name] for word in text.split()})
    folder = tmp_path / "bert"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]) + "\n")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(words) + 5, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=64, id2label={0: "NOT_ENTAILMENT", 1: "entailment"}, initializer_range=1.0,
    )  # fmt: skip
    model = transformers.BertForSequenceClassification(config).eval()
    model.save_pretrained(folder)
    assert dlkit(["import", str(folder), "--run-dir", str(tmp_path / "run"), "-q"]) == 0
    capfd.readouterr()
    assert dlkit(["eval", str(tmp_path / "run"), "data.name=glue", "data.config=rte", "--split", "val"]) == 0
    metrics = json.loads(capfd.readouterr().out)["metrics"]
    tokenizer = transformers.BertTokenizerFast(str(folder / "vocab.txt"))  # pyright: ignore
    with torch.inference_mode():
        encoded = tokenizer(rows["sentence1"], rows["sentence2"], padding=True, return_tensors="pt")
        probabilities = model(**encoded).logits.softmax(1)
    right = torch.tensor([1 if label == 0 else 0 for label in rows["label"]])  # RTE's 0 is entailment, output 1 here
    loss = torch.nn.functional.nll_loss(probabilities.log(), right).item()
    assert metrics["loss"] == pytest.approx(loss, abs=1e-5)
    assert metrics["accuracy"] == pytest.approx((probabilities.argmax(1) == right).float().mean().item())
    other = ["eval", str(tmp_path / "run"), "data.name=glue", "data.config=mrpc"]
    hub.add("glue/mrpc")
    obtain("glue/mrpc")
    assert dlkit(other) == 1
    error = capfd.readouterr().err
    assert "the classes not_equivalent, equivalent; the model knows NOT_ENTAILMENT, entailment" in error
