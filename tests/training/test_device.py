"""What training sets of the process: the device, the arithmetic, the kernels. CUDA is played where there is none."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from dlkit import recipe
from dlkit.assemble import assemble_training
from dlkit.compression import numerics
from dlkit.errors import RequestError
from dlkit.training import environment
from dlkit.training.checkpoint import Checkpoint
from dlkit.training.device import choose_kernels, describe_arithmetic, pick_device
from dlkit.training.loop import fit
from dlkit.training.precision import has_tf32, set_matmul_precision

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    set_matmul_precision("fp32")
    choose_kernels(False, False)
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]


def test_a_cuda_device_is_the_current_one_before_anything_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[Any] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda place: chosen.append((place, os.environ[workspace])))
    workspace = "CUBLAS_WORKSPACE_CONFIG"
    monkeypatch.delenv(workspace, raising=False)
    for name in ("cuda:1", "cuda", "auto"):
        assert pick_device(name).type == "cuda"
    assert chosen == [(1, ":4096:8"), (0, ":4096:8"), (0, ":4096:8")]
    monkeypatch.setenv(workspace, ":16:8")  # the user's own stays
    pick_device("cuda")
    assert os.environ[workspace] == ":16:8"
    with pytest.raises(RequestError, match="no device cuda:2: 2 CUDA devices here"):
        pick_device("cuda:2")


def test_what_is_asked_of_the_cpu_never_begins_cuda(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A context on a GPU takes 500 MB there and a second; and other processes may have the GPU for themselves."""
    from dlkit.cli.app import run

    def begun(*_: Any) -> None:
        raise AssertionError("CUDA was begun")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name in ("_lazy_init", "get_rng_state_all", "get_rng_state", "synchronize", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, begun)
    monkeypatch.chdir(tmp_path)
    few = ["train.epochs=null", "train.steps=2", "--device", "cpu", "-q"]
    for command in (
        ["train", "digits-mlp", *few, "--run-dir", "rows"],
        ["eval", "rows", "--device", "cpu", "-q"],
        ["train", "repeats-gpt", *few, "model.layers=1", "model.width=12", "data.characters=9000", "--run-dir", "gpt"],
        ["generate", "gpt", "ab", "--tokens", "2", "--device", "cpu", "-q"],
        ["inspect-attention", "gpt", "abab", "--repeats", "0", "--device", "cpu"],
        ["compare-optimizers", "digits-mlp", "--optimizers", "sgd,adam", "--lr", "0.1:0.1:1", "--engine", "loop", *few],
    ):
        assert run(command) == 0, capfd.readouterr().err


def test_every_precision_is_set_and_recorded() -> None:
    """torch's own default is TF32 in convolutions and float32 in matrix products."""
    for precision, kind in (("fp32", "fp32"), ("tf32", "tf32"), ("bf16", "fp32"), ("fp16", "fp32")):
        set_matmul_precision(precision)
        assert torch.backends.cudnn.allow_tf32 == torch.backends.cuda.matmul.allow_tf32 == (kind == "tf32")
        assert torch.get_float32_matmul_precision() == ("high" if kind == "tf32" else "highest")
        recorded = environment.describe_environment(CPU, {})["arithmetic"]
        assert (recorded["matmul"], recorded["convolution"]) == (kind, kind)
    set_matmul_precision("tf32")
    pick_device("cpu")
    assert describe_arithmetic()["matmul"] == "fp32"


def test_kernels_repeat_themselves_or_are_the_fastest() -> None:
    for deterministic, benchmark in ((True, True), (True, False), (False, True), (False, False)):
        choose_kernels(deterministic, benchmark)
        assert torch.are_deterministic_algorithms_enabled() == torch.backends.cudnn.deterministic == deterministic
        assert torch.backends.cudnn.benchmark == (benchmark and not deterministic)
        assert describe_arithmetic()["deterministic"] == deterministic


@pytest.mark.parametrize(("changes", "deterministic", "benchmark"), [
    ([], False, True),
    (["train.deterministic=true"], True, False),
    (["data.start_size=4", "data.grow_epochs=1"], False, False),
])  # fmt: skip
def test_a_run_chooses_its_kernels(changes: list[str], deterministic: bool, benchmark: bool) -> None:
    few = ["model={name: cnn}", "train.epochs=2", "train.precision=fp32", "train.compile=off"]
    assemble_training(recipe.load("digits-mlp", [*few, *changes]), CPU)
    assert (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark) == (deterministic, benchmark)


def test_an_operation_that_cannot_repeat_itself_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """torch has no such kernel of `put_` on any device."""
    from dlkit.cli.app import run
    from dlkit.tasks.classification import Classification

    forward = Classification.forward

    def unordered(task: Any, model: Any, batch: Any) -> Any:
        torch.zeros(3).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))
        return forward(task, model, batch)

    monkeypatch.setattr(Classification, "forward", unordered)
    few = ["train", "digits-mlp", "train.epochs=null", "train.steps=1", "-q", "--device", "cpu", "--run-dir"]
    assert run([*few, str(tmp_path / "free")]) == 0
    assert run([*few, str(tmp_path / "run"), "train.deterministic=true"]) == 2
    assert capfd.readouterr().err.splitlines()[-2:] == [
        "error: train.deterministic is true, and torch has no deterministic kernel for put_ on this device",
        "hint: set train.deterministic=false, or use --device cpu",
    ]


def test_tf32_on_a_device_without_it_is_float32_and_said() -> None:
    built = assemble_training(recipe.load("digits-mlp", ["train.epochs=1", "train.precision=tf32"]), CPU)
    assert built.training.settings.precision == built.recipe.values["train"]["precision"] == "fp32"
    assert built.remarks == ["train.precision is fp32: cpu has no tf32"]


def test_an_archive_is_coded_in_float32_whatever_was_before() -> None:
    set_matmul_precision("tf32")
    with numerics.reproducible(1):
        assert numerics.describe_numerics(1, CPU)["products"] == describe_arithmetic()["matmul"] == "fp32"
        assert torch.are_deterministic_algorithms_enabled()
    assert describe_arithmetic()["matmul"] == "tf32"


def relative_errors(device: str) -> dict[str, float]:
    """Of float32 products on a device against float64."""
    torch.manual_seed(0)
    a, b = torch.randn(256, 256, device=device), torch.randn(256, 256, device=device)
    x, w = torch.randn(4, 64, 16, 16, device=device), torch.randn(64, 64, 3, 3, device=device)
    found: dict[str, float] = {}
    for name, (got, exact) in {
        "matmul": (a @ b, a.double().cpu() @ b.double().cpu()),
        "convolution": (F.conv2d(x, w), F.conv2d(x.double().cpu(), w.double().cpu())),
    }.items():
        found[name] = float((got.double().cpu() - exact).norm() / exact.norm())
    return found


def test_fp32_is_float32() -> None:
    set_matmul_precision("fp32")
    assert max(relative_errors("cpu").values()) < 1e-6


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_fp32_is_float32_on_cuda_and_tf32_is_not() -> None:
    device = str(pick_device("cuda"))
    assert max(relative_errors(device).values()) < 1e-6
    if has_tf32(torch.device(device)):
        set_matmul_precision("tf32")
        assert all(1e-4 < error < 1e-3 for error in relative_errors(device).values())


class Kept:
    """Checkpoints in memory, on the CPU as from a disk."""

    def __init__(self) -> None:
        self.saved: list[Checkpoint] = []

    def save(self, checkpoint: Checkpoint, best: bool) -> None:
        tensors = {
            file: {name: value.detach().cpu().clone() for name, value in held.items()}
            for file, held in checkpoint.tensors.items()
        }
        self.saved.append(Checkpoint(checkpoint.step, tensors, copy.deepcopy(checkpoint.state)))


def trained(device: str, changes: list[str], resume: Checkpoint | None = None) -> list[Checkpoint]:
    """The checkpoints of a small convolutional network with dropout, after steps 3 and 6."""
    few = ["model={name: cnn, dropout: 0.2}", "train.epochs=null", "train.steps=6", "train.checkpoint_every=3 steps"]
    fixed = ["train.precision=fp32", "train.compile=off", "train.cuda_graph=off", "train.eval_every=never"]
    loaded = recipe.load("digits-resnet20", [*few, *fixed, *changes])
    training = assemble_training(loaded, pick_device(device)).training
    kept = Kept()
    for _ in fit(training, kept, resume):
        pass
    return kept.saved


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda",
            marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")],
        ),
    ],
)
def test_deterministic_runs_repeat_and_resume_to_the_bit(device: str) -> None:
    half, whole = trained(device, ["train.deterministic=true"])
    for again in (
        trained(device, ["train.deterministic=true"])[-1],
        trained(device, ["train.deterministic=true"], half)[-1],
    ):
        for file, held in whole.tensors.items():
            assert all(torch.equal(value, again.tensors[file][name]) for name, value in held.items()), file


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("first", "second"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_run_goes_on_on_a_device_of_another_kind(first: str, second: str) -> None:
    half, _ = trained(first, [])
    (end,) = trained(second, [], half)
    assert end.step == 6 and all(value.isfinite().all() for value in end.tensors["model"].values())


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_is_not_begun_by_a_process_for_the_cpu(tmp_path: Path) -> None:
    code = (
        "import sys, torch; from dlkit.cli.app import run;"
        "assert run(['train', 'digits-mlp', 'train.epochs=1', '--device', 'cpu', '-q', '--run-dir', 'run']) == 0;"
        "assert not torch.cuda.is_initialized()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
