"""Any repository of the Hub, data set or model: fetched whole, verified, pinned to a commit, read as it is."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from dlkit.cli.app import run
from dlkit.data import store
from dlkit.data.hub.place import require_hub_place
from dlkit.data.registry import repository_info
from dlkit.download.hub_kind import find_repository
from dlkit.download.request import DownloadRequest
from dlkit.errors import DlkitError, RequestError
from dlkit.hub_reference import HubReference, hub_reference, located


def reference(name: str) -> HubReference:
    found = hub_reference(name)
    assert found is not None
    return found


def shard(**columns: Any) -> bytes:
    stream = io.BytesIO()
    parquet.write_table(pa.table(columns), stream)
    return stream.getvalue()


FILES = {
    "README.md": b"---\nlicense: mit\n---\n# Reviews\n",
    "data/train-00000-of-00001.parquet": shard(text=["a dull film", "a fine film"] * 10, label=[0, 1] * 10),
    "data/test-00000-of-00001.parquet": shard(text=["dull", "fine"], label=[0, 1]),
    "reviews.py": b"raise SystemExit",
    ".gitattributes": b"*.parquet filter=lfs",
}
MODEL = {
    "config.json": b"{}",
    "model.safetensors": b"weights",
    "adapter.safetensors": b"others",
    "pytorch_model.bin": b"a pickle",
    "onnx/model.onnx": b"onnx",
    "vocab.txt": b"[PAD]",
}


@pytest.fixture
def download(hub: Any, capfd: pytest.CaptureFixture[str]) -> Any:
    """Run `dlkit download`; returns exit code, records and what went to stderr."""

    def call(*arguments: str) -> tuple[int, list[dict[str, Any]], str]:
        capfd.readouterr()
        code = run(["download", "--retries", "1", "--timeout", "5", *arguments])
        captured = capfd.readouterr()
        return code, [json.loads(line) for line in captured.out.splitlines()], captured.err

    return call


def test_a_data_set_is_fetched_whole_and_read(hub: Any, download: Any, tmp_path: Path) -> None:
    hub.repositories["ann/reviews", "main"] = FILES
    code, [record], err = download("hf:ann/reviews")
    assert code == 0
    folder = tmp_path / "data" / "hub" / "datasets" / "ann" / "reviews"
    assert (record["name"], record["path"]) == ("hf:datasets/ann/reviews", str(folder))
    assert record["source"]["commit"].startswith("c0ffee")
    assert record["left_out"] == {".py": 1}
    assert "left out: 1 file (.py 1)" in err
    manifest = store.find_manifest("hub/datasets/ann/reviews")
    assert manifest is not None
    for file in manifest.files:
        assert (folder / file.path).read_bytes() == FILES[file.path]
        assert file.sha256 == hashlib.sha256(FILES[file.path]).hexdigest()
    place = require_hub_place("ann/reviews")
    assert (place.folder, place.shown, place.commit) == (folder, "ann/reviews", record["source"]["commit"])
    asked = len(hub.requests)
    assert download("hf:ann/reviews")[1][0]["status"] == "present"
    assert len(hub.requests) == asked

    pytest.importorskip("datasets")
    from dlkit.data.hub.texts import hub_texts

    texts = hub_texts(path="ann/reviews", text="text")
    assert texts.splits["test"].first == ["dull", "fine"]
    assert texts.sources["commit"] == place.commit


def test_of_a_model_only_what_dlkit_reads(hub: Any, download: Any, tmp_path: Path) -> None:
    hub.repositories["models/ann/bert", "main"] = MODEL
    code, [record], _ = download("hf:ann/bert")
    assert code == 0
    folder = tmp_path / "data" / "hub" / "models" / "ann" / "bert"
    there = {path.name for path in folder.iterdir() if path.name != ".seals"} - {store.MANIFEST}
    assert there == {"config.json", "model.safetensors", "vocab.txt"}
    assert record["left_out"] == {".bin": 1, ".onnx": 1, ".safetensors": 1}


def test_a_model_is_imported_by_the_name_that_it_was_downloaded_by(hub: Any, download: Any) -> None:
    from dlkit.app.import_request import request_import

    with pytest.raises(DlkitError, match="the model ann/bert is not here") as caught:
        request_import("hf:ann/bert")
    assert caught.value.hint == "fetch it first: dlkit download hf:models/ann/bert"
    hub.repositories["models/ann/bert", "main"] = MODEL | {"config.json": b'{"model_type": "bert"}'}
    _, [record], _ = download("hf:ann/bert")
    assert request_import("hf:ann/bert").path == Path(record["path"])


def test_a_part_of_a_data_set_is_fetched_and_said(hub: Any, download: Any) -> None:
    card = b"---\ndataset_info:\n  splits:\n  - {name: train, num_examples: 40}\n---\n"
    second = shard(text=["more"] * 20, label=[1] * 20)
    first = FILES["data/train-00000-of-00001.parquet"]
    files = {"README.md": card, "data/train-00000-of-00002.parquet": first, "data/train-00001-of-00002.parquet": second}
    hub.repositories["ann/reviews", "main"] = files
    code, [record], _ = download("hf:ann/reviews", "--include", "data/train-00000*")
    assert (code, record["left_out"]) == (0, {".parquet": 1})
    assert record["source"]["include"] == ["data/train-00000*"]
    assert download("hf:ann/reviews", "--include", "data/train-00000*")[1][0]["status"] == "present"

    pytest.importorskip("datasets")
    from dlkit.data.hub.texts import hub_texts

    texts = hub_texts(path="ann/reviews", text="text", test=0.0)
    assert {name: len(of.first) for name, of in texts.splits.items()} == {"train": 20}
    assert "ann/reviews, only data/train-00000*: all 20" in texts.sources["taken"]
    code, records, err = download("hf:ann/reviews", "--include", "*.csv")
    assert (code, records) == (2, [])
    assert "hf:datasets/ann/reviews has no files *.csv" in err

    served = dict(hub.served)
    assert download("hf:ann/reviews")[1][0]["status"] == "downloaded"  # the rest, and only that
    again = {name for name, count in hub.served.items() if count > served.get(name, 0)}
    assert again == {hashlib.sha256(second).hexdigest()}
    assert len(hub_texts(path="ann/reviews", text="text", test=0.0).splits["train"].first) == 40


def test_a_revision_has_a_folder_of_its_own(hub: Any, download: Any) -> None:
    hub.repositories["ann/reviews", "main"] = FILES
    hub.repositories["ann/reviews", "refs/convert/parquet"] = {"a/train/0000.parquet": shard(text=["x"])}
    code, [record], _ = download("hf:ann/reviews@refs/convert/parquet")
    assert code == 0
    assert record["path"].endswith("/ann/reviews@refs--convert--parquet")
    assert require_hub_place("hf:ann/reviews@refs/convert/parquet").folder == Path(record["path"])
    with pytest.raises(DlkitError) as caught:
        require_hub_place("ann/reviews")
    assert caught.value.hint == "dlkit download hf:ann/reviews"


def test_a_broken_transfer_goes_on_and_damage_is_repaired(hub: Any, download: Any) -> None:
    hub.repositories["ann/reviews", "main"] = FILES
    hub.faults["cdn"] = [("reset", 20)]
    code, [record], _ = download("hf:datasets/ann/reviews", "--retries", "3")
    assert code == 0
    damaged = Path(record["path"], "data/test-00000-of-00001.parquet")
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1] + b"?")
    served = dict(hub.served)
    code, [record], _ = download("hf:datasets/ann/reviews", "--verify")
    assert code == 0
    assert record["repaired"] == ["data/test-00000-of-00001.parquet"]
    assert damaged.read_bytes() == whole
    again = {name for name, count in hub.served.items() if count > served.get(name, 0)}
    assert again == {hashlib.sha256(whole).hexdigest()}  # nothing else was fetched again


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("hf:ann/absent", 1, "has no data set and no model ann/absent"),
        ("hf:ann/both", 2, "ann/both is a data set and a model"),
        ("hf:ann/secret", 1, "is gated"),
        ("hf:ann/pickled", 1, "has no weights in safetensors, but files of .bin"),
        ("hf:ann/evil", 1, "has a file '../x.csv', which would lie elsewhere"),
        ("hf:ann/reviews@v9", 1, "no revision 'v9'"),
        ("hf:ann", 2, "hf:ann names no repository of the Hub"),
        ("hf:models/ann/reviews", 1, "has no model ann/reviews"),
    ],
)
def test_what_cannot_be_fetched_is_one_line_with_a_hint(
    hub: Any, download: Any, name: str, code: int, message: str
) -> None:
    hub.repositories["ann/reviews", "main"] = FILES
    hub.repositories["ann/both", "main"] = FILES
    hub.repositories["models/ann/both", "main"] = MODEL
    hub.repositories["ann/secret", "main"] = FILES
    hub.repositories["ann/evil", "main"] = {"../x.csv": b"a\n1\n"}
    hub.repositories["models/ann/pickled", "main"] = {"config.json": b"{}", "pytorch_model.bin": b"a pickle"}
    hub.gated.add("ann/secret")
    found, records, err = download(name)
    assert (found, records) == (code, [])
    lines = [line for line in err.splitlines() if not line.startswith("http")]
    assert message in lines[0]
    assert lines[0].startswith("error: ")
    assert lines[1].startswith("hint: ")
    assert len(lines) == 2


def test_offline_the_hubs_own_cache_counts(
    hub: Any, download: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    huggingface_hub: Any = pytest.importorskip("huggingface_hub")
    hub.repositories["ann/reviews", "main"] = {"train.csv": b"text\na\n"}
    cache = tmp_path / "cache"
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    commit = "c0ffee" + "0" * 34
    repository = cache / "datasets--ann--reviews"  # as the library lays it out
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "train.csv").write_bytes(b"text\na\n")
    path = huggingface_hub.snapshot_download("ann/reviews", repo_type="dataset", cache_dir=cache, local_files_only=True)
    assert Path(path) == require_hub_place("ann/reviews").folder
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, [record], _ = download("hf:ann/reviews")
    assert (code, record["path"], record["status"]) == (0, str(snapshot), "present")
    assert not hub.requests
    assert "offline" in download("hf:ann/other")[2]


def test_a_folder_mirror_stands_for_the_hub(tmp_path: Path, download: Any) -> None:
    place = tmp_path / "mirror" / "ann" / "reviews"
    place.mkdir(parents=True)
    (place / "train.csv").write_bytes(b"text\na\n")
    code, [record], _ = download("hf:ann/reviews", "--mirror", str(tmp_path / "mirror"))
    assert code == 0
    assert Path(record["path"], "train.csv").read_bytes() == b"text\na\n"


def test_the_kind_is_known_of_what_is_here(hub: Any, download: Any, tmp_path: Path) -> None:
    hub.repositories["models/ann/bert", "main"] = MODEL
    assert download("hf:ann/bert")[0] == 0
    asked = len(hub.requests)
    found = find_repository(reference("hf:ann/bert"), DownloadRequest(tmp_path / "data"), None)  # type: ignore[arg-type]
    assert found.name == repository_info(reference("hf:models/ann/bert")).name
    assert len(hub.requests) == asked


def test_references_and_paths_are_told_apart(tmp_path: Path) -> None:
    assert located("ann/reviews", tmp_path) == "ann/reviews"
    (tmp_path / "ann" / "reviews").mkdir(parents=True)
    assert located("ann/reviews", tmp_path) == str(tmp_path / "ann" / "reviews")
    assert located("hf:ann/reviews", tmp_path) == "hf:ann/reviews"
    assert located("reviews", tmp_path) == str(tmp_path / "reviews")
    assert located("./ann/reviews", tmp_path) == str(tmp_path / "ann" / "reviews")
    assert str(reference("hf:models/ann/bert@v1")) == "hf:models/ann/bert@v1"
    assert hub_reference("hf:ann/../x") is None
    with pytest.raises(RequestError, match="is a model"):
        require_hub_place("hf:models/ann/bert")
