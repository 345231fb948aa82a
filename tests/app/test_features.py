"""Features of a layer: equal to the model's own modules called one by one; files that numpy and pyarrow read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from dlkit.app.predict import request_prediction
from dlkit.cli.app import run as dlkit

RECIPE = """task: image-classification
data: {{name: images, path: {path}, size: 12, batch_size: 4}}
model: {{name: resnet, depths: [1, 1], widths: [8, 16]}}
loss: {{name: cross_entropy}}
optimizer: {{name: momentum, lr: 0.05}}
train: {{epochs: 1}}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, generator = tmp_path_factory.mktemp("features"), np.random.default_rng(0)
    for label in "ab":
        (folder / "data" / label).mkdir(parents=True)
        for i in range(5):
            pixels = generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "data" / label / f"{i}.png")
    (folder / "r.yaml").write_text(RECIPE.format(path=folder / "data"))
    assert dlkit(["train", str(folder / "r.yaml"), "--run-dir", str(folder / "run"), "-q"]) == 0
    return folder / "run"


@pytest.mark.parametrize("layer", ["layer1", "layer2", "penultimate", "fc"])
def test_equal_to_the_modules_one_by_one(run: Path, tmp_path: Path, layer: str) -> None:
    out = tmp_path / "f.npy"
    assert dlkit(["predict", str(run), str(run.parent / "data"), "--features", layer, "--out", str(out), "-q"]) == 0
    predictor = request_prediction(run).open()
    model: Any = predictor.trained.model
    files = sorted(map(str, (run.parent / "data").glob("*/*.png")))
    expected: list[torch.Tensor] = []
    with torch.inference_mode():
        for found in predictor.inputs.batches(files, predictor.device, False):
            x = found.batches[0][1].inputs  # type: ignore[attr-defined]
            one = model.layer1(model.maxpool(model.activation(model.bn1(model.conv1(x)))))
            two = model.layer2(one)
            pooled = two.mean((2, 3))
            steps = {"layer1": one.mean((2, 3)), "layer2": pooled, "penultimate": pooled, "fc": model.fc(pooled)}
            expected.append(steps[layer])
    values = np.load(out)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, torch.cat(expected).numpy())


def test_parquet_has_them_beside_their_inputs(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    good = str(run.parent / "data" / "a" / "0.png")
    capfd.readouterr()
    command = ["predict", str(run), good, str(bad), good, "--features", "penultimate", "--out"]
    assert dlkit([*command, str(tmp_path / "f.parquet")]) == 1
    printed = capfd.readouterr()
    record = json.loads(printed.out)
    assert (record["inputs"], record["failed"], record["dimensions"], record["layer"]) == (3, 1, 16, "penultimate")
    assert printed.err.startswith("error: 1 of 3 inputs has no prediction; it is ")
    table = pq.read_table(tmp_path / "f.parquet")
    assert table["input"].to_pylist() == [good, str(bad), good]
    assert [error is None for error in table["error"].to_pylist()] == [True, False, True]
    assert dlkit([*command, str(tmp_path / "f.npy")]) == 1
    values = np.load(tmp_path / "f.npy")
    assert np.isnan(values[1]).all() and (values[0] == values[2]).all()
    vectors = table["features"].to_pylist()
    assert vectors[1] is None
    np.testing.assert_array_equal(np.array(vectors[0], np.float32), values[0])


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["--features", "layer3", "--out", "f.npy"], 2, "the model has no layer 'layer3' (did you mean layer2?)"),
        (["--features", "fc"], 2, "--features writes a file"),
        (["--features", "fc", "--out", "f.csv"], 2, "--out f.csv does not end in .npy or .parquet"),
    ],
)
def test_wrong_requests(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any, arguments: list[str], code: int, error: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert dlkit(["predict", str(run), str(run.parent / "data"), *arguments]) == code
    assert f"error: {error}" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_of_texts_the_mean_leaves_padding_out(tmp_path: Path) -> None:
    """A text has the same features alone as in a batch with a longer one."""
    lines = "".join(f"{'a film that I saw ' * (i % 4 + 1)},{'ab'[i % 2]}\n" for i in range(20))
    (tmp_path / "t.csv").write_text(f"text,label\n{lines}")
    (tmp_path / "r.yaml").write_text(
        f"task: text-classification\ndata: {{name: texts, path: {tmp_path / 't.csv'}, text: text, label: label}}\n"
        "model: {name: bert, layers: 1, width: 16, heads: 2}\nloss: {name: cross_entropy}\n"
        "optimizer: {name: adamw, lr: 0.01}\ntrain: {epochs: 1}\n"
    )
    assert dlkit(["train", str(tmp_path / "r.yaml"), "--run-dir", str(tmp_path / "run"), "-q"]) == 0
    found: list[Any] = []
    for texts in (["a film"], ["a film", "a film that I saw " * 4]):
        command = ["predict", str(tmp_path / "run"), *texts, "--features", "blocks.0", "--out", str(tmp_path / "f.npy")]
        assert dlkit(command) == 0
        found.append(np.load(tmp_path / "f.npy"))
    assert found[0].shape == (1, 16) and found[1].shape == (2, 16)
    np.testing.assert_allclose(found[0][0], found[1][0], atol=1e-6)


def test_a_suffix_may_be_written_in_capitals(run: Path, tmp_path: Path) -> None:
    for name in ("F.NPY", "F.Parquet"):
        out = tmp_path / name
        assert dlkit(["predict", str(run), str(run.parent / "data"), "--features", "fc", "--out", str(out), "-q"]) == 0
    assert np.load(tmp_path / "F.NPY").shape == (10, 2)
    assert len(pq.read_table(tmp_path / "F.Parquet")["input"].unique()) == 10
