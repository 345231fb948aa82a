"""dlkit eval of other data: read by the names that the run knows, measured whole, and said to be so."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from dlkit.cli.app import run as dlkit

FAST = ["optimizer.lr=0.02", "model.dropout=0.0", "model.hidden=[16]", "train.patience=null", "train.epochs=8"]


def rows(count: int, seed: int) -> pandas.DataFrame:
    """Two columns, and which of them is the larger."""
    a, b = np.random.default_rng(seed).normal(size=(2, count))
    clear = abs(a - b) > 0.2
    a, b = a[clear], b[clear]
    return pandas.DataFrame({"a": a, "b": b, "label": (a > b).astype(int)})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    rows(400, 0).to_csv(folder / "train.csv", index=False)
    changes = [f"data.path={folder / 'train.csv'}", *FAST]
    assert dlkit(["train", "csv-mlp", *changes, "--run-dir", str(folder / "run")]) == 0
    return folder / "run"


def test_columns_are_read_by_name_in_every_format(here: Any, run: Path, tmp_path: Path) -> None:
    new = rows(150, 1).assign(more="x", label=lambda frame: frame["label"].astype(float))
    new[["b", "a", "label"]].to_csv(tmp_path / "n.csv", index=False)
    new[["label", "more", "b", "a"]].to_parquet(tmp_path / "n.parquet", index=False)
    new[["more", "b", "label", "a"]].to_json(tmp_path / "n.jsonl", orient="records", lines=True)
    for kind in ("csv", "parquet", "jsonl"):
        file = tmp_path / f"n.{kind}"
        named = [f"data.name={kind}"] if kind != "csv" else []
        result = here("eval", str(run), f"data.path={file}", *named)
        assert result.code == 0, result.err
        record = result.record
        assert record["metrics"]["accuracy"] > 0.97
        assert (record["data"], record["split"], record["n"]) == (kind, "all", len(new))
        assert (record["path"], record["rows"]) == (str(file), "all")
        assert record.get("left_out", []) == ([] if kind == "csv" else ["more"])
        assert result.err.splitlines()[-1] == f"measured: all rows of {file}"


def test_other_names_are_refused_with_both_lists(here: Any, run: Path, tmp_path: Path) -> None:
    rows(20, 1).rename(columns={"a": "p", "b": "q"}).to_csv(tmp_path / "n.csv", index=False)
    result = here("eval", str(run), f"data.path={tmp_path / 'n.csv'}")
    assert (result.code, result.out) == (2, "")
    assert "its columns are p (double), q (double), label; those trained on a (number), b (number)" in result.err


def test_its_own_data_is_measured_on_what_was_held_out(here: Any, run: Path) -> None:
    own = run.parent / "train.csv"
    count = len(rows(400, 0))
    held = -(-count // 5)
    for change in ([], [f"data.path={own.parent / '..' / own.parent.name / own.name}"]):
        record = here("eval", str(run), *change).record
        assert (record["split"], record["n"], record["rows"]) == ("test", held, f"{held} of {count}")
    assert here("eval", str(run), "--split", "all").record["n"] == count


def test_a_split_of_other_data_is_measured_where_it_is_asked_for(here: Any, run: Path, tmp_path: Path) -> None:
    new = rows(150, 1)
    new.to_csv(tmp_path / "n.csv", index=False)
    record = here("eval", str(run), f"data.path={tmp_path / 'n.csv'}", "--split", "test").record
    assert record["rows"] == f"{record['n']} of {len(new)}"
    record = here("eval", str(run), f"data.test_path={tmp_path / 'n.csv'}").record
    assert (record["split"], record["n"], record["path"]) == ("test", len(new), str(tmp_path / "n.csv"))


def test_other_data_may_lack_a_class(here: Any, run: Path, tmp_path: Path) -> None:
    new = rows(150, 1).query("label == 1")
    new.to_csv(tmp_path / "n.csv", index=False)
    record = here("eval", str(run), f"data.path={tmp_path / 'n.csv'}").record
    assert record["n"] == len(new) and record["metrics"]["accuracy"] > 0.97
    assert [row["n"] for row in record["per_class"]] == [0, len(new)]


def test_times_in_seconds_are_learned_from(here: Any, tmp_path: Path) -> None:
    times = 1_700_000_000 + np.arange(60)
    pandas.DataFrame({"t": times, "label": (times >= times[30]).astype(int)}).to_csv(tmp_path / "t.csv", index=False)
    changes = [
        f"data.path={tmp_path / 't.csv'}",
        *FAST,
        "optimizer.lr=0.05",
        "train.epochs=10",
        "data.validation=0.0",
        "data.batch_size=16",
    ]
    assert here("train", "csv-mlp", *changes, "--run-dir", str(tmp_path / "run")).code == 0
    assert here("eval", str(tmp_path / "run"), "--split", "all").record["metrics"]["accuracy"] > 0.95


def test_what_was_taken_and_left_out_is_said_and_recorded(here: Any, tmp_path: Path) -> None:
    frame = rows(60, 0).assign(label=lambda rows: ["yes" if one else " no" for one in rows["label"]])
    frame.to_csv(tmp_path / "t.csv")
    changes = [f"data.path={tmp_path / 't.csv'}", *FAST, "train.epochs=1"]
    result = here("train", "csv-mlp", *changes, "--run-dir", str(tmp_path / "run"))
    taken, spaces = result.err.splitlines()[:2]
    assert taken.endswith("rows of a, b; label label: no, yes; left out: '' (pandas' row index)")
    assert spaces.startswith("label 'label': spaces around a class are left out, as in ' no'")
    sources = result.record["sources"]
    assert (sources["columns"], sources["left_out"], sources["remarks"]) == (["a", "b"], [""], [spaces])
    again = here("eval", str(tmp_path / "run"))
    assert again.err.splitlines()[:2] == [taken, spaces]
    assert (again.record["left_out"], again.record["remarks"]) == ([""], [spaces])


def test_a_run_goes_on_with_the_same_data_alone(here: Any, tmp_path: Path) -> None:
    file, frame = tmp_path / "t.csv", rows(100, 0)
    frame.to_csv(file, index=False)
    changes = [f"data.path={file}", *FAST, "train.epochs=1"]
    assert here("train", "csv-mlp", *changes, "--run-dir", str(tmp_path / "run")).code == 0
    for other, said in (
        (frame[["b", "a", "label"]], "columns before: a (number), b (number); now: b (number), a (number)"),
        (frame.assign(a=frame["a"] + 1), "other content in as many rows"),
        (frame[:-1], "rows before: "),
    ):
        other.to_csv(file, index=False)
        result = here("train", str(tmp_path / "run"), "--resume")
        assert result.code == 1
        assert "error: the data has changed since the run began" in result.err and said in result.err
    frame.to_csv(file, index=False)
    assert here("train", str(tmp_path / "run"), "--resume").code == 0


def test_a_checkpoint_without_names_asks_for_them(run: Path) -> None:
    from dlkit import recipe as recipes
    from dlkit.errors import DlkitError
    from dlkit.tasks.task_data import load_data

    (state,) = (run / "checkpoints" / "last").glob("state.json")
    saved = {key: value for key, value in json.loads(state.read_text())["data"].items() if key != "columns"}
    with pytest.raises(DlkitError, match="does not say which columns it was trained on"):
        load_data(recipes.load(str(run)), saved)
    named: Any = load_data(recipes.load(str(run), ["data.columns=[b, a]"]), saved)
    frame = pandas.read_csv(run.parent / "train.csv")
    assert named.dataset.splits["train"].inputs[0].tolist() in frame[["b", "a"]].to_numpy().tolist()  # pyright: ignore


def test_a_folder_is_measured_whole_unless_it_has_a_test_split(here: Any, trained: Path, tmp_path: Path) -> None:
    shape = ["data.name=images", "data.size=8", "data.channels=1"]
    for digit in (3, 8):  # two of the ten classes of the run
        for place in ("plain", "parts/train", "parts/test"):
            for number in range(4 if place == "plain" else 3):
                file = tmp_path / place / str(digit) / f"{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.new("L", (8, 8), 20 * number).save(file)
    plain = here("eval", str(trained), *shape, f"data.path={tmp_path / 'plain'}").record
    assert (plain["split"], plain["n"], plain["rows"]) == ("all", 8, "all")
    assert {row["class"]: row["n"] for row in plain["per_class"] if row["n"]} == {"3": 4, "8": 4}
    parts = here("eval", str(trained), *shape, f"data.path={tmp_path / 'parts'}").record
    assert (parts["split"], parts["n"], parts["rows"]) == ("test", 6, "6 of 12")


def test_a_text_is_measured_whole(here: Any, tmp_path: Path) -> None:
    for name, length in (("train", 3000), ("new", 500)):
        (tmp_path / f"{name}.txt").write_text(("to be or not to be, that is the question\n" * 100)[:length])
    small = ["model={name: gpt, layers: 1, width: 8, heads: 1}", "tokenizer.name=byte", "data.context=64"]
    changes = [f"data.path={tmp_path / 'train.txt'}", *small, "train.steps=1", "data.validation=0.1"]
    assert here("train", "text-gpt", *changes, "--run-dir", str(tmp_path / "run")).code == 0
    own = here("eval", str(tmp_path / "run")).record
    assert (own["split"], own["n"], own["bytes"]) == ("val", 300, "300 of 3000")
    new = here("eval", str(tmp_path / "run"), f"data.path={tmp_path / 'new.txt'}").record
    assert (new["split"], new["n"], new["bytes"]) == ("all", 500, "all")


def test_labelled_texts_are_measured_whole_by_the_names_of_their_classes(here: Any, tmp_path: Path) -> None:
    words = {"pos": "good fine nice", "neg": "bad poor sad"}
    frame = pandas.DataFrame([{"text": words[name], "label": name} for name in ("pos", "neg") * 20])
    frame.to_csv(tmp_path / "t.csv", index=False)
    small = ["model={name: bert, layers: 1, width: 16, heads: 1}", "data.context=8", "optimizer.lr=0.02"]
    changes = [f"data.path={tmp_path / 't.csv'}", "data.text=text", *small, "train.epochs=5"]
    assert here("train", "texts-bert", *changes, "--run-dir", str(tmp_path / "run")).code == 0
    new = frame[frame["label"] == "pos"].assign(id=1)[["label", "id", "text"]]
    new.to_json(tmp_path / "new.jsonl", orient="records", lines=True)
    record = here("eval", str(tmp_path / "run"), f"data.path={tmp_path / 'new.jsonl'}").record
    assert (record["split"], record["n"], record["rows"], record["left_out"]) == ("all", 20, "all", ["id"])
    assert record["metrics"]["accuracy"] == 1


# ---------------------------------------------------------------------- streams

COLOURS = {"blue": (20, 20, 230), "green": (20, 230, 20), "red": (230, 20, 20)}


def painted(folder: Path, names: str, count: int) -> Path:
    """A folder of class folders, of images of their colour; a file of text in each."""
    for name in names.split():
        (folder / name).mkdir(parents=True)
        (folder / name / "notes.txt").write_text("no image")
        for number in range(count):
            Image.new("RGB", (20, 18), COLOURS[name]).save(folder / name / f"{number}.png")
    return folder


def shard(file: Path, names: list[str], rows: list[str]) -> Path:
    """The folder of a Parquet shard with names in an order of its own, as the hub writes them."""
    images: list[dict[str, bytes]] = []
    for name in rows:
        encoded = io.BytesIO()
        Image.new("RGB", (20, 18), COLOURS[name]).save(encoded, "PNG")
        images.append({"bytes": encoded.getvalue()})
    described = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    table = pa.table({"image": images, "label": [names.index(name) for name in rows]})
    file.parent.mkdir()
    parquet.write_table(table.replace_schema_metadata({"huggingface": json.dumps(described)}), file)
    return file.parent


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on streamed images, which knows three colours."""
    folder = tmp_path_factory.mktemp("stream")
    for split, count in (("train", 12), ("val", 2)):
        painted(folder / "tree" / split, "blue green red", count)
    small = ["model={name: resnet, depths: [1], widths: [8]}", "data.size=16", "data.workers=0", "data.batch_size=6"]
    steps = ["train.epochs=8", "optimizer.lr=0.05", "schedule.warmup=0", f"data.path={folder / 'tree'}"]
    assert dlkit(["train", "imagenet-resnet50", *small, *steps, "--run-dir", str(folder / "run"), "-q"]) == 0
    return folder / "run"


def test_other_streams_are_measured_whole_by_the_names_of_their_classes(
    here: Any, stream: Path, tmp_path: Path
) -> None:
    painted(tmp_path / "parts" / "testing", "green", 2)
    unused = shard(tmp_path / "a" / "train-0.parquet", ["pink", "red", "blue"], ["red", "red", "blue"])
    places = {
        painted(tmp_path / "some", "red green", 4): ("all", {"green": 4, "red": 4}),
        painted(tmp_path / "one", "red", 3): ("all", {"red": 3}),
        tmp_path / "parts": ("test", {"green": 2}),
        unused: ("all", {"blue": 1, "red": 2}),
        shard(tmp_path / "b" / "validation-0.parquet", ["red", "blue"], ["red"]): ("val", {"red": 1}),
    }
    for place, (split, counts) in places.items():
        result = here("eval", str(stream), f"data.path={place}")
        assert result.code == 0, result.err
        record = result.record
        assert (record["split"], record["n"], record["rows"]) == (split, sum(counts.values()), "all"), place
        assert {row["class"]: row["n"] for row in record["per_class"] if row["n"]} == counts
        assert record["metrics"]["accuracy"] == 1
    (tmp_path / "one" / "red").rename(tmp_path / "one" / "crimson")
    result = here("eval", str(stream), f"data.path={tmp_path / 'one'}")
    assert result.code == 1
    assert "the classes crimson; the model was trained on" in result.err
    assert "the classes blue, green, red" in result.err


def test_what_is_left_out_of_a_stream_is_in_every_record(here: Any, stream: Path, tmp_path: Path) -> None:
    assert json.loads((stream / "summary.json").read_text())["left_out"] == {".txt": 6}
    painted(tmp_path / "other", "red", 2)
    result = here("eval", str(stream), "--ood", f"images:{tmp_path / 'other'}")
    inside, outside = result.records
    assert (inside["left_out"], outside["n"], outside["left_out"]) == ({".txt": 6}, 2, {".txt": 1})
    assert f"{tmp_path / 'other'}: 2 files (.png 2); left out: 1 file (.txt 1)" in result.err
