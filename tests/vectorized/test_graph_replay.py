"""What is recorded comes out as what is called. The twin on a CPU plays a graph by calling what was recorded."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dlkit.kernels import cuda_graphs
from dlkit.nn.dropout import Dropout
from dlkit.training import rng
from dlkit.vectorized.dropout_masks import DropoutMasks
from dlkit.vectorized.graph_replay import GraphReplay


class Graph:
    """Of a CUDA graph: replay calls what was recorded again, with the tensors that it was recorded with."""

    now: Callable[[], None]

    def replay(self) -> None:
        self.now()


class Stream:
    device = torch.device("cuda")

    def wait_stream(self, other: Any) -> None: ...


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[Graph]:
    """Graphs as they are made, on a device that says it is CUDA but is not."""
    made: list[Graph] = []

    @contextlib.contextmanager
    def record(graph: Graph, pool: Any, stream: Any, capture_error_mode: str) -> Iterator[None]:
        made.append(graph)
        yield

    monkeypatch.setattr(torch.cuda, "graph", record)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream())
    return made


CUDA = torch.device("cuda")


class Recalled(GraphReplay):
    """Lets a graph that was recorded know what it is to call."""

    def _record(self, key: Any, inputs: tuple[Tensor, ...], noise: Any) -> None:
        calls: list[tuple[Tensor, ...]] = []
        function, self.function = self.function, lambda *held: calls.append(held)
        super()._record(key, inputs, noise)
        self.function = function
        recording = self._recordings[key]

        def play() -> None:
            if self.masks is not None:
                self.masks.given = iter(recording.drawn)
            function(*calls[0])
            if self.masks is not None:
                self.masks.given = None

        recording.graph.now = play


def test_each_call_counts_once_whether_it_is_played_or_not(graphs: list[Graph]) -> None:
    total = torch.zeros(())
    add = Recalled(lambda x: total.add_(x.sum()), CUDA)
    expected = 0.0
    for call in range(12):
        x = torch.full((2 if call % 4 == 3 else 5,), float(call))  # a small last batch
        add(x)
        expected += float(x.sum())
        x.zero_()  # what was handed over is not looked at again
        assert total.item() == expected
    assert len(graphs) == 2  # one for each shape


def test_what_cannot_be_recorded_is_called_and_the_reason_is_kept(
    graphs: list[Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def refuse(graph: Graph, pool: Any, stream: Any, capture_error_mode: str) -> Iterator[None]:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")
        yield

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    total = torch.zeros(())
    add = GraphReplay(lambda x: total.add_(x.sum()), CUDA)
    for _ in range(cuda_graphs.WARM_UP + 3):
        add(torch.ones(1))
    assert total.item() == cuda_graphs.WARM_UP + 3
    assert add.obstacle == "operation not permitted when stream is capturing"


def test_memory_that_is_used_up_is_no_such_reason(graphs: list[Graph], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(graph: Graph, pool: Any, stream: Any, capture_error_mode: str) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    add = GraphReplay(lambda x: None, CUDA)
    with pytest.raises(torch.OutOfMemoryError):
        for _ in range(cuda_graphs.WARM_UP):
            add(torch.ones(1))


def test_masks_are_drawn_anew_for_every_play_as_they_would_be_without(
    graphs: list[Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[Tensor]] = []
    monkeypatch.setattr(rng, "device_state", lambda device: torch.get_rng_state())
    monkeypatch.setattr(rng, "set_device_state", lambda device, state: torch.set_rng_state(state))
    for way in (Recalled, GraphReplay):
        model = nn.Sequential(Dropout(0.5), Dropout(0.2)).train()
        states = [torch.Generator().manual_seed(seed).get_state() for seed in (1, 2)]
        masks = DropoutMasks(model, states, torch.device("cpu"))
        masks.seed = torch.tensor(1)
        out = torch.zeros(6)
        step = way(lambda x, model=model, out=out: out.copy_(model(x)), CUDA, masks)  # pyright: ignore
        if way is GraphReplay:
            step.device = torch.device("cpu")
        seen.append([])
        for _ in range(8):
            step(torch.ones(6))
            seen[-1].append(out.clone())
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))
    assert len({tuple(x.tolist()) for x in seen[0]}) > 4
    assert graphs


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_graph_on_cuda_gives_what_calls_give() -> None:
    x, w = torch.randn(3, 5, device="cuda"), torch.ones(5, device="cuda", requires_grad=True)

    def step(one: Tensor) -> None:
        (one @ w).square().sum().backward()
        with torch.no_grad():
            w.sub_(0.01 * w.grad)  # pyright: ignore[reportOperatorIssue, reportArgumentType]
        w.grad = None

    results: list[Tensor] = []
    for way in (GraphReplay(step, torch.device("cuda")), step):
        w.detach().fill_(1.0)
        for call in range(8):
            way(x * (call + 1))
        results.append(w.detach().clone())
    torch.testing.assert_close(*results)
