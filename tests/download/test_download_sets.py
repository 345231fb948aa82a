"""Every data set of the catalogue, from a hub that serves it in its real schema to one training step."""

from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from dlkit.data import store
from dlkit.data.dataset import mean_and_deviation
from dlkit.data.images.cifar import cifar10, cifar100
from dlkit.data.images.imagenet import imagenet1k, imagenet22k
from dlkit.data.registry import DATASETS, GROUPS, DatasetInfo, datasets_named
from dlkit.data.text.prepared import load_prepared_texts
from dlkit.download import archives
from dlkit.errors import DlkitError, RequestError
from dlkit.memory import size_text

REMOTE = [dataset for dataset in DATASETS.values() if dataset.form != "embedded"]


def train_step(inputs: torch.Tensor, targets: torch.Tensor, classes: int | None) -> None:
    """One step of gradient descent changes the weights."""
    model = torch.nn.Linear(inputs.shape[1], classes or 1)
    before = model.weight.detach().clone()
    output = model(inputs.float())
    if classes:
        loss = torch.nn.functional.cross_entropy(output, targets.clamp(min=0))
    else:
        loss = torch.nn.functional.mse_loss(output.squeeze(1), targets.float())
    loss.backward()
    torch.optim.SGD(model.parameters(), lr=1e-3).step()
    assert loss.isfinite()
    assert not torch.equal(before, model.weight)


def bytes_of(texts: list[str]) -> torch.Tensor:
    """Bags of bytes, (n, 256)."""
    return torch.stack([torch.bincount(torch.tensor(list(text.encode())), minlength=256) for text in texts])


@pytest.mark.parametrize("dataset", REMOTE, ids=lambda dataset: dataset.name)
def test_every_data_set_downloads_prepares_and_trains(hub: Any, obtain: Any, dataset: DatasetInfo) -> None:
    hub.add(dataset.name)
    outcome = obtain(dataset.name)
    assert outcome.status == "downloaded"
    assert outcome.manifest.splits == dict.fromkeys(dataset.rows, 6)
    found = store.find_manifest(dataset.name)
    assert found is not None
    assert found.sha256 == outcome.manifest.sha256
    split = next(iter(dataset.rows))
    if dataset.form == "images":
        data = cifar10() if dataset.name == "cifar10" else cifar100()
        train_step(data.splits[split].inputs.flatten(1) / 255, data.splits[split].targets, len(data.classes))
    elif dataset.form == "texts":
        corpus = load_prepared_texts(dataset.name)
        table = corpus.tables[split]
        text = next(name for name, kind in corpus.features.items() if kind == "string")
        labels = table["label"].to_pylist() if "label" in table.column_names else [0.0] * 6
        train_step(bytes_of(table[text].to_pylist()), torch.tensor(labels), len(corpus.classes or ()) or None)
    else:
        data = (imagenet1k if dataset.name == "imagenet1k" else imagenet22k)(size=40)
        assert sorted(data.splits) == (["train", "val"] if dataset.name == "imagenet22k" else ["test", "train", "val"])
        source, targets = data.splits["train"].inputs, data.splits["train"].targets
        pixels = [np.asarray(source.image(row)).reshape(-1) for row in range(len(targets))]
        train_step(torch.from_numpy(np.stack(pixels)) / 255, targets, len(data.classes))
        assert data.sources["sha256"] == outcome.manifest.sha256


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_images_are_those_that_were_served(hub: Any, obtain: Any, name: str) -> None:
    hub.add(name)
    outcome = obtain(name)
    for split in ("train", "test"):
        dataset = DATASETS[name]
        body = hub.repositories[dataset.repo, "main"][f"{dataset.folder}/{split}-00000-of-00001.parquet"]
        rows = parquet.read_table(io.BytesIO(body)).to_pylist()
        expected = np.stack([np.asarray(Image.open(io.BytesIO(row["img"]["bytes"]))) for row in rows])
        for labels in ("label",) if name == "cifar10" else ("fine_label", "coarse_label"):
            data = cifar10() if name == "cifar10" else cifar100(labels=labels.partition("_")[0])  # type: ignore[arg-type]
            assert np.array_equal(data.splits[split].inputs.permute(0, 2, 3, 1).numpy(), expected)
            assert data.splits[split].targets.tolist() == [row[labels] for row in rows]
            mean, std = mean_and_deviation(data.splits["train"].inputs)
            torch.testing.assert_close(data.mean, mean)
            torch.testing.assert_close(data.std, std)
            assert data.sources["sha256"] == outcome.manifest.sha256
            assert data.sources["mismatch"]["train"] == {"published": 50_000, "found": 6}


def test_texts_are_those_that_were_served(hub: Any, obtain: Any) -> None:
    hub.add("superglue/record")
    obtain("superglue/record")
    body = hub.repositories["aps/super_glue", "refs/convert/parquet"]["record/train/0000.parquet"]
    assert (
        load_prepared_texts("superglue/record").tables["train"].to_pylist()
        == parquet.read_table(io.BytesIO(body)).to_pylist()
    )


def test_spans_as_a_list_of_mappings_are_the_same(hub: Any, obtain: Any) -> None:
    """`datasets` writes a sequence of mappings as a struct of lists or as a list of structs."""
    hub.add("superglue/record")
    files = hub.repositories["aps/super_glue", "refs/convert/parquet"]
    for path, body in files.items():
        table = parquet.read_table(io.BytesIO(body))
        kind = pa.list_(pa.struct([("text", pa.string()), ("start", pa.int32()), ("end", pa.int32())]))
        spans = pa.array([[{"text": "x", "start": 0, "end": 1}]] * 6, kind)
        stream = io.BytesIO()
        parquet.write_table(table.set_column(table.column_names.index("entity_spans"), "entity_spans", spans), stream)
        files[path] = stream.getvalue()
    obtain("superglue/record")
    first = load_prepared_texts("superglue/record").tables["train"]["entity_spans"][0].as_py()
    assert first == {"text": ["x"], "start": [0], "end": [1]}


def test_superglue_is_found_on_main_too(hub: Any, obtain: Any) -> None:
    hub.add("superglue/cb")
    files = hub.repositories.pop(("aps/super_glue", "refs/convert/parquet"))
    moved = {path.replace("/0000.", "-00000-of-00001."): body for path, body in files.items()}
    hub.repositories["aps/super_glue", "main"] = moved
    assert obtain("superglue/cb").manifest.source["revision"] == "main"


def test_published_rows_pass_and_others_do_not(hub: Any, obtain: Any) -> None:
    hub.add("glue/wnli", DATASETS["glue/wnli"].rows)
    assert obtain("glue/wnli", allow_mismatch=False).manifest.mismatch == {}
    hub.add("superglue/cb")
    with pytest.raises(DlkitError, match=r"train has 6 rows, 250 are published") as caught:
        obtain("superglue/cb", allow_mismatch=False)
    assert "allow_mismatch" in (caught.value.hint or "")
    served = sum(hub.served.values())
    assert obtain("superglue/cb").manifest.mismatch["train"] == {"published": 250, "found": 6}
    assert sum(hub.served.values()) == served  # what had come is not fetched again


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns(["label"]), "no column 'label'"),
        (lambda t: t.set_column(1, "label", pa.array(["x"] * 6)), "the column 'label' is string"),
        (lambda t: t.set_column(1, "label", pa.array([2] * 6)), "outside its 2 classes"),
    ],
)
def test_another_data_set_under_the_name_is_refused(hub: Any, obtain: Any, change: Any, message: str) -> None:
    hub.add("imdb")
    files = hub.repositories["stanfordnlp/imdb", "main"]
    for path, body in files.items():
        stream = io.BytesIO()
        parquet.write_table(change(parquet.read_table(io.BytesIO(body))), stream)
        files[path] = stream.getvalue()
    with pytest.raises(DlkitError, match=message):
        obtain("imdb")
    assert store.find_manifest("imdb") is None


def test_a_missing_shard_is_noticed(hub: Any, obtain: Any) -> None:
    hub.add("sst2")
    files = hub.repositories["stanfordnlp/sst2", "main"]
    files["data/train-00000-of-00002.parquet"] = files.pop("data/train-00000-of-00001.parquet")
    with pytest.raises(DlkitError, match="1 files of the split 'train', 2 expected"):
        obtain("sst2")


def test_names_and_groups() -> None:
    assert [s.name for s in datasets_named("glue")] == list(GROUPS["glue"])
    assert len(datasets_named("glue")) == 10
    assert len(datasets_named("superglue")) == 8
    with pytest.raises(RequestError, match="did you mean cifar10"):
        datasets_named("cifar1O")
    assert [size_text(n) for n in (0, 999, 1000, 143_646_105, 1.2e12)] == ["0 B", "999 B", "1 kB", "144 MB", "1.2 TB"]


def test_the_real_client_finds_this_hub_faithful(hub: Any, tmp_path: Path) -> None:
    """The hub's own downloader, with its HEAD requests, gets the same bytes from the hub of these tests."""
    from huggingface_hub import hf_hub_download

    hub.add("sst2")
    path = "data/train-00000-of-00001.parquet"
    got = hf_hub_download(
        "stanfordnlp/sst2", path, repo_type="dataset", endpoint=hub.url, cache_dir=tmp_path / "cache", token=False
    )
    assert Path(got).read_bytes() == hub.repositories["stanfordnlp/sst2", "main"][path]


def test_images_come_from_where_they_lie_in_the_archives(hub: Any, obtain: Any) -> None:
    """Two shards a split; any row, after a copy to another process too."""
    first, second = (hub.content("imagenet22k", {"train": rows, "validation": 2}) for rows in (4, 3))
    files = {**first, "imagenet22k-train-0001.tar": second["imagenet22k-train-0000.tar"]}
    hub.add("imagenet22k", files=files)
    obtain("imagenet22k")
    data = imagenet22k(size=16)
    source = pickle.loads(pickle.dumps(data.splits["train"].inputs))
    assert source.shape == (7, 3, 16, 16)
    assert data.splits["train"].targets.tolist() == [0, 1, 2, 3, 0, 1, 2]
    row = 0
    for name in ("imagenet22k-train-0000.tar", "imagenet22k-train-0001.tar"):
        with tarfile.open(fileobj=io.BytesIO(files[name])) as archive:
            for member in archive:
                if member.name.endswith(".jpg"):
                    expected = Image.open(archive.extractfile(member)).convert("RGB")  # type: ignore[arg-type]
                    assert np.array_equal(np.asarray(source.image(row)), np.asarray(expected))
                    row += 1
    orders = [source.order(torch.Generator().manual_seed(seed)).tolist() for seed in range(20)]
    assert all(sorted(order) == list(range(7)) for order in orders)
    # the images of both shards come mixed
    assert any(set(order[:3]) - {0, 1, 2, 3} and set(order[:3]) - {4, 5, 6} for order in orders)
    assert data.sources["order"] == "each epoch in a uniformly random order"


def test_the_test_split_of_imagenet_whose_labels_are_secret_is_left_out(hub: Any, obtain: Any) -> None:
    hub.add("imagenet1k")
    files = hub.repositories["ILSVRC/imagenet-1k", "main"]
    table = parquet.read_table(io.BytesIO(files["data/test-00000-of-00001.parquet"]))
    stream = io.BytesIO()
    parquet.write_table(table.set_column(1, "label", pa.array([-1] * 6)), stream)
    files["data/test-00000-of-00001.parquet"] = stream.getvalue()
    obtain("imagenet1k")
    assert sorted(imagenet1k(size=16).splits) == ["train", "val"]


def test_archives_of_images_without_a_class_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("x.jpg"))
    with pytest.raises(DlkitError, match="'x' is not an image and its class"):
        archives.index_shard(tmp_path / "a.tar", 0)
