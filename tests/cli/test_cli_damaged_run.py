"""A run whose files were damaged, moved or replaced by links: refused in one line, before anything is changed."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlkit.cli.app import run as dlkit

Tree = dict[str, bytes | str | None]


def tree(folder: Path) -> Tree:
    """Every file, link and folder in a folder."""
    return {
        str(path.relative_to(folder)): f"-> {path.readlink()}"
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in folder.rglob("*")
        if path.name != ".lock"
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of eight steps that keeps the checkpoints of steps 2, 4, 6 and 8."""
    folder, rows = tmp_path_factory.mktemp("whole"), random.Random(0)
    lines = [f"{rows.random()},{rows.random()},{'ab'[rows.random() < 0.5]}" for _ in range(60)]
    (folder / "rows.csv").write_text("\n".join(["x,y,label", *lines]) + "\n")
    data = f"data={{name: csv, path: {folder / 'rows.csv'}, label: label, validation: 0.2, batch_size: 8}}"
    settings = ["train.steps=8", "train.keep_checkpoints=true", "train.checkpoint_every=2 steps", "train.log_every=1"]
    model = ["~train.epochs", "model={name: mlp, hidden: [4]}", "train.eval_every=2 steps", "train.precision=fp32"]
    assert dlkit(["train", "csv-mlp", data, *settings, *model, "--run-dir", str(folder / "run"), "-q"]) == 0
    return folder / "run"


@pytest.fixture
def copies(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run as `x`, and as `other` beside it."""
    for name in ("x", "other"):
        shutil.copytree(whole, tmp_path / name, symlinks=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def checkpoints(name: str = "x") -> Path:
    return Path(name) / "checkpoints"


def no_manifest() -> None:
    (checkpoints() / "step-00000008" / "manifest.json").unlink()


def no_manifest_at_all() -> None:
    for path in checkpoints().glob("step-*/manifest.json"):
        path.unlink()


def no_checkpoints() -> None:
    shutil.rmtree(checkpoints())


def copied_under_another_step() -> None:
    shutil.copytree(checkpoints() / "step-00000004", checkpoints() / "step-00000077")


def flipped_digit() -> None:
    path = Path("x/metrics.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"step": 3', b'"step": 7', 1))


def flipped_key() -> None:
    path = Path("x/metrics.jsonl")
    path.write_bytes(path.read_bytes().replace(b"train/loss", b"train/losr", 1))


def cut_short() -> None:
    path = Path("x/metrics.jsonl")
    path.write_bytes(path.read_bytes()[:50])


def no_metrics() -> None:
    Path("x/metrics.jsonl").unlink()


def link(name: str, target: str) -> Callable[[], None]:
    def replace() -> None:
        path = Path("x") / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        path.symlink_to(target)

    return replace


LINKS = [
    link("checkpoints", "../other/checkpoints"),
    link("checkpoints/last", "../../other/checkpoints/step-00000002"),
    link("checkpoints/best", "../../other/checkpoints/step-00000002"),
    link("checkpoints/step-00000008", "../../other/checkpoints/step-00000002"),
    link("metrics.jsonl", "../other/metrics.jsonl"),
    link("summary.json", "../other/summary.json"),
    link("tensorboard", "../other/checkpoints"),
]


@pytest.mark.parametrize(
    ("damage", "error", "hint"),
    [
        (no_manifest, "step-00000008 has no manifest.json", "rm -r x/checkpoints/step-00000008"),
        (no_manifest_at_all, "step-00000008 has no manifest.json", "dlkit train x/recipe.yaml --run-dir x --overwrite"),
        (no_checkpoints, "x has lost its checkpoint", "dlkit train x/recipe.yaml --run-dir x --overwrite"),
        (copied_under_another_step, "step-00000077 holds the checkpoint of step 4", "call it step-00000004"),
        (flipped_digit, "metrics.jsonl is other than when the checkpoint of step 8 was taken", "train anew"),
        (flipped_key, "metrics.jsonl is other than when the checkpoint of step 8 was taken", "train anew"),
        (cut_short, "metrics.jsonl is shorter (50 bytes)", "train anew"),
        (no_metrics, "metrics.jsonl cannot be read", "train anew"),
        *((damage, "leads out of x, to", "remove the link") for damage in LINKS),
    ],
)
def test_what_cannot_be_resumed_is_refused_and_left_as_it_is(
    copies: Path, here: Any, damage: Callable[[], None], error: str, hint: str
) -> None:
    damage()
    before = tree(copies)
    result = here("train", "x", "--resume")
    said = [line for line in result.err.splitlines() if line.startswith(("error: ", "hint: "))]
    assert (result.code, result.out, len(said)) == (1, "", 2), result.err
    assert error in said[0]
    assert hint in said[1]
    assert tree(copies) == before


def test_what_others_keep_beside_the_checkpoints_is_let_be(copies: Path, here: Any) -> None:
    shutil.copytree(checkpoints() / "step-00000004", checkpoints() / "step-00000004.bak")
    (checkpoints() / "step-x").mkdir()
    (checkpoints() / "step-00000099").write_text("a file")
    (checkpoints() / "notes.txt").write_text("mine")
    foreign = {name: held for name, held in tree(checkpoints()).items() if ".bak" in name or "00" not in name}
    resumed = here("train", "x", "--resume", "train.keep_checkpoints=false")
    assert resumed.code == 2  # another recipe; the run's own is gone on with
    assert here("train", "x", "--resume").code == 0
    assert here("eval", "x", "-q").code == 0
    assert here("train", "x/recipe.yaml", "--run-dir", "x", "--overwrite", "train.steps=2").code == 0
    held = tree(checkpoints())
    assert {name: held.get(name) for name in foreign if name not in ("last", "best")} == {
        name: value for name, value in foreign.items() if name not in ("last", "best")
    }
    assert held["step-00000099"] == b"a file"
    assert "step-00000008" not in held


def swapped_checkpoint() -> None:
    shutil.rmtree(checkpoints() / "step-00000008")
    shutil.copytree(Path("third/checkpoints/step-00000008"), checkpoints() / "step-00000008")


def swapped_metrics() -> None:
    shutil.copy("third/metrics.jsonl", "x")


@pytest.mark.parametrize("damage", [swapped_checkpoint, swapped_metrics, flipped_digit])
def test_the_checkpoint_of_another_run_is_not_taken_for_the_runs_own(
    copies: Path, here: Any, damage: Callable[[], None]
) -> None:
    """It has the same shapes, and every file of it is whole."""
    assert here("train", "x/recipe.yaml", "seed=1", "--run-dir", "third").code == 0
    damage()
    for command in ("eval x --checkpoint last", "eval x/checkpoints/step-00000008", "train x --resume"):
        result = here(*command.split())
        assert (result.code, result.out) == (1, ""), command
        assert "damaged: x/metrics.jsonl is " in result.err
        assert " the checkpoint of step 8 was taken" in result.err
    Path("x/metrics.jsonl").unlink()
    assert here("eval", "x").code == 0


@pytest.mark.parametrize("damage", LINKS[:4])
def test_no_evaluation_leaves_the_run(copies: Path, here: Any, damage: Callable[[], None]) -> None:
    damage()
    for name in ("last", "best", "8"):
        if (checkpoints() / (name if name != "8" else "step-00000008")).resolve().is_relative_to(Path("x").resolve()):
            continue
        result = here("eval", "x", "--checkpoint", name)
        assert (result.code, result.out) == (1, "")
        assert "leads out of x, to" in result.err
        named = here("eval", f"x/checkpoints/{name if name != '8' else 'step-00000008'}")
        assert (named.code, named.out) == (1, "")


@pytest.mark.parametrize("damage", LINKS)
def test_overwriting_deletes_links_and_not_what_they_lead_to(
    copies: Path, here: Any, damage: Callable[[], None]
) -> None:
    damage()
    before = tree(copies / "other")
    result = here("train", "x/recipe.yaml", "--run-dir", "x", "--overwrite", "train.steps=2", "-q")
    assert result.code == 0, result.err
    assert tree(copies / "other") == before
    assert not checkpoints().is_symlink()
    assert here("eval", "x", "-q").code == 0


def test_a_best_checkpoint_that_is_gone_is_not_replaced_by_another(copies: Path, here: Any) -> None:
    best = (checkpoints() / "best").readlink()
    shutil.rmtree(checkpoints() / best)
    result = here("eval", "x")
    assert (result.code, result.out) == (1, "")
    assert "x has no checkpoint 'best'" in result.err
    assert "it has " in result.err
    assert "best," not in result.err


def test_a_resumed_run_writes_the_bytes_of_an_undisturbed_one(copies: Path, here: Any) -> None:
    for step in (8, 6):
        shutil.rmtree(checkpoints() / f"step-{step:08d}")
    with Path("x/metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 5, "epo')  # what a kill cut short
    assert here("train", "x", "--resume").code == 0
    assert Path("x/metrics.jsonl").read_bytes() == Path("other/metrics.jsonl").read_bytes()
    summaries = [json.loads(Path(name, "summary.json").read_text())["metrics"] for name in ("x", "other")]
    assert list(summaries[0].items()) == list(summaries[1].items())


def test_a_run_and_a_race_are_not_taken_for_one_another(here: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for name, file in (("race", "runs.jsonl"), ("run", "metrics.jsonl")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.yaml").write_text("extends: digits-mlp\n")
        (tmp_path / name / "environment.json").write_text("{}")
        (tmp_path / name / file).write_text('{"kind": "race"}\n')
    before = tree(tmp_path)
    for command in (
        "eval race", "train race --resume", "train digits-mlp --run-dir race --overwrite",
        "train digits-mlp --run-dir race --resume",
    ):  # fmt: skip
        result = here(*command.split())
        assert (result.code, result.out) == (2, ""), command
        assert "race holds a race of optimizers" in result.err, command
    result = here("compare-optimizers", "ravine", "--optimizers", "sgd", "--lr", "0.1", "--steps", "1", "--out", "run")
    assert result.code == 2
    assert "run holds no race, but another's recipe.yaml" in result.err
    assert tree(tmp_path) == before
