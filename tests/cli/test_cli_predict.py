"""dlkit predict: images of every kind of input, in order, one record each; equal to what an evaluation computes."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from dlkit import recipe as recipes
from dlkit.app.evaluate import request_evaluation
from dlkit.app.predict import predict_with, request_prediction
from dlkit.app.prediction import Prediction
from dlkit.cli.app import run as dlkit
from dlkit.cli.predict.view import prediction_lines
from dlkit.lines import lines_as_they_come

IMAGES = {"name": "images", "size": 12, "batch_size": 5}
STREAM = {"name": "imagenet", "size": 24, "resize": 28, "batch_size": 5, "workers": 0}
RECIPE = """task: image-classification
data: {data}
model: {{name: resnet, depths: [1], widths: [8]}}
loss: {{name: cross_entropy}}
optimizer: {{name: momentum, lr: 0.05}}
train: {{epochs: 1}}
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train/ and val/ with the classes cat, dog and eel; sizes differ."""
    generator, root = np.random.default_rng(0), tmp_path_factory.mktemp("photos")
    for split, count in (("train", 6), ("val", 4)):
        for brightness, label in enumerate(("cat", "dog", "eel")):
            (root / split / label).mkdir(parents=True)
            for i in range(count):
                pixels = generator.normal(60 + 60 * brightness, 30, (30 + i, 44 - i, 3)).clip(0, 255).astype("uint8")
                Image.fromarray(pixels).save(root / split / label / f"{i}.{'jpg' if i % 2 else 'png'}")
    return root


@pytest.fixture(scope="module", params=[IMAGES, STREAM], ids=["images", "imagenet"])
def run(request: pytest.FixtureRequest, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _trained(tmp_path_factory, {**request.param, "path": str(photos)})


@pytest.fixture(scope="module")
def plain(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _trained(tmp_path_factory, {**IMAGES, "path": str(photos)})


def _trained(factory: pytest.TempPathFactory, data: dict[str, Any]) -> Path:
    folder = factory.mktemp("runs")
    (folder / "r.yaml").write_text(RECIPE.format(data=json.dumps(data)))
    assert dlkit(["train", str(folder / "r.yaml"), "--run-dir", str(folder / "run"), "-q"]) == 0
    return folder / "run"


def test_equal_to_an_evaluation_of_the_same_files(here: Any, run: Path, photos: Path) -> None:
    """The model's own forward on the batches that `eval` measures, and torch's softmax of its logits."""
    result = here("predict", str(run), str(photos / "val"), "--top", "3")
    assert result.code == 0, result.err
    found = result.records
    opened = request_evaluation(run, split="val").open()
    trained = opened.trained
    trained.model.eval()
    with torch.inference_mode():
        batches = list(trained.dataset.batches(opened.recipe, "val", opened.device, False).epoch(0))
        probabilities = torch.cat([trained.model(batch.inputs).softmax(1) for batch in batches])
    assert len(found) == len(probabilities) == 12
    assert [record["input"] for record in found] == [str(path) for path in sorted((photos / "val").glob("*/*"))]
    for record, named, expected in zip(found, result.probabilities, probabilities.tolist(), strict=True):
        assert named == dict(zip(("cat", "dog", "eel"), expected, strict=True))  # bit by bit
        best = max(expected)
        assert (record["label"], record["probability"]) == (("cat", "dog", "eel")[expected.index(best)], best)
        assert list(named.values()) == sorted(expected, reverse=True)
        assert record["error"] is None


@pytest.mark.parametrize("run", [STREAM], indirect=True, ids=["imagenet"])
def test_equal_to_torchvisions_own_way(run: Path, photos: Path) -> None:
    """Resize, crop and normalise with torchvision alone."""
    see = v2.Compose(
        [
            v2.Resize(28, antialias=True), v2.CenterCrop(24), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )  # fmt: skip
    files = sorted((photos / "val").glob("*/*"))
    request = request_prediction(run, top=3)
    predictor = request.open()
    with torch.inference_mode():
        images = torch.stack([see(Image.open(file).convert("RGB")) for file in files])
        expected = predictor.trained.model(images).softmax(1)
    for prediction, each in zip(predictor.predictions(map(str, files)), expected, strict=True):
        found = dict(prediction.top)
        torch.testing.assert_close(torch.tensor([found[name] for name in ("cat", "dog", "eel")]), each)


def test_files_folders_patterns_and_pipes_in_order(here: Any, piped: Any, plain: Path, photos: Path) -> None:
    files = sorted(map(str, (photos / "val").glob("*/*")))
    every = here("predict", str(plain), str(photos / "val"))
    assert len(every.out.splitlines()) == 12
    assert here("predict", str(plain), str(photos / "val" / "**" / "*.*")).out == every.out
    assert here("predict", str(plain), *files).out == every.out
    for lines in ("\n".join(files), "\r\n".join([*files, ""]), "\0".join([*files, ""])):
        assert piped(lines, "predict", str(plain), "-").out == every.out
    backwards = here("predict", str(plain), *files[::-1])
    assert [record["input"] for record in backwards.records] == files[::-1]
    labels = here("predict", str(plain), *files, "-q")
    assert labels.out.splitlines() == [record["label"] for record in every.records]


def test_what_cannot_be_read_is_a_record_and_nothing_is_lost(
    here: Any, piped: Any, plain: Path, photos: Path, tmp_path: Path
) -> None:
    whole = sorted((photos / "val" / "cat").glob("*"))
    cut, text = tmp_path / "cut.jpg", tmp_path / "text.png"
    cut.write_bytes(whole[1].read_bytes()[:300])
    text.write_text("no image")
    lines = [*map(str, whole[:2]), str(cut), str(text), str(tmp_path / "gone.png"), str(tmp_path), *map(str, whole[2:])]
    result = piped("\n".join(lines), "predict", str(plain), "-")
    assert result.code == 1
    found = result.records
    assert [record["input"] for record in found] == lines
    failed = [record for record in found if record["error"]]
    assert [record["input"] for record in failed] == lines[2:6]
    assert all((record["label"], record["probability"], record["top"]) == (None, None, []) for record in failed)
    first, hint = result.err.splitlines()
    assert first.startswith(f"error: 4 of 8 inputs have no prediction; the first is {cut}: ")
    assert hint.startswith("hint: ")
    # a line each, so that `paste` puts labels beside names
    quiet = piped("\n".join(lines), "predict", str(plain), "-", "-q")
    assert [line == "" for line in quiet.out.split("\n")[:-1]] == [i in (2, 3, 4, 5) for i in range(8)]
    # batches are those of the images that are whole: their numbers do not change
    alone = {record["input"]: record for record in here("predict", str(plain), *map(str, whole)).records}
    for record in found:
        if not record["error"]:
            assert record["probability"] == pytest.approx(alone[record["input"]]["probability"], abs=1e-6)


def test_threshold_and_top(here: Any, plain: Path, photos: Path) -> None:
    every = here("predict", str(plain), str(photos / "val")).records
    middle = sorted(record["probability"] for record in every)[6]
    sure = here("predict", str(plain), str(photos / "val"), "--threshold", str(middle), "--top", "1").records
    for record, before in zip(sure, every, strict=True):
        assert record["label"] == (before["label"] if before["probability"] >= middle else None)
        assert record["top"] == before["top"][:1]
    assert {record["label"] for record in sure} > {None}


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["gone.jpg"], 1, "error: no such file or folder: gone.jpg"),
        (["*.tiff"], 1, "error: nothing matches *.tiff"),
        (["empty"], 1, "error: no images in empty"),
        ([], 2, "error: nothing to predict on standard input"),
        (["-", "a.png"], 2, "error: - stands beside other inputs"),
        (["--rows", "new.csv"], 2, "error: --rows new.csv: {run} is a run of images"),
        (["a.png", "--threshold", "1.5"], 2, "error: Invalid value for '--threshold'"),
        (["a.png", "--views", "both"], 2, "error: no such views: 'both'"),
        (["a.png", "--checkpoint", "7"], 1, "error: {run} has no checkpoint '7'"),
    ],
)
def test_wrong_requests(
    here: Any,
    plain: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stdin: Any,
    arguments: list[str],
    code: int,
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    stdin(b"")
    (tmp_path / "empty").mkdir()
    result = here("predict", str(plain), *arguments)
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith(expected.format(run=plain))
    assert len(result.err.splitlines()) == 2 and result.err.splitlines()[1].startswith("hint: ")


def test_a_run_that_predicts_nothing_says_what_is_meant(here: Any, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(recipes.load("pydoc-gpt").to_yaml())
    (tmp_path / "checkpoints").mkdir()
    result = here("predict", str(tmp_path), "text")
    assert result.code == 2
    assert result.err.startswith(
        f"error: {tmp_path} is a run of causal-lm, which predicts no class\nhint: dlkit generate"
    )


def test_records_come_while_the_producer_waits(plain: Path, photos: Path) -> None:
    """The path that is there is predicted before the next one comes: no batch is waited for."""
    files = sorted(map(str, (photos / "val" / "dog").glob("*")))
    end, begin = os.pipe()
    came = threading.Event()

    def produce() -> None:
        os.write(begin, f"{files[0]}\n".encode())
        waited.append(came.wait(20))
        os.write(begin, f"{files[1]}\n".encode())
        os.close(begin)

    waited: list[bool] = []
    producer = threading.Thread(target=produce)
    producer.start()
    with open(end, "rb") as pipe:  # noqa: PTH123
        came_in = lines_as_they_come(pipe, 0.02)
        lines: Iterator[str | None] = (None if line is None else os.fsdecode(line) for line in came_in)
        seen = []
        for prediction in predict_with(request_prediction(plain), lines):
            seen.append(prediction.input)
            came.set()
    producer.join()
    assert (seen, waited) == (files[:2], [True])


def test_digits_keep_their_range(here: Any, trained: Path, tmp_path: Path) -> None:
    """scikit-learn's digits go from 0 to 16, their pictures from 0 to 255: predicted as they are evaluated."""
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    pixels = digits.images[:40]
    for i, image in enumerate(pixels):
        Image.fromarray((image * 255 / 16).round().astype("uint8")).save(tmp_path / f"{i:02}.png")
    found = here("predict", str(trained), str(tmp_path), "--top", "10").records
    predictor = request_prediction(trained).open()
    saved = predictor.inputs.data.dataset  # type: ignore[attr-defined]
    with torch.inference_mode():
        images = (torch.tensor(pixels, dtype=torch.float32)[:, None] - saved.mean.float()) / saved.std.float()
        expected = predictor.trained.model(images).softmax(1)
    for record, each in zip(found, expected, strict=True):
        named = {int(entry["label"]): entry["probability"] for entry in record["top"]}
        torch.testing.assert_close(torch.tensor([named[i] for i in range(10)]), each, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_rows_on_a_terminal_fit(width: int) -> None:
    long = "photos/a folder with a very long name indeed/and another one/картина 00017.jpg"
    prediction = Prediction(
        long, "golden retriever of the north", 1.0, (("golden retriever of the north", 1.0), ("b", 0.0))
    )
    lines = prediction_lines(prediction, 2, width)
    assert all(line.cell_len <= width for line in lines)
    text = "\n".join(line.plain for line in lines)
    assert "1.0000" in text and "0.0000" in text and "00017.jpg" in text and "golden" in text
    assert text.count("━") == width // 5


def test_the_python_function(plain: Path, photos: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import dlkit as package

    work = package.predict(plain, photos / "val", top=2, threshold=0.99)
    found = list(work)
    assert [len(prediction.top) for prediction in found] == [2] * 12
    assert (work.result().inputs, work.result().failed) == (12, 0)
    assert capfd.readouterr() == ("", "")
