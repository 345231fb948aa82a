"""SST-2, IMDB, GLUE and SuperGLUE as labelled texts, from generated data in the real schemas, to a training step."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dlkit.data import glue, prepared
from dlkit.data.labelled import LabelledTexts
from dlkit.errors import DlkitError, RequestError

CONFIGS = [
    *((f"glue/{config}", glue.glue) for config in glue._GLUE),
    *((f"superglue/{config}", glue.superglue) for config in (*glue._SUPERGLUE, "copa")),
    ("sst2", glue.sst2),
    ("imdb", glue.imdb),
]


def read(name: str, loader: Any) -> LabelledTexts:
    return loader(config=name.partition("/")[2]) if "/" in name else loader(validation=0.0)


@pytest.mark.parametrize(("name", "loader"), CONFIGS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_task_is_read_and_trains(hub: Any, obtain: Any, tmp_path: Any, name: str, loader: Any) -> None:
    from dlkit import build, recipe

    hub.add(name)
    obtain(name)
    data, tables = read(name, loader), prepared.load(name).tables
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
    built = build.training(recipe.load("sst2-bert", changes), torch.device("cpu"))
    batch = next(iter(built.training.batches.epoch(0)))
    loss, _ = built.training.task.forward(built.training.model, batch)
    loss.backward()
    assert loss.isfinite()
    assert built.dataset.sources["rows"]["train"] == len(labels)


def test_rows_whose_label_is_hidden_are_left_out(hub: Any, obtain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa

    hub.add("glue/rte")
    obtain("glue/rte")
    whole = prepared.load("glue/rte")
    hidden = whole.tables["test"]
    place = hidden.column_names.index("label")
    whole.tables["test"] = hidden.set_column(place, "label", pa.array([-1] * hidden.num_rows, hidden["label"].type))
    monkeypatch.setattr(prepared, "load", lambda _: whole)
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
    first, second = glue._wsc(rows)
    assert first == ["Mark told Pete that * he * lied .", "short"]
    assert second == ["he: Mark", "y: x"]
