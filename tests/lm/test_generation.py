"""Generated text against transformers, and each of its steps against the model's own forward pass."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dlkit.errors import DlkitError, RequestError
from dlkit.lm import eager_decoding
from dlkit.lm.generation import fetch_tokens, generate_tokens
from dlkit.lm.ragged_batch import RaggedBatch
from dlkit.lm.sampling import Sampling
from dlkit.lm.static_decoding import StaticDecoder
from dlkit.lm.streaming import TextStream
from dlkit.models.gpt import GPT

needs_cuda = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


def small_gpt(context: int = 16) -> GPT:
    torch.manual_seed(0)
    model = GPT(50, context, layers=2, heads=2, width=16).eval()
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.3)
    return model


def sample(
    model: GPT, prompts: list[list[int]], most: int, sampling: Sampling, seed: int = 0, **keys: Any
) -> list[list[int]]:
    generators = [torch.Generator().manual_seed(seed + row) for row in range(len(prompts))]
    return torch.stack(list(generate_tokens(model, prompts, most, sampling, generators, **keys)), 1).tolist()


def test_greedy_is_the_likeliest_token_each_time() -> None:
    model, tokens = small_gpt(), [3, 1, 4]
    (got,) = sample(model, [tokens], 12, Sampling(temperature=0))
    for token_id in got:
        with torch.no_grad():
            assert token_id == model(torch.tensor([tokens]))[0, -1].argmax().item()
        tokens = [*tokens, token_id]


def test_greedy_is_transformers_generate() -> None:
    import json

    from dlkit.pretrained import huggingface_export

    transformers = pytest.importorskip("transformers")
    model = small_gpt(40)
    config = transformers.GPT2Config.from_dict(json.loads(json.dumps(huggingface_export.config_of(model))))
    theirs = transformers.GPT2LMHeadModel(config).eval()
    theirs.load_state_dict(huggingface_export.tensors_of(model), strict=False)
    expected = theirs.generate(
        torch.tensor([[3, 1, 4]]), max_new_tokens=20, do_sample=False, eos_token_id=None, pad_token_id=0
    )[0, 3:].tolist()
    assert sample(model, [[3, 1, 4]], 20, Sampling(temperature=0)) == [expected]


def test_prompts_of_different_lengths_go_together() -> None:
    model, prompts = small_gpt(), [[3, 1, 4, 1, 5], [9], [2, 6]]
    together = sample(model, prompts, 9, Sampling(temperature=0))
    assert together == [sample(model, [prompt], 9, Sampling(temperature=0))[0] for prompt in prompts]


@pytest.mark.parametrize("context", [1, 2, 7, 12])
@pytest.mark.parametrize(
    "sampling", [Sampling(0), Sampling(), Sampling(0.8, 5, 0.9), Sampling(1.0, 7), Sampling(0.5, 0, 1e-6)], ids=repr
)
def test_a_row_of_a_batch_is_what_it_would_be_alone(context: int, sampling: Sampling) -> None:
    model = small_gpt(context)
    prompts = [[(3 * i + j) % 50 for j in range(1 + i % context)] for i in range(5)]
    together = sample(model, prompts, 3 * context, sampling)
    assert together == sample(model, prompts, 3 * context, sampling, static=True)  # as a GPU does it
    assert together == [sample(model, [each], 3 * context, sampling, row)[0] for row, each in enumerate(prompts)]


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("device", [pytest.param("cuda", marks=needs_cuda), "cpu"])
def test_a_static_step_at_bf16_is_close_to_the_plain_forward_pass(norm_first: bool, device: str) -> None:
    torch.manual_seed(0)
    model = GPT(50, 16, layers=2, heads=2, width=32, norm_first=norm_first).eval().to(device)
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    tokens = torch.randint(50, (3, 16), device=device)
    with torch.inference_mode():
        expected = model(tokens)
        model.bfloat16()
        cache = model.make_cache(3, 16)
        cache.memory.fill_(math.nan)  # memory as it may be found
        decoder = StaticDecoder(model, cache, lambda logits: logits)
        model(tokens[:, :5], cache=cache)
        for position in range(5, 16):
            got = decoder.step(tokens[:, position]).float()
            assert (got - expected[:, position]).abs().max() < 0.03 * expected.abs().max()
    with pytest.raises(ValueError, match="17 tokens do not fit"):
        decoder.step(tokens[:, 0])


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_a_recorded_step_writes_the_text_of_a_plain_one() -> None:
    model, prompts = small_gpt(7).cuda(), [[3, 1, 4, 1, 5], [9], [2, 6]]
    for sampling in (Sampling(0), Sampling(0.8, 5, 0.9)):
        texts: list[Tensor] = []
        for static in (True, False):
            generators = [torch.Generator("cuda").manual_seed(row) for row in range(3)]
            texts.append(torch.stack(list(generate_tokens(model, prompts, 21, sampling, generators, static=static))))
        assert texts[0].tolist() == texts[1].tolist()


def test_rounding_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, prompts = small_gpt(8), [[3, 1, 4, 1, 5], [9], [2, 6]]
    original = RaggedBatch.next

    def rounded(self: RaggedBatch) -> Tensor:  # as if a batch had other sums, by less than what is looked out for
        logits = original(self)
        return logits + 2e-6 * logits.abs().amax() * torch.randn_like(logits).clamp(-2, 2)

    monkeypatch.setattr(RaggedBatch, "next", rounded)
    # two tokens that are equally likely up to rounding, at every step
    model.head.weight.data[25:] = model.head.weight.data[:25]
    twins = [sample(model, prompts, 20, Sampling(0)) for _ in range(3)]
    assert twins[0] == twins[1] == twins[2]


def test_tokens_that_the_tokenizer_lacks_are_never_drawn() -> None:
    model, known = small_gpt(), torch.tensor([1, 2, 3, 5, 8, 13])
    for sampling in (Sampling(0), Sampling(5.0), Sampling(5.0, 40), Sampling(5.0, 0, 0.99)):
        generators = [torch.Generator().manual_seed(row) for row in range(2)]
        steps = list(generate_tokens(model, [[1, 2], [3]], 40, sampling, generators, known))
        assert set(torch.stack(steps).flatten().tolist()) <= set(known.tolist())


def test_beyond_the_context_it_goes_on_from_its_second_half() -> None:
    model = small_gpt(8)
    (got,) = sample(model, [[3, 1, 4]], 20, Sampling(temperature=0))
    assert len(got) == 20
    whole = [3, 1, 4, *got]
    with torch.no_grad():  # 8 tokens fill the context; the next one is read from the last 4
        assert whole[9] == model(torch.tensor([whole[5:9]]))[0, -1].argmax().item()


def test_samples_follow_the_distribution() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    sampling = Sampling(temperature=2.0)
    noise = torch.empty(10_000, 4).exponential_(generator=torch.Generator().manual_seed(0))
    drawn = sampling.choose(logits.expand(10_000, -1), noise)[0]
    share = torch.bincount(drawn.flatten(), minlength=4) / len(drawn)
    torch.testing.assert_close(share, (logits[0] / 2).softmax(0), atol=0.015, rtol=0)


@pytest.mark.parametrize("top_k", [0, 1, 3])
@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.3, 1e-6])
def test_top_k_and_top_p_are_transformers(top_k: int, top_p: float) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    logits = torch.randn(5, 11) * 2
    expected = logits / 0.7
    if top_k:
        expected = transformers.TopKLogitsWarper(top_k)(None, expected)
    if top_p < 1:
        expected = transformers.TopPLogitsWarper(top_p)(None, expected)
    torch.testing.assert_close(Sampling(0.7, top_k, top_p).probabilities(logits), expected.softmax(-1))


def test_a_seed_gives_the_same_text() -> None:
    model = small_gpt()
    a, b, c = (sample(model, [[1]] * 3, 8, Sampling(), seed) for seed in (0, 0, 7))
    assert a == b != c
    assert a[0] != a[1]


@pytest.mark.parametrize("keys", [{"temperature": 0}, {}, {"top_k": 3, "top_p": 0.9}, {"temperature": 1e-45}])
def test_scores_that_are_no_numbers_are_refused(keys: dict[str, Any]) -> None:
    model = small_gpt()
    if keys.get("temperature") != 1e-45:  # which float32 cannot divide by
        model.norm.weight.data.fill_(math.nan)
    steps = generate_tokens(model, [[3, 1], [2]], 4, Sampling(**keys), [torch.Generator()] * 2)
    with pytest.raises(DlkitError, match="no probabilities"):
        list(fetch_tokens(steps, 4))


@pytest.mark.parametrize(
    "keys", [{"temperature": -1.0}, {"temperature": math.nan}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 2.0}]
)
def test_wrong_sampling(keys: dict[str, Any]) -> None:
    with pytest.raises(RequestError):
        Sampling(**keys)


def test_a_character_comes_whole_or_not_at_all() -> None:
    stream, parts = TextStream(), []
    for byte in "aé\N{GRINNING FACE}".encode():
        parts.append(stream.push(bytes([byte])))
    assert parts == ["a", "", "é", "", "", "", "\N{GRINNING FACE}"]
    assert stream.push(b"\xf0\x9f") == ""
    assert stream.finish() == "\N{REPLACEMENT CHARACTER}"


@settings(max_examples=200)
@given(st.text(alphabet="abc", max_size=30), st.lists(st.text(alphabet="abc", min_size=1, max_size=4), max_size=3))
def test_a_stop_ends_the_text_wherever_it_is_cut(text: str, stops: list[str]) -> None:
    stream = TextStream(tuple(stops))
    shown = "".join(stream.push(c.encode()) for c in text) + stream.finish()
    # it ends where a stop is complete first; of those complete there, before the one that begins first
    ends = [(start + len(stop), start) for stop in stops if (start := text.find(stop)) >= 0]
    assert shown == stream.text == (text[: min(ends)[1]] if ends else text)


def test_tokens_are_fetched_several_steps_at_once() -> None:
    asked: list[int] = []

    def steps() -> Iterator[Tensor]:
        for i in range(19):
            asked.append(i)
            yield torch.tensor([i, 99 - i])

    assert list(fetch_tokens(steps())) == [[i, 99 - i] for i in range(19)]
    assert list(fetch_tokens(steps(), 8)) == [[i, 99 - i] for i in range(19)]
    asked.clear()
    assert next(fetch_tokens(steps())) == [0, 99]  # on a CPU a token is there at once
    assert asked == [0]
    asked.clear()
    assert next(fetch_tokens(steps(), 8)) == [0, 99]
    assert asked == list(range(8))


@pytest.mark.parametrize("keys", [{"norm_first": False, "tied": False}, {"positions": "sinusoidal", "hidden": 40}])
@pytest.mark.parametrize("short", [False, True])
def test_a_step_of_the_decoder_is_the_models(
    keys: dict[str, Any], short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = GPT(50, 12, layers=2, heads=2, width=16, **keys).eval()
    tokens = torch.randint(50, (3, 9))
    padding = torch.tensor([0, 4, 2]) if short else None
    # weights that fit a CPU's cache, such that do not, and such whose copy would take too much memory
    for limit, copied in ((1 << 30, 1 << 30), (0, 1 << 30), (0, 0)):
        monkeypatch.setattr(eager_decoding, "_FITS_THE_CACHE", limit)
        monkeypatch.setattr(eager_decoding, "_REORDERED", copied)
        with torch.inference_mode():
            expected = model(tokens, padding=padding)
            decoder = eager_decoding.EagerDecoder(model, model.make_cache(3, 12))
            model(tokens[:, :5], cache=decoder.cache, padding=padding)
            got = torch.stack([decoder.step(column, padding) for column in tokens[:, 5:].unbind(1)], 1)
        torch.testing.assert_close(got, expected[:, 5:], atol=1e-5, rtol=1e-5)
        assert decoder.cache.length == 9
