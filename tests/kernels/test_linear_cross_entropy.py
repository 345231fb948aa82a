"""The chunked loss against torch's plain one: value, gradient, half precision, one graph, and what memory it takes."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils._python_dispatch import TorchDispatchMode

from dlkit.data.batch import CausalBatch, MaskedBatch
from dlkit.kernels import linear_cross_entropy as module
from dlkit.kernels.linear_cross_entropy import chunk_rows, linear_cross_entropy
from dlkit.losses import CrossEntropy
from dlkit.models.bert import BERT
from dlkit.models.gpt import GPT
from dlkit.tasks.language_modelling import CausalLM, MaskedLM
from dlkit.training.evaluate import evaluate_model

CPU = torch.device("cpu")


def layer(rows: int = 13, width: int = 8, classes: int = 11, dtype: torch.dtype = torch.float64) -> list[Any]:
    torch.manual_seed(0)
    sizes = ((rows, width), (classes, width), (classes,))
    return [torch.randn(*size, dtype=dtype).requires_grad_() for size in sizes]


def labels(rows: int = 13, classes: int = 11) -> Tensor:
    targets = torch.randint(classes, (rows,), generator=torch.Generator().manual_seed(1))
    targets[3] = -100
    return targets


@pytest.mark.parametrize("rows", [4, 13])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("biased", [False, True])
def test_value_and_gradient_are_torchs(rows: int, smoothing: float, biased: bool) -> None:
    x, weight, bias = layer()
    targets, given = labels(), [x, weight, bias][: 2 + biased]

    def chunked(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return linear_cross_entropy(x, weight, bias, targets, label_smoothing=smoothing, rows=rows)

    assert torch.autograd.gradcheck(chunked, given)
    expected = F.cross_entropy(F.linear(*given), targets, label_smoothing=smoothing)
    torch.testing.assert_close(chunked(*given), expected)
    torch.testing.assert_close(torch.autograd.grad(chunked(*given), given), torch.autograd.grad(expected, given))


@pytest.mark.parametrize("which", range(3))
def test_only_what_is_asked_for_has_a_gradient(which: int) -> None:
    given = layer()
    for i, tensor in enumerate(given):
        tensor.requires_grad_(i == which)
    linear_cross_entropy(given[0], given[1], given[2], labels()).backward()
    assert [tensor.grad is not None for tensor in given] == [i == which for i in range(3)]


def test_where_nothing_counts_the_mean_is_not_a_number() -> None:
    x, weight, _ = layer()
    targets = torch.full((13,), -100)
    assert linear_cross_entropy(x, weight, None, targets, rows=5).isnan()
    assert F.cross_entropy(x @ weight.t(), targets).isnan()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_as_close_as_torchs(dtype: torch.dtype) -> None:
    x, weight, _ = layer(257, 32, 101, torch.float32)
    targets = torch.randint(101, (257,))
    exact = F.cross_entropy(x.double() @ weight.double().t(), targets)
    of_x, of_weight = torch.autograd.grad(exact, (x, weight))
    with torch.autocast("cpu", dtype):
        losses = F.cross_entropy(F.linear(x, weight), targets), linear_cross_entropy(x, weight, None, targets, rows=64)
    for loss in losses:
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss.double(), exact, rtol=4e-3, atol=0)
    errors: list[list[Tensor]] = []
    for loss in losses:
        got = torch.autograd.grad(loss, (x, weight))
        errors.append([(a - b).norm() for a, b in zip(got, (of_x, of_weight), strict=True)])
    assert all(mine <= 1.1 * theirs for mine, theirs in zip(errors[1], errors[0], strict=True))


def test_a_scaled_loss_keeps_small_gradients_at_fp16() -> None:
    """The gradient of a mean over many rows is less than float16 can tell; a scaler comes too late for it."""
    rows, scale = 1 << 15, 2.0**16
    x = torch.full((rows, 8), 1e-2, requires_grad=True)
    weight = torch.zeros(64, 8, requires_grad=True)
    targets = torch.arange(rows) % 64
    with torch.autocast("cpu", torch.float16):
        loss = linear_cross_entropy(x, weight + torch.linspace(-1, 1, 64)[:, None], None, targets, rows=1 << 13)
    (got,) = torch.autograd.grad(loss * scale, x)
    (expected,) = torch.autograd.grad(
        F.cross_entropy(x @ (weight + torch.linspace(-1, 1, 64)[:, None]).t(), targets) * scale, x
    )
    torch.testing.assert_close(got, expected, rtol=1e-2, atol=1e-3 * expected.abs().max().item())


def test_impossible_classes_are_invisible(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU does at 16 bits: 11 classes become 64, and neither the loss nor its gradient can tell."""
    given, targets = layer(), labels()
    for smoothing in (0.0, 0.1):
        for x, weight, bias in (given, [*given[:2], None]):
            wanted = [tensor for tensor in (x, weight, bias) if tensor is not None]
            loss = linear_cross_entropy(x, weight, bias, targets, label_smoothing=smoothing, rows=4)
            with monkeypatch.context() as patch:
                patch.setattr(module, "_missing", lambda weight: -len(weight) % 64)
                padded = linear_cross_entropy(x, weight, bias, targets, label_smoothing=smoothing, rows=4)
            torch.testing.assert_close(padded, loss)
            torch.testing.assert_close(torch.autograd.grad(padded, wanted), torch.autograd.grad(loss, wanted))


class Largest(TorchDispatchMode):
    """The most bytes of tensors of this thread that lived at once, of those made inside."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._seen: set[int] = set()

    def _gone(self, key: int, size: int) -> None:
        self.now -= size
        self._seen.discard(key)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = function(*args, **(kwargs or {}))
        for tensor in found if isinstance(found, (tuple, list)) else (found,):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                key = storage._cdata
                if key not in self._seen:
                    self._seen.add(key)
                    self.now += storage.nbytes()
                    weakref.finalize(storage, self._gone, key, storage.nbytes())
        self.most = max(self.most, self.now)
        return found


def test_logits_are_never_there_all_at_once() -> None:
    rows, classes = 2048, 1000
    x, weight, _ = layer(rows, 16, classes, torch.float32)
    targets = torch.randint(classes, (rows,))

    def most(at_once: int) -> int:
        with Largest() as measured:
            linear_cross_entropy(x, weight, None, targets, rows=at_once).backward()
        return measured.most

    whole = rows * classes * 4
    assert most(rows) > whole
    assert most(rows // 64) < whole / 8


def test_chunks_are_of_equal_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 1000)
    assert [chunk_rows(rows, 10) for rows in (1, 100, 101, 250, 1000)] == [1, 100, 51, 84, 100]
    assert chunk_rows(3, 5000) == 1


def gpt() -> tuple[CausalLM, GPT, CausalBatch]:
    torch.manual_seed(0)
    tokens = torch.randint(50, (3, 9))
    model = GPT(50, 8, layers=1, heads=2, width=16)
    task = CausalLM(CrossEntropy(label_smoothing=0.1, l2=1e-3), torch.ones(50, dtype=torch.int64))
    return task, model, CausalBatch(tokens[:, :-1], tokens[:, 1:].reshape(-1))


def bert() -> tuple[CausalLM, BERT, MaskedBatch]:
    torch.manual_seed(0)
    tokens, positions = torch.randint(50, (3, 9)), torch.tensor([1, 8, 12, 20, 26])
    model = BERT(50, 9, None, layers=1, heads=2, width=16, dropout=0.0, attention_dropout=0.0)
    return MaskedLM(CrossEntropy()), model, MaskedBatch(tokens, torch.randint(50, (5,)), positions)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # by torch 2.11's own compiler
@pytest.mark.parametrize("make", [gpt, bert])
def test_language_tasks_take_it_where_there_are_many_logits(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    task, model, batch = make()

    def learn(step: Any) -> tuple[Tensor, list[Tensor]]:
        model.zero_grad()
        loss, _ = step(model, batch)
        loss.backward()
        return loss.detach(), [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]

    plain, measured = learn(task.forward), evaluate_model(model, [batch], task.meter(CPU)).metrics()
    calls: list[int] = []
    original = module._chunk
    monkeypatch.setitem(module._PAYS, "cpu", 1)
    monkeypatch.setattr(module, "_CHUNK", 200)
    monkeypatch.setattr(module, "_chunk", lambda logits, *rest: calls.append(len(logits)) or original(logits, *rest))
    torch.testing.assert_close(learn(task.forward), plain)
    assert sum(calls) == len(batch.targets) and len(calls) > 1
    assert evaluate_model(model, [batch], task.meter(CPU)).metrics() == pytest.approx(measured)
    if make is bert:  # model, loss and gradient are one graph
        monkeypatch.setattr(module, "_chunk", original)
        torch.compiler.reset()
        counter = CompileCounterWithBackend("aot_eager")
        torch.testing.assert_close(learn(torch.compile(task.forward, backend=counter, fullgraph=True)), plain)
        assert counter.frame_count == 1


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_the_vocabulary_is_padded() -> None:
    x, weight, bias = (tensor.detach().cuda().requires_grad_() for tensor in layer(300, 32, 101, torch.float32))
    targets = torch.randint(101, (300,), device="cuda")
    for given in ((x, weight, bias), (x, weight, None)):
        wanted = [tensor for tensor in given if tensor is not None]
        exact = F.cross_entropy(F.linear(*given), targets)
        with torch.autocast("cuda", torch.bfloat16):
            loss = linear_cross_entropy(*given, targets, rows=100)
        torch.testing.assert_close(loss, exact, rtol=1e-2, atol=0)
        for a, b in zip(torch.autograd.grad(loss, wanted), torch.autograd.grad(exact, wanted), strict=True):
            assert (a - b).norm() < 0.02 * b.norm()
