"""`dlkit predict` beside `dlkit eval` on the same JPEGs: decoding alone, and with a ResNet-18 that has to keep up.

    pytest -m benchmark tests/benchmarks/test_predict.py -s

Both take turns in one process with an opened model, so that start-up is in neither; the ratio is the median of pairs.
An evaluation decodes in worker processes, a prediction in threads.
"""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlkit.app.evaluate import request_evaluation
from dlkit.app.predict import named_inputs, predict_with, request_prediction
from dlkit.cli.app import run as dlkit

REPEATS, IMAGES = 7, 96
MODELS = {"decoding": "{name: resnet, depths: [1], widths: [2], stem: patch}", "resnet18": "{name: resnet18}"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of images of 400x350, smooth with some grain: 110 KB each."""
    root, generator = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for index in range(IMAGES):
        coarse = Image.fromarray(generator.integers(0, 256, (12, 14, 3), dtype=np.uint8)).resize((400, 350))
        pixels = (np.asarray(coarse) + generator.normal(0, 22, (350, 400, 3))).clip(0, 255).astype(np.uint8)
        for split in ("train", "val") if index < 8 else ("val",):
            file = root / split / ("a", "b")[index % 2] / f"{index:04}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, "JPEG", quality=95)
            file.write_bytes(stream.getvalue())
    return root


@pytest.mark.benchmark
@pytest.mark.parametrize("model", MODELS)
def test_images_per_second(tree: Path, tmp_path: Path, model: str) -> None:
    size = "64" if model == "decoding" else "112"
    recipe = (
        f"task: image-classification\ndata: {{name: imagenet, path: {tree}, size: {size}, batch_size: 32}}\n"
        f"model: {MODELS[model]}\nloss: {{name: cross_entropy}}\noptimizer: {{name: momentum, lr: 0.001}}\n"
        "train: {steps: 1, precision: fp32, compile: off}\n"
    )
    (tmp_path / "r.yaml").write_text(recipe)
    assert dlkit(["train", str(tmp_path / "r.yaml"), "--run-dir", str(tmp_path / "run"), "-q"]) == 0
    opened = request_evaluation(tmp_path / "run", split="val").open("cpu")
    files = sorted(map(str, (tree / "val").glob("*/*.jpg")))
    predictor = request_prediction(tmp_path / "run").open("cpu")

    def evaluate() -> int:
        return opened.evaluate()[0].samples

    def predict() -> int:
        return sum(prediction.error is None for prediction in predictor.predictions(files))

    times: dict[str, list[float]] = {"eval": [], "predict": []}
    for turn in range(REPEATS + 1):
        for name, work in _in_turn({"eval": evaluate, "predict": predict}, turn):
            began = time.perf_counter()
            assert work() == IMAGES
            if turn:  # the first warms up
                times[name].append(time.perf_counter() - began)
    rates = {name: IMAGES / statistics.median(seconds) for name, seconds in times.items()}
    ratios = sorted(e / p for e, p in zip(times["eval"], times["predict"], strict=True))
    middle = statistics.median(ratios)
    print(
        f"\n{model}: predict {rates['predict']:.0f} images/s, eval {rates['eval']:.0f}; "
        f"{middle:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) times the images/s"
    )
    assert middle > 0.95


def _in_turn(works: dict[str, Callable[[], int]], turn: int) -> list[tuple[str, Callable[[], int]]]:
    return list(works.items())[:: 1 if turn % 2 else -1]


@pytest.mark.benchmark
def test_reading_rows_is_not_what_takes_long(tmp_path: Path) -> None:
    """100,000 rows of 10 columns from CSV."""
    generator = np.random.default_rng(0)
    names = [f"x{i}" for i in range(10)]
    values = generator.normal(size=(100_000, 10))
    lines = (",".join(f"{v:.6f}" for v in row) + f",{'ab'[int(row[0] > 0)]}" for row in values)
    (tmp_path / "rows.csv").write_text("\n".join([",".join([*names, "label"]), *lines]) + "\n")
    (tmp_path / "r.yaml").write_text(
        f"task: tabular-classification\ndata: {{name: csv, path: {tmp_path / 'rows.csv'}, label: label}}\n"
        "model: {name: mlp}\nloss: {name: cross_entropy}\noptimizer: {name: adam, lr: 0.01}\ntrain: {steps: 5}\n"
    )
    assert dlkit(["train", str(tmp_path / "r.yaml"), "--run-dir", str(tmp_path / "run"), "-q"]) == 0
    request = request_prediction(tmp_path / "run", batch_size=1024)
    began = time.perf_counter()
    summary = predict_with(request, named_inputs(request, [tmp_path / "rows.csv"])).result()
    seconds = time.perf_counter() - began
    print(f"\nrows: {summary.inputs / seconds:,.0f} a second")
    assert summary.inputs == 100_000 and seconds < 30
