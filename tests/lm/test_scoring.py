"""Surprisal against torch, transformers and the windows of evaluation, for any division into blocks."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from dlkit.data.batch import Batch
from dlkit.data.text import tokenizer as tokenizers
from dlkit.data.text.corpus import Text, split_into_pieces
from dlkit.data.text.tokenizer import CAUSAL, Tokenizer
from dlkit.data.text.windows import TokenWindows
from dlkit.lm import scoring
from dlkit.models.gpt import GPT

TEXT = ("The with statement wraps a block.\n\tétoile <|endoftext|> \x1b[31m\n" * 9).encode()


@pytest.fixture(scope="module")
def bpe() -> Tokenizer:
    return tokenizers.bpe([Text.of(TEXT.decode())], CAUSAL, vocab_size=300)


@pytest.fixture(scope="module")
def model(bpe: Tokenizer) -> GPT:
    torch.manual_seed(0)
    gpt = GPT(bpe.size + 3, 16, layers=2, heads=2, width=16).eval()
    for parameter in gpt.parameters():  # far from uniform predictions
        parameter.data *= 4
    return gpt


def all_bits(model: GPT, tokens: list[int], separator: int | None, context: int, stride: int) -> np.ndarray[Any, Any]:
    chunks = np.array_split(np.array(tokens, dtype=np.int64), 5)
    return np.concatenate([p.bits for p in scoring.predict_tokens(model, iter(chunks), separator, context, stride)])


@settings(max_examples=150)
@given(st.integers(2, 60), st.integers(1, 12), st.integers(1, 12), st.lists(st.integers(0, 60), max_size=6).map(sorted))
def test_windows_are_those_of_evaluation(n: int, context: int, stride: int, cuts: list[int]) -> None:
    stride = min(stride, context)
    tokens = np.arange(n, dtype=np.uint16)
    device = torch.device("cpu")
    reference = TokenWindows(tokens, device, 0, False, batch_size=1, context=context, stride=stride)
    expected = [(x[0].tolist(), [t for t in y.tolist() if t >= 0]) for x, y in map(Batch.tensors, reference.epoch(0))]
    chunks = np.split(tokens.astype(np.int64), cuts)
    found = [
        (w[:-1].tolist(), w[len(w) - new :].tolist()) for w, new in scoring.sliding_windows(chunks, context, stride)
    ]
    assert found == expected


@pytest.mark.parametrize(("context", "stride"), [(16, 16), (16, 5), (7, 3), (4, 1)])
def test_bits_are_those_of_each_token_by_itself(model: GPT, bpe: Tokenizer, context: int, stride: int) -> None:
    tokens = bpe.encode([TEXT.decode()])[0]
    whole = [bpe.separator or 0, *tokens]
    found = all_bits(model, tokens, bpe.separator, context, stride)
    begins = [*range(0, len(whole) - context - 1, stride), len(whole) - context - 1]
    expected = []
    for position in range(1, len(whole)):
        begin = next(b for b in begins if position <= b + context)  # the first window that holds it
        with torch.no_grad():
            logits = model.double()(torch.tensor([whole[begin:position]]))[0, -1]
        expected.append(-logits.log_softmax(-1)[whole[position]].item() / math.log(2))
    model.float()
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_bits_are_the_loss_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from dlkit.pretrained import huggingface

    config = transformers.GPT2Config(vocab_size=90, n_positions=24, n_embd=16, n_layer=2, n_head=2)
    torch.manual_seed(1)
    theirs = transformers.GPT2LMHeadModel(config).eval()
    ours = GPT(90, 24, layers=2, heads=2, width=16).eval()
    theirs.save_pretrained(tmp_path)
    huggingface.load_language_weights(ours, huggingface.read_directory(tmp_path))
    tokens = torch.randint(90, (24,))
    with torch.no_grad():
        loss = theirs(tokens[None], labels=tokens[None]).loss.item()
    found = all_bits(ours, tokens[1:].tolist(), int(tokens[0]), 24, 24)
    assert found.mean() * math.log(2) == pytest.approx(loss, abs=1e-5)


def test_alternatives_ranks_and_entropy(model: GPT, bpe: Tokenizer) -> None:
    tokens = bpe.encode([TEXT.decode()])[0][:16]
    (found,) = scoring.predict_tokens(model, iter([np.array(tokens)]), bpe.separator, 16, 16, alternatives=4)
    with torch.no_grad():
        p = model(torch.tensor([[bpe.separator or 0, *tokens[:-1]]]))[0].double().softmax(-1)
    chosen = p[torch.arange(16), torch.tensor(tokens)]
    np.testing.assert_allclose(found.bits, -chosen.log2(), atol=1e-4)
    assert found.ranks is not None and found.entropy is not None and found.alternatives is not None
    assert found.ranks.tolist() == ((p > chosen[:, None]).sum(1) + 1).tolist()
    np.testing.assert_allclose(found.entropy, -(p * p.log2()).sum(1), atol=1e-4)
    best = p.topk(4)
    assert found.alternatives.tolist() == best.indices.tolist()
    np.testing.assert_allclose(found.probabilities, best.values, atol=1e-5)


def test_without_a_separator_the_first_token_costs_the_same_whatever_it_is(model: GPT) -> None:
    found = all_bits(model, [5, 6, 7], None, 16, 16)
    assert found[0] == math.log2(model.vocabulary)
    np.testing.assert_allclose(found[1:], all_bits(model, [6, 7], 5, 16, 16), atol=1e-6)
    assert all_bits(model, [5], None, 16, 16).tolist() == [math.log2(model.vocabulary)]


@given(st.binary(max_size=40), st.integers(1, 9))
def test_any_bytes_become_tokens_that_spell_them(bpe: Tokenizer, data: bytes, size: int) -> None:
    blocks = [data[i : i + size] for i in range(0, len(data), size)]
    token_ids = [n for chunk in bpe.encode_bytes(split_into_pieces(blocks, 16), pytest.fail) for n in chunk.tolist()]
    assert b"".join(bpe.bytes_of(n) for n in token_ids) == data
    assert bpe.separator not in token_ids


def test_text_becomes_the_tokens_that_training_gives_it(bpe: Tokenizer) -> None:
    text = TEXT.decode() * 500  # several pieces
    expected = np.concatenate(list(bpe.encode_text(Text.of(text))))
    data = text.encode()
    found = np.concatenate(list(bpe.encode_bytes(split_into_pieces([data[:70_001], data[70_001:]]), pytest.fail)))
    assert found.tolist() == expected.tolist()


def test_tokens_that_do_not_spell_the_bytes_are_reported_before_they_are_yielded(bpe: Tokenizer) -> None:
    from tokenizers import Tokenizer as Engine
    from tokenizers import normalizers

    changed = Engine.from_str(bpe.to_json())
    changed.normalizer = normalizers.Lowercase()  # pyright: ignore[reportAttributeAccessIssue]
    reported: list[int] = []
    chunks = Tokenizer(changed).encode_bytes([b"small", b"Capital"], lambda: reported.append(1))
    next(chunks)
    assert reported == [1]


class Waits(TorchDispatchMode):
    """Names of operators whose result has a size that only the device knows, or is copied to the host."""

    found: list[str]

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function._schema.name
        masked = name == "aten::index" and any(i is not None and i.dtype == torch.bool for i in args[1])
        if masked or name in ("aten::nonzero", "aten::_local_scalar_dense", "aten::masked_select"):
            self.found.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("alternatives", [0, 3])
def test_a_batch_is_launched_without_a_synchronization(model: GPT, alternatives: int) -> None:
    rows, fresh = np.arange(34, dtype=np.int64).reshape(2, 17), [16, 5]
    with Waits() as waits:
        waits.found = []
        launched = scoring._launch(model, rows, fresh, alternatives)
        assert waits.found == []
        launched.fetch()
        assert waits.found == ["aten::_local_scalar_dense"]  # on the host's own copy


@pytest.mark.parametrize("alternatives", [0, 3])
def test_batches_on_their_way_come_in_order(model: GPT, monkeypatch: pytest.MonkeyPatch, alternatives: int) -> None:
    def predictions() -> list[scoring.Predictions]:
        chunks = iter([np.arange(80, dtype=np.int64)])
        return list(scoring.predict_tokens(model, chunks, 1, 16, 5, alternatives))

    monkeypatch.setitem(scoring._TOKENS_AT_ONCE, "cpu", 32)
    plain = predictions()
    monkeypatch.setitem(scoring._AHEAD, "cpu", 2)
    ahead = predictions()
    assert len(ahead) == len(plain) > 3
    for a, b in zip(ahead, plain, strict=True):
        np.testing.assert_array_equal(a.tokens, b.tokens)
        np.testing.assert_array_equal(a.bits, b.bits)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_finds_the_same_bits_and_waits_at_the_end(model: GPT) -> None:
    chunks = [np.arange(80, dtype=np.int64)]
    expected = np.concatenate([p.bits for p in scoring.predict_tokens(model, iter(chunks), 1, 16, 5, 3)])
    twin = copy.deepcopy(model).cuda()
    found = np.concatenate([p.bits for p in scoring.predict_tokens(twin, iter(chunks), 1, 16, 5, 3)])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    torch.cuda.set_sync_debug_mode("error")
    try:
        scoring._launch(twin, np.arange(34, dtype=np.int64).reshape(2, 17), [16, 5], 3)
    finally:
        torch.cuda.set_sync_debug_mode("default")
