"""The same example in more than one split."""

from __future__ import annotations

from pathlib import Path

import pandas
import pytest
import torch

from dlkit.data.examination.duplicates import find_duplicates, keyed_files, keyed_rows, keyed_texts


def test_rows_as_pandas_finds_them() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = {name: torch.randint(3, (40, 3), generator=generator) for name in ("train", "test")}
    answers = {name: (held[:, 0] % 2).tolist() for name, held in rows.items()}
    found = find_duplicates(
        {name: keyed_rows(held, answers[name], name.__add__("{}").format) for name, held in rows.items()}
    )
    frames = {name: pandas.DataFrame(held.numpy()) for name, held in rows.items()}
    assert found["within"] == {name: int(frame.duplicated().sum()) for name, frame in frames.items()}
    both = frames["test"].merge(frames["train"].drop_duplicates())
    (across,) = found["across"]
    assert (across["splits"], across["count"], across["answers_differ"]) == (["train", "test"], len(both), 0)


def test_pairs_of_texts_are_told_apart_from_texts_and_another_answer_is_counted() -> None:
    one = keyed_texts(["a", "b"], ["c", "d"], [0, 1])
    other = keyed_texts(["a", "a", "b"], ["c", "cc", "d"], [0, 0, 0])
    assert find_duplicates({"train": one, "val": other})["across"] == [
        {"splits": ["train", "val"], "count": 2, "answers_differ": 1, "examples": [["a", "a"], ["b", "b"]]}
    ]
    assert (
        find_duplicates({"train": keyed_texts(["ab"], ["c"], [0]), "val": keyed_texts(["a"], ["bc"], [0])})["across"]
        == []
    )


def test_files_of_one_size_are_compared_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in {"a": b"same", "b": b"same", "c": b"diff", "d": b"longer"}.items():
        (tmp_path / name).write_bytes(content)
    paths = {"train": [str(tmp_path / "a"), str(tmp_path / "d")], "val": [str(tmp_path / "b"), str(tmp_path / "c")]}
    opened: list[str] = []
    original = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *rest: (opened.append(self.name), original(self, *rest))[1])
    found = find_duplicates(keyed_files(paths, {"train": ["x", "y"], "val": ["x", "x"]}))
    assert found["across"][0]["examples"] == [[str(tmp_path / "a"), str(tmp_path / "b")]]
    assert sorted(opened) == ["a", "b", "c"]  # the only one of its size is not read
