"""The decoder's Triton kernels against the model's plain forward pass, on a GPU or in the interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from dlkit.lm.static_decoding import StaticDecoder
from dlkit.models.gpt import GPT

ON_GPU = torch.cuda.is_available()


INTERPRETED = "TRITON_INTERPRET" in os.environ
runs_kernels = pytest.mark.skipif(not ON_GPU and not INTERPRETED, reason="neither a GPU nor Triton's interpreter")


@pytest.mark.slow
@pytest.mark.skipif(ON_GPU or INTERPRETED, reason="the tests below run as they are")
def test_the_interpreter_finds_the_same() -> None:
    triton = pytest.importorskip("triton")
    if tuple(map(int, triton.__version__.split(".")[:2])) < (3, 7):
        pytest.skip("an interpreter that does not know ranges whose ends it reads from memory")
    # it must be asked for before Triton is imported
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", __file__]
    result = subprocess.run(command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
    assert "8 passed" in result.stdout


def steps(model: GPT, tokens: Tensor, known: int, **keys: Any) -> list[Tensor]:
    """The logits after each token from `known` on; those before are the prompt."""
    cache = model.make_cache(1, tokens.shape[1])
    decoder = StaticDecoder(model, cache, lambda logits: logits, **keys)
    assert decoder._fused is not None
    model(tokens[:, :known], cache=cache)
    return [decoder.step(tokens[:, position]).float().clone() for position in range(known, tokens.shape[1])]


@runs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("activation", ["gelu_tanh", "gelu", "relu"])
def test_a_step_is_the_plain_forward_pass(activation: Any, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    from dlkit.lm import gpt_decode_step

    monkeypatch.setattr(gpt_decode_step, "_SLOTS", 64)
    torch.manual_seed(0)
    # 67 tokens: more than a block of the cache; 10 and 12: no powers of two
    model = GPT(11, 68, layers=1, heads=2, width=10, hidden=12, activation=activation).eval()
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    model.to("cuda" if ON_GPU else "cpu")
    tokens = torch.randint(11, (1, 68), device=model.tokens.weight.device)
    with torch.inference_mode():
        expected = model(tokens)
        got = steps(model.to(dtype), tokens, 66, fused=True)
    for position, logits in zip((66, 67), got, strict=True):
        error = (logits - expected[:, position]).abs().max() / expected.abs().max()
        assert error < (1e-5 if dtype == torch.float32 else 2e-2)


@runs_kernels
def test_a_sequence_may_begin_at_a_later_slot() -> None:
    torch.manual_seed(0)
    model = GPT(11, 9, layers=2, heads=2, width=8).eval().to("cuda" if ON_GPU else "cpu")
    tokens = torch.randint(11, (1, 7), device=model.tokens.weight.device)
    with torch.inference_mode():
        cache = model.make_cache(1, 9)
        decoder = StaticDecoder(model, cache, lambda logits: logits, fused=True)
        behind = model.make_cache(1, 6)
        model(tokens[:, :6], cache=behind)
        cache.memory[..., 2:8, :] = behind.memory  # as a row that was read again behind two free slots
        for layer in cache.layers:
            layer.length = 8
        got = decoder.step(tokens[:, 6], first=2)
        torch.testing.assert_close(got, model(tokens)[:, -1], rtol=1e-5, atol=1e-6)


def test_supported_models() -> None:
    pytest.importorskip("triton")
    from dlkit.lm import gpt_decode_step

    def model(**keys: Any) -> GPT:
        return GPT(11, 8, layers=1, heads=2, width=8, **keys)

    assert gpt_decode_step.supports_fused_step(model(), 1)
    assert not gpt_decode_step.supports_fused_step(model(), 2)
    assert not gpt_decode_step.supports_fused_step(model(norm_first=False), 1)
    assert not gpt_decode_step.supports_fused_step(model(activation="silu"), 1)
