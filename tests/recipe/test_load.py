"""Loading a recipe: merging, overriding, checking, completing; every problem at once, with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from dlkit import recipe
from dlkit.errors import DlkitError, RecipeError, RequestError

GOOD = """\
task: image-classification
data: {name: digits}
model: {name: resnet20}
optimizer: {name: momentum, lr: 1e-3}
train: {epochs: 2}
"""


def write(folder: Path, text: str | bytes, name: str = "r.yaml") -> str:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def problems(source: str, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        recipe.load(source, overrides)
    return [str(problem).replace(str(Path(source).parent) + "/", "") for problem in caught.value.problems]


def test_defaults_are_written_out(tmp_path: Path) -> None:
    loaded = recipe.load(write(tmp_path, GOOD))
    assert loaded.name == "r"
    assert loaded.values["optimizer"] == {
        "name": "momentum",
        "lr": 0.001,
        "momentum": 0.9,
        "nesterov": False,
        "weight_decay": 0.0,
        "maximize": False,
        "decay": "weights",
        "layer_decay": 1.0,
        "head_factor": 1.0,
        "bias_factor": 1.0,
    }
    assert loaded.values["loss"]["name"] == "cross_entropy"
    assert loaded.values["schedule"] == {"name": "constant", "warmup": 0.0}
    assert loaded.values["train"]["precision"] == "auto"
    assert list(loaded.values) == ["task", "seed", "data", "model", "loss", "optimizer", "schedule", "train"]


def test_the_resolved_recipe_loads_back_to_itself(tmp_path: Path) -> None:
    loaded = recipe.load(write(tmp_path, GOOD), ["train.compile=on", "optimizer.lr=3e-05", "train.ema=0.99"])
    again = recipe.load(write(tmp_path, loaded.to_yaml(), "again.yaml"))
    assert again.values == loaded.values


@pytest.mark.parametrize("name", sorted(recipe.shipped()))
def test_shipped_recipes_are_good_and_have_a_header(name: str) -> None:
    path = recipe.shipped()[name]
    assert len(recipe.summary(path)) > 20
    assert path.read_text().startswith("# yaml-language-server: $schema=")
    assert recipe.load(name).name == name


def test_numbers_in_exponent_form_are_numbers(tmp_path: Path) -> None:
    assert recipe.load(write(tmp_path, GOOD)).values["optimizer"]["lr"] == 0.001
    assert recipe.load(write(tmp_path, GOOD), ["optimizer.lr=1e-4"]).values["optimizer"]["lr"] == 0.0001


# ---------------------------------------------------------------- overrides and extends


def test_overrides_win_and_tilde_removes(tmp_path: Path) -> None:
    source = write(tmp_path, GOOD + "schedule: {name: cosine, warmup: 10}\n")
    values = recipe.load(source, ["seed=7", "~schedule.warmup", "model.norm=layer", "train.epochs=3"]).values
    assert (values["seed"], values["schedule"]["warmup"]) == (7, 0.0)
    assert (values["model"]["norm"], values["train"]["epochs"]) == ("layer", 3)
    assert recipe.load(source, ["~schedule"]).values["schedule"]["name"] == "constant"


def test_another_component_starts_afresh_whatever_the_order(tmp_path: Path) -> None:
    source = write(tmp_path, GOOD)
    assert recipe.load(source, ["optimizer.name=adam"]).values["optimizer"]["lr"] == 0.001  # Adam's own default
    for overrides in (["optimizer.name=adagrad", "optimizer.lr=0.5"], ["optimizer.lr=0.5", "optimizer.name=adagrad"]):
        values = recipe.load(source, overrides).values["optimizer"]
        assert (values["name"], values["lr"]) == ("adagrad", 0.5)
        assert "momentum" not in values


def test_extends_merges_from_the_parent_up(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "base.yaml")
    write(tmp_path, "extends: base.yaml\nmodel: {norm: group}\ntrain: {epochs: 5}\n", "middle.yaml")
    values = recipe.load(write(tmp_path, "extends: middle.yaml\noptimizer: {name: adam}\n")).values
    assert values["model"]["name"] == "resnet20"
    assert values["model"]["norm"] == "group"
    assert values["train"]["epochs"] == 5
    assert values["optimizer"]["name"] == "adam"
    assert recipe.load(write(tmp_path, "extends: digits-mlp\nseed: 3\n", "child.yaml")).values["seed"] == 3


def test_paths_are_relative_to_the_file_that_sets_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    text = GOOD.replace("{name: digits}", "{name: images, path: photos}")
    source = write(tmp_path / "sub", text)
    assert recipe.load(source).values["data"]["path"] == str(tmp_path / "sub" / "photos")
    assert recipe.load(source, ["data.path=mine"]).values["data"]["path"] == str(tmp_path / "cwd" / "mine")
    assert recipe.load(source, ["data.path=/abs"]).values["data"]["path"] == "/abs"


# ---------------------------------------------------------------- problems


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("lr: 1e-3", "lr: fast", "r.yaml:4: optimizer.lr: expected a number > 0, got 'fast'"),
        ("lr: 1e-3", "lr: -1", "r.yaml:4: optimizer.lr: must be > 0, got -1"),
        ("lr: 1e-3", "lr: 0", "r.yaml:4: optimizer.lr: must be > 0, got 0"),
        ("lr: 1e-3", "lr: true", "r.yaml:4: optimizer.lr: expected a number > 0, got true"),
        ("lr: 1e-3", "lr: [1]", "r.yaml:4: optimizer.lr: expected a number > 0, got [1]"),
        ("lr: 1e-3", "lr: .nan", "r.yaml:4: optimizer.lr: not a finite number: .nan"),
        ("lr: 1e-3", "lr: 1, lr: 2", "r.yaml:4: optimizer.lr: duplicate key: first set on line 4"),
        ("lr: 1e-3", "lrr: 1e-3", "r.yaml:4: optimizer.lrr: unknown key (did you mean lr?)"),
        ("lr: 1e-3", "nesterov: 1", "r.yaml:4: optimizer.nesterov: expected true or false, got 1"),
        ("lr: 1e-3", "nesterov: no", "r.yaml:4: optimizer.nesterov: an unquoted 'no' is a boolean to some"),
        ("epochs: 2", "epochs: 0", "r.yaml:5: train.epochs: expected a whole number >= 1 or null, got 0"),
        ("epochs: 2", "epochs: 2.0", "r.yaml:5: train.epochs: expected a whole number >= 1 or null, got 2.0"),
        ("epochs: 2", "epochs: 2, steps: 3", "r.yaml:5: train.epochs: set either train.epochs or train.steps: both"),
        ("epochs: 2", "log_every: 1", "r.yaml:5: train: set either train.epochs or train.steps: neither is set"),
        ("epochs: 2", "epochs: 2, eval_every: 1", "r.yaml:5: train.eval_every: expected text such as '1 epoch'"),
        ("epochs: 2", "epochs: 2, eval_every: 0 steps", "r.yaml:5: train.eval_every: expected text such as"),
        ("resnet20", "resnet2O", "r.yaml:3: model.name: expected one of mlp, cnn, resnet, resnet20"),
        ("name: resnet20", "norm: batch", "r.yaml:3: model.name: missing: mlp, cnn, resnet, resnet20"),
        (
            "{name: resnet20}",
            "resnet20",
            "r.yaml:3: model: expected a mapping, got 'resnet20': write model: {name: resnet",
        ),
        ("{name: resnet20}", "[resnet20]", 'r.yaml:3: model: expected a mapping, got ["resnet20"]'),
        ("name: digits", "name: images", "r.yaml:2: data.path: missing: text"),
        ("name: digits", "name: no", "r.yaml:2: data.name: an unquoted 'no' is a boolean to some"),
        (
            "task: image-",
            "task: imag-",
            "r.yaml:1: task: expected one of image-classification, tabular-classification, tabular-regr",
        ),
        ("task: image-classification", "tsk: x", "r.yaml:1: tsk: unknown key (did you mean task?)"),
        (
            "task: image-",
            "task: tabular-",
            "r.yaml:3: model.name: resnet20 is not for tabular-classification; these are: mlp",
        ),
        ("train: {epochs: 2}", "train: {epochs: 2}\nextra: 1", "r.yaml:6: extra: unknown key"),
    ],
)
def test_a_problem_is_named_with_its_line_and_key(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in GOOD
    found = problems(write(tmp_path, GOOD.replace(old, new)))
    assert any(problem.startswith(expected) for problem in found), found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "r.yaml:1: expected a mapping (task: ..., data: ...), got an empty file"),
        ("# only a comment\n", "r.yaml:1: expected a mapping (task: ..., data: ...), got an empty file"),
        ("- a\n- b\n", "r.yaml:1: expected a mapping (task: ..., data: ...), got a list"),
        ("just text\n", "r.yaml:1: expected a mapping (task: ..., data: ...), got 'just text'"),
        (b"task: \xff\n", "r.yaml:1: not UTF-8: byte 0xff at offset 6"),
        ("data: !!python/name:os.system {}\n", "r.yaml:1: YAML tags are not allowed"),
        ("extends: r.yaml\n", "r.yaml:1: extends: extends itself: r.yaml -> r.yaml"),
        ("extends: missing.yaml\n", "r.yaml:1: extends: no such recipe file: "),
        ("extends: digits-mpl\n", "r.yaml:1: extends: no recipe named 'digits-mpl' (did you mean digits-mlp?)"),
        ("extends: [a]\n", "r.yaml:1: extends: expected a recipe file or name, got"),
    ],
)
def test_a_file_that_is_no_recipe_says_why(tmp_path: Path, text: str | bytes, expected: str) -> None:
    assert problems(write(tmp_path, text))[0].startswith(expected)


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("lr: 1e-3", "lr: fast").replace("resnet20", "resnet21").replace("epochs: 2", "epochs: 0")
    found = problems(write(tmp_path, text + "sed: 1\n"), "optimizer.momentum=2", "~seed", "nonsense")
    assert len(found) == 7, found
    assert [problem for problem in found if problem.startswith("command line")] == [
        "command line: ~seed: nothing to remove (did you mean sed?)",
        "command line: nonsense: expected KEY=VALUE or ~KEY",
        "command line: optimizer.momentum: must be < 1, got 2",
    ]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("optimizer.lr=fast", "command line: optimizer.lr: expected a number > 0, got 'fast'"),
        ("optimizer.lr=", "command line: optimizer.lr: expected a number > 0, got null"),
        ("optimizer.lr=[1", "command line: optimizer.lr: not YAML: "),
        ("optimizer.lr=!!int 3", "command line: optimizer.lr: YAML tags are not allowed"),
        ("optimizer.lr.x=1", "command line: optimizer.lr.x: optimizer.lr is not a mapping"),
        ("optimizer=adam", "command line: optimizer: expected a mapping, got 'adam'"),
        (".lr=1", "command line: .lr=1: expected KEY=VALUE or ~KEY"),
        ("modle.name=mlp", "command line: modle: unknown key (did you mean model?)"),
    ],
)
def test_overrides_are_checked_like_files(tmp_path: Path, override: str, expected: str) -> None:
    assert problems(write(tmp_path, GOOD), override)[0].startswith(expected)


def test_what_is_not_there_is_a_request_error(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"no recipe named 'digits-mpl' \(did you mean digits-mlp\?\)"):
        recipe.load("digits-mpl")
    with pytest.raises(RequestError, match="no such recipe file"):
        recipe.load(str(tmp_path / "none.yaml"))
    with pytest.raises(RequestError, match="is a directory without"):
        recipe.load(str(tmp_path))


def test_an_unreadable_file_is_an_error_of_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path, GOOD)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DlkitError, match=r"cannot read .*: Permission denied"):
        recipe.load(source)


# ---------------------------------------------------------------- completion


def test_keys_and_values_for_completion() -> None:
    keys = dict(recipe.override_keys("digits-resnet20"))
    assert keys["optimizer.momentum"]
    assert {"task", "seed", "model.norm", "train.epochs", "schedule.warmup"} <= set(keys)
    assert "optimizer.betas" not in keys
    assert "adamw" in recipe.override_values("digits-mlp", "optimizer.name")
    assert recipe.override_values("digits-resnet20", "optimizer.nesterov") == ["true", "false"]
    assert recipe.override_values("digits-resnet20", "model.norm") == ["batch", "layer", "group", "none"]
    assert recipe.override_values("no such recipe", "optimizer.lr") == []


@pytest.mark.parametrize(
    ("overrides", "lengths"),
    [
        (["train.steps=7"], (None, 7)),
        (["train={steps: 7}"], (None, 7)),
        (["train.steps=7", "~train.epochs"], (None, 7)),
        (["train.steps=7", "train.epochs=null"], (None, 7)),
        (["train.epochs=3"], (3, None)),
        (["train.log_every=5"], (2, None)),
    ],
)
def test_a_length_on_the_command_line_displaces_the_recipes(
    tmp_path: Path, overrides: list[str], lengths: tuple[int | None, int | None]
) -> None:
    train = recipe.load(write(tmp_path, GOOD), overrides).values["train"]
    assert (train["epochs"], train["steps"]) == lengths


def test_a_length_displaces_that_of_the_recipe_it_extends(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    child = tmp_path / "child.yaml"
    child.write_text("extends: r.yaml\ntrain: {steps: 9}\n")
    assert recipe.load(str(child)).values["train"]["steps"] == 9
    assert (
        recipe.load(str(child), ["train.epochs=4"]).values["train"] | {"steps": None, "epochs": 4}
        == (recipe.load(str(child), ["train.epochs=4"]).values["train"])
    )


def test_both_lengths_on_the_command_line_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"command line: train\.epochs: set either .* both are set"):
        recipe.load(write(tmp_path, GOOD), ["train.steps=7", "train.epochs=2"])
