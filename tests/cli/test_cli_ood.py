"""dlkit eval --ood: a record for each set, the figure, and what can go wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dlkit.cli.app import run as dlkit
from dlkit.data.images.ood_sources import fit_images, ood_folder, uniform_noise
from dlkit.errors import DlkitError


@pytest.fixture(scope="module", name="run")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ood") / "run"
    changes = ["train.epochs=6", "data.shift=0"]
    assert dlkit(["train", "digits-mlp", *changes, "--run-dir", str(path), "-q"]) == 0
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for name in ("a/1.png", "a/b/2.png", "3.png"):
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (30, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / name)
    return tmp_path / "pictures"


def test_records(here: Any, run: Path, pictures: Path, tmp_path: Path) -> None:
    figure = tmp_path / "scores.svg"
    result = here(
        "eval", str(run), "--ood", "noise", "--ood", f"images:{pictures}", "--ood", "digits", "--histogram", str(figure)
    )
    assert result.code == 0, result.err
    inside, noise_record, images, digits = result.records
    assert inside["data"] == "digits" and "kind" not in inside
    assert [r["data"] for r in (noise_record, images, digits)] == ["noise", f"images:{pictures}", "digits"]
    assert (noise_record["n"], images["n"], digits["n"]) == (360, 3, 360)
    assert noise_record["inside"] == {"data": "digits", "split": "test", "n": 360}
    # the same examples on both sides cannot be told apart; noise can
    assert {digits["metrics"][f"{score}/auroc"] for score in ("msp", "max_logit", "energy", "entropy")} == {0.5}
    assert noise_record["metrics"]["msp/auroc"] > 0.7
    assert figure.read_text().startswith("<?xml")
    assert here("eval", str(run), "--ood", "noise", "-q").out == f"{inside['metrics']['accuracy']}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["--ood", "cifra10"], 2, "no such data: --ood cifra10"),
        (["--ood", "images"], 2, "no such data: --ood images"),
        (["--ood", "images:/no/such"], 1, "no such folder: /no/such"),
        (["--ood", ""], 2, "no such data"),
        (["--ood", "digits:"], 2, "no such data: --ood digits:"),
        (["--ood", "noise:1"], 2, "no such data: --ood noise:1"),
        (["--histogram", "x.svg"], 2, "--histogram draws the scores of --ood"),
        (["--ood", "noise", "--histogram", "x.jpg"], 2, "--histogram x.jpg"),
        (["--views", "both"], 2, "no such views: 'both'"),
    ],
)
def test_wrong_requests(here: Any, run: Path, arguments: list[str], code: int, expected: str) -> None:
    result = here("eval", str(run), *arguments)
    assert (result.code, result.out) == (code, "")
    assert expected in result.err.splitlines()[0]


def test_some_classes_of_other_data(here: Any, run: Path) -> None:
    result = here("eval", str(run), "--ood", "digits:3,8")
    assert result.code == 0, result.err
    record = json.loads(result.out.splitlines()[1])
    assert (record["data"], record["n"]) == ("digits:3,8", 72)


def test_what_is_wrong_with_other_data_is_said_before_the_evaluation(
    here: Any, run: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluated(*arguments: Any) -> None:
        pytest.fail("the evaluation began")

    monkeypatch.setattr("dlkit.app.evaluation.evaluate_split", evaluated)
    (pictures / "text.png").write_text("no image")
    (pictures.parent / "empty").mkdir()
    for source, code, expected in (
        ("digits:ten", 2, "--ood digits:ten: no such class"),
        ("digits:3,ten", 2, "--ood digits:ten: no such class"),
        ("cifar10", 1, "the data set cifar10 is not here"),
        (f"images:{pictures}", 1, f"cannot read the image {pictures}/text.png"),
        (f"images:{pictures.parent}/empty", 1, f"no images in {pictures.parent}/empty"),
    ):
        result = here("eval", str(run), "--ood", "noise", "--ood", source, "--data-dir", str(pictures.parent))
        assert (result.code, result.out) == (code, ""), source
        error, hint = result.err.splitlines()
        assert error.startswith(f"error: {expected}") and hint.startswith("hint: ")
    result = here("eval", str(run), "--ood", "noise", "--split", "tset")
    assert (result.code, result.out) == (2, "")
    assert "no split 'tset'" in result.err


def test_a_run_on_streamed_images(here: Any, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for name in [f"{split}/{label}/{i}.png" for split in ("train", "val") for label in "ab" for i in range(4)]:
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(tmp_path / "tree" / name)
    small = ["model={name: resnet, depths: [1], widths: [4]}", "data.size=16", "data.resize=18", "data.workers=0"]
    changes = [f"data.path={tmp_path / 'tree'}", "data.batch_size=8", *small, "train.epochs=1"]
    assert here("train", "imagenet-resnet50", *changes, "--run-dir", str(tmp_path / "run")).code == 0
    sources = ["noise", "digits:3", f"images:{tmp_path / 'tree' / 'val'}"]
    result = here("eval", str(tmp_path / "run"), *(word for source in sources for word in ("--ood", source)))
    assert result.code == 0, result.err
    inside, *others = result.records
    assert [(record["data"], record["n"]) for record in others] == list(zip(sources, (8, 37, 8), strict=True))
    # the run's own images, which go the same way, cannot be told apart
    assert inside["n"] == 8
    assert others[2]["metrics"]["energy/auroc"] == 0.5


def test_views_change_the_answer(here: Any, run: Path) -> None:
    plain, both = (here("eval", str(run), "--views", views).record["metrics"] for views in ("one", "flip"))
    assert plain["loss"] != both["loss"]
    assert here("eval", str(run)).record["metrics"] == plain


def test_rows_have_no_outside(here: Any, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("a,b,label\n" + "".join(f"{i},{i % 7},{i % 2}\n" for i in range(60)))
    changes = [f"data.path={table}", "data.label=label", "train.epochs=1"]
    assert here("train", "csv-mlp", *changes, "--run-dir", str(tmp_path / "run")).code == 0
    result = here("eval", str(tmp_path / "run"), "--ood", "noise")
    assert (result.code, result.out) == (2, "")
    assert "--ood is about images" in result.err


def test_other_forms_of_images(tmp_path: Path, pictures: Path) -> None:
    assert ood_folder(pictures, (3, 8, 8), 1.0)[0].shape == (3, 3, 8, 8)
    assert ood_folder(pictures, (1, 6, 9), 1.0)[0].shape == (3, 1, 6, 9)
    assert 8 < ood_folder(pictures, (1, 8, 8), 16 / 255)[0].max() <= 16
    with pytest.raises(DlkitError, match="no images in"):
        (tmp_path / "empty").mkdir()
        ood_folder(tmp_path / "empty", (3, 8, 8), 1.0)
    digits = torch.arange(17, dtype=torch.uint8).view(17, 1, 1, 1).expand(17, 1, 8, 8).contiguous()
    large = fit_images(digits, (3, 32, 32), 255 / 16)
    assert large.shape == (17, 3, 32, 32)
    assert large[16].unique().tolist() == [255] and large[8].unique().tolist() == [128]
    grey = fit_images(torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1), (1, 1, 1), 1.0)
    assert grey.item() == 76
    uniform = uniform_noise(200, (1, 8, 8), 16, 0)
    assert uniform.min() == 0 and uniform.max() == 16
    assert torch.equal(uniform, uniform_noise(200, (1, 8, 8), 16, 0))
