"""Texts, rows and running text of the Hub's layouts against `datasets` and pandas."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dlkit.data.hub import hf_datasets
from dlkit.data.hub.rows import hub_rows
from dlkit.data.hub.running_text import hub_text
from dlkit.data.hub.texts import hub_texts
from dlkit.data.known import Known
from dlkit.errors import DlkitError, RequestError

datasets: Any = pytest.importorskip("datasets")

# `datasets` reads CSV with pandas, which before its release 3 rounded some numbers to the neighbour of the nearest.
A_ROUNDING = 4e-16
Save = Callable[[Path, dict[str, Any]], Path]


def loaded(folder: Path, config: str | None = None) -> Any:
    return datasets.load_dataset(str(folder), config, cache_dir=str(folder / "cache"))


def test_labelled_texts_are_those_of_datasets(texts: Path) -> None:
    data = hub_texts(path=str(texts), config="reviews", text="sentence")
    reference = loaded(texts, "reviews")
    assert data.classes == tuple(reference["train"].features["label"].names)
    assert list(data.splits) == ["train", "val"]
    for ours, theirs in (("train", "train"), ("val", "validation")):
        assert data.splits[ours].first == reference[theirs]["sentence"][:]
        assert data.splits[ours].targets.tolist() == reference[theirs]["label"][:]
    assert data.sources["left_out"] == ["split 'test' (no labels)"]


def test_a_pair_with_a_number_is_a_regression(texts: Path) -> None:
    data = hub_texts(path=str(texts), config="pairs", text=("s1", "s2"), test=0.25)
    assert (data.answer, data.classes, data.metrics) == ("number", (), ("pearson", "spearman"))
    reference = sorted(loaded(texts, "pairs")["train"]["label"])
    found = [value for examples in data.splits.values() for value in examples.targets.tolist()]
    assert sorted(found) == reference
    assert {name: (set(held.first), set(held.second or ())) for name, held in data.splits.items()} == {
        "train": ({"one"}, {"two"}),
        "test": ({"one"}, {"two"}),
    }
    assert len(data.splits["test"].targets) == 5


def test_labels_that_are_text_are_matched_by_name(tmp_path: Path, save: Save) -> None:
    rows = datasets.Dataset.from_dict({"text": list("abcdef"), "label": ["no", "yes"] * 3})
    save(tmp_path / "data", {"test": rows})
    with pytest.raises(DlkitError, match="no split called train, but test") as caught:
        hub_texts(path=str(tmp_path), text="text")
    assert caught.value.hint == "say which one to train on: data.split=test"
    data = hub_texts(Known(("yes", "no")), path=str(tmp_path), text="text")
    assert data.splits["test"].targets.tolist() == [1, 0] * 3


def test_rows_are_those_of_pandas(tmp_path: Path) -> None:
    dice = np.random.default_rng(0)
    frame = pd.DataFrame({"width": dice.normal(size=40), "count": range(40), "round": [True, False] * 20})
    frame["size"], frame["kind"] = ["s", "m", "l", "m"] * 10, ["apple", "pear"] * 20
    frame.to_csv(tmp_path / "train.csv", index=False)
    data = hub_rows(path=str(tmp_path), label="kind", test=0.25)
    assert data.columns == {"width": "number", "count": "number", "round": "boolean", "size": "category"}
    assert data.categories == {"size": ("l", "m", "s")}
    assert data.classes == ("apple", "pear")
    assert data.sources["left_out"] == []
    every = np.concatenate([split.inputs.numpy() for split in data.splits.values()])
    frame["size"] = frame["size"].map({"l": 1, "m": 2, "s": 3})
    expected = frame[["width", "count", "round", "size"]].to_numpy(float)
    np.testing.assert_allclose(every[every[:, 1].argsort()], expected, rtol=A_ROUNDING)
    np.testing.assert_allclose(data.std[:3], data.splits["train"].inputs.numpy().std(0)[:3])
    assert (data.mean[3].item(), data.std[3].item()) == (0.0, 1.0)  # categories are not scaled
    known = Known(("pear", "apple"), data.columns, data.mean, data.std, data.categories)
    other = hub_rows(known, path=str(tmp_path), label="kind", test=0.0)
    assert other.splits["train"].targets.tolist() == [1, 0] * 20
    assert other.mean is data.mean


def test_the_number_of_a_row_is_that_of_pandas(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": np.arange(20.0), "price": np.linspace(0.5, 9, 20)})
    frame.to_csv(tmp_path / "train.csv", index=False)
    data = hub_rows(None, "number", path=str(tmp_path), label="price", test=0.25)
    assert (data.classes, {name: len(split.targets) for name, split in data.splits.items()}) == (
        (),
        {"train": 15, "test": 5},
    )
    for split in data.splits.values():
        expected = frame["price"].to_numpy()[split.inputs.numpy()[:, 0].astype(int)]
        np.testing.assert_allclose(split.targets, expected, rtol=A_ROUNDING)
    with pytest.raises(RequestError, match=r"column 'price' holds number; data\.image needs image"):
        from dlkit.data.hub.images import hub_images

        hub_images(path=str(tmp_path), image="price")


def test_running_text_has_a_line_a_row_and_splits_by_name(tmp_path: Path, save: Save) -> None:
    rows = [f"row {number} — naïve{chr(10) if number % 3 else ''}" for number in range(2500)]
    save(tmp_path / "data", {"train": datasets.Dataset.from_dict({"text": rows, "id": list(range(2500))})})
    corpus = hub_text(path=str(tmp_path))
    lines = [row.removesuffix("\n") + "\n" for row in rows]
    assert {name: text.read() for name, text in corpus.splits.items()} == {
        "train": "".join(lines[:2250]),
        "val": "".join(lines[2250:]),
    }
    for name, text in corpus.splits.items():
        assert text.size == len(text.read().encode()), name


def test_rows_without_a_text_are_counted(tmp_path: Path, save: Save) -> None:
    save(tmp_path / "data", {"train": datasets.Dataset.from_dict({"text": ["a", None, "b", None]})})
    with pytest.raises(DlkitError, match="2 rows have no text in 'text', the first is row 2"):
        hub_text(path=str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": None}, "has 2 configurations: reviews, pairs"),
        ({"text": "sentense"}, r"has no column 'sentense' \(did you mean 'sentence'\?\)"),
        ({"text": "label"}, "column 'label' holds class label; data.text needs text"),
        ({"text": ("sentence", "sentence")}, "name a column twice"),
        ({"text": ("sentence", "label"), "pair": "label"}, "data.text names 2 columns, and data.pair another"),
        ({"split": "test"}, "split 'test': no row has a label in 'label'"),
    ],
)
def test_a_wrong_request_is_one_line_with_a_hint(texts: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DlkitError, match=message) as caught:
        hub_texts(**{"path": str(texts), "config": "reviews", "text": "sentence", **changes})
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_no_code_of_a_repository_runs(tmp_path: Path) -> None:
    place = tmp_path / "scripted"
    place.mkdir()
    (place / "scripted.py").write_text("raise SystemExit('ran')")
    with pytest.raises(RequestError, match=r"made by a script, scripted\.py, which dlkit does not run"):
        hub_text(path=str(place))


def test_pickles_are_not_read(tmp_path: Path) -> None:
    pd.DataFrame({"text": ["a"]}).to_pickle(tmp_path / "train.pkl")
    (tmp_path / "README.md").write_text("---\nconfigs:\n- {config_name: a, data_files: train.pkl}\n---\n")
    with pytest.raises(DlkitError, match=r"train\.pkl|pandas"):
        hub_text(path=str(tmp_path))


def test_files_elsewhere_are_not_fetched(tmp_path: Path) -> None:
    card = "---\nconfigs:\n- {config_name: a, data_files: 'https://example.org/train.csv'}\n---\n"
    (tmp_path / "README.md").write_text(card)
    (tmp_path / "train.csv").write_text("text\na\n")
    with pytest.raises(RequestError, match=r"data_files lie elsewhere, at https://example.org/train.csv"):
        hub_text(path=str(tmp_path))


def test_damaged_shards_and_empty_folders_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(DlkitError, match="cannot read"):
        hub_text(path=str(tmp_path))
    (tmp_path / "train.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DlkitError, match="cannot read") as caught:
        hub_text(path=str(tmp_path))
    assert "\n" not in caught.value.message


def test_the_settings_of_datasets_are_the_users_again_afterwards(texts: Path) -> None:
    datasets.enable_progress_bars()
    before = datasets.utils.logging.get_verbosity(), datasets.config.HF_HUB_OFFLINE
    hub_text(path=str(texts), config="reviews")
    assert not datasets.are_progress_bars_disabled()
    assert (datasets.utils.logging.get_verbosity(), datasets.config.HF_HUB_OFFLINE) == before


def test_without_the_package_the_command_that_installs_it_is_named(
    texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(RequestError, match="needs the package datasets, which is not installed") as caught:
        hub_text(path=str(texts))
    assert caught.value.hint == "pip install datasets"


def test_conversions_lie_where_the_user_has_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DLKIT_DATA", str(tmp_path))
    assert hf_datasets.conversion_folder() == str(tmp_path / "hub" / "arrow")
    monkeypatch.setenv("HF_HOME", "elsewhere")
    assert hf_datasets.conversion_folder() is None


def test_a_label_beyond_the_classes_is_named(tmp_path: Path, save: Save) -> None:
    """`datasets` writes none, but files of others hold them, and it reads them without a word."""
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    save(
        tmp_path, {"train": datasets.Dataset.from_dict({"text": list("abcd"), "label": [0, 1] * 2}, features=features)}
    )
    (file,) = tmp_path.glob("*.parquet")
    table = pq.read_table(file)
    pq.write_table(table.set_column(1, table.schema.field("label"), pa.array([0, 1, 0, 5])), file)
    with pytest.raises(DlkitError, match="none of the 2 classes in column 'label', row 4"):
        hub_texts(path=str(tmp_path), text="text")
