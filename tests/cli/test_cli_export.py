"""dlkit export: what is written answers as the run does, in programs that have no dlkit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dlkit.cli.app import run as dlkit

FEW = ("train.epochs=null", "train.steps=3", "train.precision=fp32", "-q")
# A program with torch alone: importing dlkit, or anything else that is no part of torch's own requirements, fails.
ONLY_TORCH = """
import sys
for name in ("dlkit", "torchvision", "tokenizers", "safetensors", "transformers", "PIL", "onnx"):
    sys.modules[name] = None
import json, numpy, torch
folder, inputs, answers = sys.argv[1:]
texts = {"model.json": ""}
graph = torch.export.load(f"{folder}/model.pt2", extra_files=texts).module()
assert json.loads(texts["model.json"]) == json.load(open(f"{folder}/model.json"))
given = {name: torch.from_numpy(value) for name, value in numpy.load(inputs).items()}
with torch.no_grad():
    numpy.save(answers, graph(**given).numpy())
"""


def by_onnxruntime(folder: Path, **inputs: Any) -> Any:
    """The output of model.onnx."""
    onnxruntime = pytest.importorskip("onnxruntime")
    (answers,) = onnxruntime.InferenceSession(folder / "model.onnx").run(None, inputs)
    return answers


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in three classes, of other sizes than a model takes."""
    generator, root = np.random.default_rng(0), tmp_path_factory.mktemp("photos")
    for label in ("cat", "dog", "eel"):
        (root / label).mkdir()
        for i in range(5):
            pixels = generator.integers(0, 256, (41 + i, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / label / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def images(photos: Path) -> Path:
    """A run of a network for images, which averages over each and its mirror image."""
    run = photos.parent / "images"
    small = ["model.depths=[1,1]", "model.widths=[8,16]", "data.batch_size=5", "data.validation=0", "optimizer.lr=0.01"]
    changes = [f"data.path={photos}", "model.name=convnext", *small, "train.test_views=flip", *FEW]
    assert dlkit(["train", "images-resnet20", *changes, "--run-dir", str(run)]) == 0
    return run


def pixels_of(files: list[Path], size: int) -> Any:
    """As model.json describes it, with Pillow: the centre square, resized; (N, C, H, W) uint8."""
    found: list[Any] = []
    for file in files:
        image = Image.open(file).convert("RGB")
        w, h = image.size
        s = min(w, h)
        box = ((w - s) / 2, (h - s) / 2, (w + s) / 2, (h + s) / 2)
        image = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
        found.append(np.asarray(image).transpose(2, 0, 1))
    return np.stack(found)


def by_torch_alone(folder: Path, **inputs: Any) -> Any:
    """Logits of model.pt2 in a process of its own."""
    np.savez(folder.parent / "inputs.npz", **inputs)
    paths = [str(folder), str(folder.parent / "inputs.npz"), str(folder.parent / "answers.npy")]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", ONLY_TORCH, *paths], capture_output=True, text=True, cwd=folder.parent, env=clean
    )
    assert done.returncode == 0, done.stderr
    return np.load(folder.parent / "answers.npy")


def softmax(logits: Any) -> Any:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def require_predictions(result: Any, classes: list[str], logits: Any) -> None:
    """`dlkit predict` says the same of each input as these logits."""
    assert result.code == 0, result.err
    for named, row in zip(result.probabilities, softmax(logits).tolist(), strict=True):
        assert named == pytest.approx(dict(zip(classes, row, strict=True)), abs=1e-5)


def test_torch_alone_predicts_images(here: Any, images: Path, photos: Path, tmp_path: Path) -> None:
    """From pixels, with what is written and nothing else."""
    folder = tmp_path / "program"
    result = here("export", str(images), str(folder), "--format", "torch-export")
    assert result.code == 0 and result.err == "", result.err
    record = result.record
    assert record["files"] == sorted(file.name for file in folder.iterdir()) == ["model.json", "model.pt2"]
    assert record["bytes"] == sum(file.stat().st_size for file in folder.iterdir())
    assert (record["format"], record["classes"], record["run"]) == ("torch-export", 3, str(images))
    known = json.loads((folder / "model.json").read_text())
    assert known["inputs"]["pixels"] == {"dtype": "uint8", "shape": ["batch", 3, 32, 32]}
    files = sorted(photos.glob("*/*"))
    logits = by_torch_alone(folder, pixels=pixels_of(files, known["preprocessing"]["size"][0]))
    require_predictions(here("predict", str(images), str(photos)), known["classes"], logits)


def test_onnx_runtime_predicts_images(here: Any, images: Path, photos: Path, tmp_path: Path) -> None:
    """One image or all; classes and shapes are in the metadata too. Nothing of the exporter reaches the streams."""
    onnxruntime = pytest.importorskip("onnxruntime")
    folder = tmp_path / "graph"
    result = here("export", str(images), str(folder), "--format", "onnx", "-q")
    assert (result.code, result.out, result.err) == (0, f"{folder}\n", "")
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    known = json.loads((folder / "model.json").read_text())
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == known["classes"] == ["cat", "dog", "eel"]
    assert json.loads(metadata["preprocessing"]) == known["preprocessing"]
    (given,) = session.get_inputs()
    assert (given.name, given.shape, given.type) == ("pixels", ["batch", 3, 32, 32], "tensor(uint8)")
    assert session.get_outputs()[0].shape == ["batch", 3]
    pixels = pixels_of(sorted(photos.glob("*/*")), 32)
    logits = np.concatenate([by_onnxruntime(folder, pixels=pixels[:1]), by_onnxruntime(folder, pixels=pixels[1:])])
    require_predictions(here("predict", str(images), str(photos)), known["classes"], logits)
    refused = here("import", str(folder))
    assert refused.code == 2 and "holds a graph for onnx" in refused.err


def test_torchvision_loads_the_weights_strictly_and_they_come_back(
    here: Any, imported: Any, images: Path, photos: Path, tmp_path: Path
) -> None:
    """By its own constructor, with the normalisation that model.json has; imported again, it is the same model."""
    import torch
    import torchvision

    folder = tmp_path / "weights"
    result = here("export", str(images), str(folder), "--format", "torchvision")
    assert result.code == 0, result.err
    known = json.loads((folder / "model.json").read_text())
    assert known["constructor"] == result.record["constructor"]
    network = eval(known["constructor"], {"torchvision": torchvision}).eval()
    network.load_state_dict(torch.load(folder / "model.pth", weights_only=True), strict=True)
    seen = known["preprocessing"]
    mean, std = (np.array(seen[key], np.float32)[:, None, None] for key in ("mean", "std"))
    normalised = torch.from_numpy((pixels_of(sorted(photos.glob("*/*")), seen["size"][0]) - mean) / std)
    with torch.inference_mode():
        logits = (network(normalised) + network(normalised.flip(-1))) / 2  # its views: flip
    original = here("predict", str(images), str(photos))
    require_predictions(original, known["classes"], logits.numpy())
    again = imported(tmp_path / "again", str(folder))
    assert here("predict", str(again), str(photos)).probabilities == [
        pytest.approx(named, abs=1e-6) for named in original.probabilities
    ]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows whose first column float32 cannot tell apart."""
    generator, path = np.random.default_rng(0), tmp_path_factory.mktemp("rows") / "rows.csv"
    lines = ["time,size,kind"]
    lines += [f"{1_700_000_000 + i % 7},{size:.3f},{'ab'[i % 2]}" for i, size in enumerate(generator.normal(size=60))]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def rows(table: Path) -> Path:
    run = table.parent / "run"
    changes = [f"data.path={table}", "data.label=kind", "model.hidden=[8]", "data.validation=0", "train.patience=null"]
    assert (
        dlkit(["train", "csv-mlp", *changes, "train.epochs=null", "train.steps=20", "--run-dir", str(run), "-q"]) == 0
    )
    return run


@pytest.mark.parametrize("format", [pytest.param("torch-export", marks=pytest.mark.slow), "onnx"])
def test_rows_are_given_as_they_stand_in_the_table(
    here: Any, rows: Path, table: Path, tmp_path: Path, format: str
) -> None:
    folder = tmp_path / "out"
    if format == "onnx":
        pytest.importorskip("onnxruntime")
    assert here("export", str(rows), str(folder), "--format", format, "-q").code == 0
    known = json.loads((folder / "model.json").read_text())
    names = [column["name"] for column in known["preprocessing"]["columns"]]
    assert names == ["time", "size"]
    read = [line.split(",")[:2] for line in table.read_text().splitlines()[1:]]
    values = np.array(read, dtype=np.float64)
    answer = by_torch_alone if format == "torch-export" else by_onnxruntime
    require_predictions(here("predict", str(rows), "--rows", str(table)), known["classes"], answer(folder, rows=values))


TEXTS = ["a good film", "bad", "a very long and very bad film that I saw twice and then once more", "good"]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a BERT on pairs of texts, at most 16 tokens of them, pooled by their mean."""
    folder = tmp_path_factory.mktemp("texts")
    lines = [
        f"a {['good', 'bad'][i % 2]} film {'that I saw ' * (i % 5)},reply {i},{['sad', 'glad'][i % 2]}"
        for i in range(40)
    ]
    (folder / "pairs.csv").write_text("\n".join(["review,reply,mood", *lines]) + "\n")
    small = ["model.layers=1", "model.width=16", "model.heads=2", "data.context=16", "data.batch_size=8", *FEW]
    columns = [f"data.path={folder / 'pairs.csv'}", "data.text=review", "data.pair=reply", "data.label=mood"]
    assert dlkit(["train", "texts-bert", *columns, *small, "--run-dir", str(folder / "run")]) == 0
    return folder / "run"


def encoded(folder: Path, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Pairs as model.json describes it, with the tokenizers library."""
    tokenizers = pytest.importorskip("tokenizers")
    seen = json.loads((folder / "model.json").read_text())["preprocessing"]
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / seen["tokenizer"]))
    made: list[tuple[list[int], list[int]]] = []
    for pair in pairs:
        first, second = (tokenizer.encode(text, add_special_tokens=False).ids for text in pair)
        while len(first) + len(second) + 2 + seen["separators_of_a_pair"] > seen["context"]:
            (second if len(second) > len(first) else first).pop()
        head = [seen["begin"], *first, *[seen["separator"]] * seen["separators_of_a_pair"]]
        made.append(([*head, *second, seen["separator"]], [0] * len(head) + [1] * (len(second) + 1)))
    longest = max(len(ids) for ids, _ in made)
    padded = lambda values, with_: np.array([row + [with_] * (longest - len(row)) for row in values])  # noqa: E731
    return {
        "input_ids": padded([ids for ids, _ in made], seen["padding"]),
        "token_type_ids": padded([segments for _, segments in made], 0),
        "attention_mask": padded([[1] * len(ids) for ids, _ in made], 0),
    }


@pytest.mark.parametrize("format", [pytest.param("torch-export", marks=pytest.mark.slow), "onnx"])
def test_texts_of_any_length(here: Any, piped: Any, texts: Path, tmp_path: Path, format: str) -> None:
    folder = tmp_path / "out"
    if format == "onnx":
        pytest.importorskip("onnxruntime")
    assert here("export", str(texts), str(folder), "--format", format, "-q").code == 0
    known = json.loads((folder / "model.json").read_text())
    pairs = [(text, other) for text in TEXTS for other in ("yes", TEXTS[2])]
    lines = "".join(json.dumps({"review": a, "reply": b}) + "\n" for a, b in pairs).encode()
    answer = by_torch_alone if format == "torch-export" else by_onnxruntime
    logits = answer(folder, **encoded(folder, pairs))
    require_predictions(piped(lines, "predict", str(texts), "--rows", "-"), known["classes"], logits)


def test_a_gpt_answers_as_transformers_at_every_length(here: Any, tmp_path: Path) -> None:
    import torch
    import transformers

    small = ["model.layers=1", "model.width=16", "model.heads=2", "tokenizer.vocab_size=300", "data.context=16", *FEW]
    run, hub, folder = tmp_path / "run", tmp_path / "hub", tmp_path / "program"
    assert here("train", "pydoc-gpt", *small, "--run-dir", str(run)).code == 0
    assert here("export", str(run), str(hub), "-q").code == 0
    result = here("export", str(hub), str(folder), "--format", "torch-export")  # a directory goes out as a run does
    assert result.code == 0, result.err
    assert result.record["files"] == ["model.json", "model.pt2", "tokenizer.json"]
    assert (folder / "tokenizer.json").read_text() == (hub / "tokenizer.json").read_text()
    theirs = transformers.AutoModelForCausalLM.from_pretrained(hub).eval()
    ours = torch.export.load(folder / "model.pt2").module()
    for shape in ((1, 2), (3, 5), (2, 16)):
        token_ids = torch.randint(0, 300, shape, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            torch.testing.assert_close(ours(input_ids=token_ids), theirs(token_ids).logits, rtol=0, atol=1e-5)


def test_what_hugging_face_lacks_is_said_with_what_works(here: Any, texts: Path, tmp_path: Path) -> None:
    result = here("export", str(texts), str(tmp_path / "out"))
    assert result.code == 1
    command = f"dlkit export {texts} {tmp_path / 'out'} --format onnx, or torch-export"
    assert result.err == (
        f"error: Hugging Face's BERT classifies by its first token; this one has pooling: mean\nhint: {command}\n"
    )
    assert not (tmp_path / "out").exists()


def test_a_pair_keeps_its_columns_and_its_length(
    here: Any, piped: Any, imported: Any, texts: Path, tmp_path: Path
) -> None:
    """A long text is cut where the run cuts it, though the model has room for more."""
    first, wide = tmp_path / "first", ["model.pooling=first", "model.context=64"]
    assert here("train", str(texts / "recipe.yaml"), *wide, "--run-dir", str(first), "-q").code == 0
    assert here("export", str(first), str(tmp_path / "hub"), "-q").code == 0
    again = imported(tmp_path / "again", str(tmp_path / "hub"))
    lines = "".join(json.dumps({"review": text, "reply": "yes"}) + "\n" for text in TEXTS).encode()
    expected = piped(lines, "predict", str(first), "--rows", "-").probabilities
    assert piped(lines, "predict", str(again), "--rows", "-").probabilities == [
        pytest.approx(named, abs=1e-6) for named in expected
    ]
