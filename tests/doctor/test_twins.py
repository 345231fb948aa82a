"""The twins are what they are taken for: torchvision's and transformers' models, and what torch says of each loop."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
import transformers
from torch import Tensor, nn

from dlkit.doctor.twins import airbench, loops
from dlkit.doctor.twins.convolutional import PlainConvNeXt, PlainFastCNN, PlainResNet
from dlkit.doctor.twins.decoder import PlainDecoder
from dlkit.doctor.twins.transformer import PlainBERT, PlainGPT
from dlkit.doctor.twins.weights import with_weights_of

SIZES = {"vocabulary": 50, "context": 16, "layers": 2, "heads": 2, "width": 32}


def shaken(model: nn.Module) -> nn.Module:
    """Away from the ones and zeros of the start, so that swapped weights show."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_resnet(name: str) -> None:
    bottleneck = name == "resnet50"
    theirs = shaken(torchvision.models.get_model(name, num_classes=10))
    depths = (3, 4, 6, 3) if bottleneck else (2, 2, 2, 2)
    twin = with_weights_of(theirs, PlainResNet(depths, (64, 128, 256, 512), 10, large=True, bottleneck=bottleneck))
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(twin(x), theirs(x), rtol=1e-3, atol=1e-3)


def test_convnext() -> None:
    theirs = shaken(torchvision.models.convnext_tiny(num_classes=10, stochastic_depth_prob=0.0)).eval()
    twin = PlainConvNeXt((3, 3, 9, 3), (96, 192, 384, 768), 10, channels=3, patch=4, scale=1e-6)
    # torchvision lists the scale of a block before its layers, which are the same
    scales = iter(p for name, p in theirs.named_parameters() if name.endswith("layer_scale"))
    others = iter(p for name, p in theirs.named_parameters() if not name.endswith("layer_scale"))
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            value = next(scales if name.endswith("gamma") else others)
            parameter.copy_(value.view(parameter.shape))
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(twin(x), theirs(x), rtol=1e-3, atol=1e-3)


@torch.no_grad()
def load(twin: nn.Module, values: list[Tensor]) -> nn.Module:
    for parameter, value in zip(twin.parameters(), values, strict=True):
        parameter.copy_(value)
    return twin


def test_gpt2() -> None:
    config = transformers.GPT2Config(
        vocab_size=50, n_positions=16, n_embd=32, n_layer=2, n_head=2, attn_pdrop=0, embd_pdrop=0, resid_pdrop=0
    )
    theirs: Any = shaken(transformers.GPT2LMHeadModel(config))
    # its layers in the middle are called convolutions, which have their matrices the other way round
    values = [p.T if ".c_" in name and p.dim() == 2 else p for name, p in theirs.named_parameters()]
    tokens = torch.randint(50, (3, 16))
    torch.testing.assert_close(load(PlainGPT(**SIZES), values)(tokens), theirs(tokens).logits, rtol=1e-4, atol=1e-4)


def test_bert() -> None:
    config = transformers.BertConfig(
        vocab_size=50, max_position_embeddings=16, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=128, hidden_dropout_prob=0, attention_probs_dropout_prob=0,
    )  # fmt: skip
    theirs: Any = shaken(transformers.BertForMaskedLM(config))
    state = dict(theirs.named_parameters())

    def of(name: str) -> list[Tensor]:
        return [state[f"{name}.weight"], state[f"{name}.bias"]]

    base = "bert.embeddings."
    values = [state[f"{base}{name}_embeddings.weight"] for name in ("word", "position", "token_type")]
    values += of(f"{base}LayerNorm")
    for i in range(2):
        layer = f"bert.encoder.layer.{i}"
        parts = [of(f"{layer}.attention.self.{name}") for name in ("query", "key", "value")]
        after, qkv = of(f"{layer}.attention.output.LayerNorm"), [torch.cat(pair) for pair in zip(*parts, strict=True)]
        values += [*after, *qkv, *of(f"{layer}.attention.output.dense"), *of(f"{layer}.output.LayerNorm")]
        values += [*of(f"{layer}.intermediate.dense"), *of(f"{layer}.output.dense")]
    head = "cls.predictions.transform"
    values += [*of(f"{head}.dense"), *of(f"{head}.LayerNorm"), state["cls.predictions.bias"]]
    twin, tokens = load(PlainBERT(**SIZES), values), torch.randint(50, (3, 16))
    real = torch.arange(16) < torch.tensor([[16], [9], [4]])
    found, wanted = twin(tokens, real), theirs(tokens, attention_mask=real.long()).logits
    torch.testing.assert_close(found[real], wanted[real], rtol=1e-4, atol=1e-4)


def test_the_decoder_is_the_model_read_again_and_again() -> None:
    model = PlainGPT(**SIZES).eval()
    assert isinstance(shaken(model), PlainGPT)
    found = torch.cat(PlainDecoder(model, 16, compiled=False).generate(3, 15)).flatten().tolist()
    tokens = [3]
    for _ in range(15):
        with torch.no_grad():
            tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
    assert found == tokens[1:]
    assert len(set(found)) > 1


def test_a_step_is_torchs_own_with_clipped_gradients() -> None:
    torch.manual_seed(0)
    mine = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    theirs = copy.deepcopy(mine)
    batches = [(torch.randn(5, 4), torch.tensor([0, 1, 2, -100, 1])) for _ in range(3)]
    source = iter(batches)
    optimizer = torch.optim.SGD(mine.parameters(), lr=0.5, fused=True)
    step = loops.training_step(mine, optimizer, lambda: next(source), dtype=None, smoothing=0.1, clip=0.1)
    for _ in range(3):
        step()
    for x, y in batches:
        gradients = torch.autograd.grad(F.cross_entropy(theirs(x), y, label_smoothing=0.1), list(theirs.parameters()))
        norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        assert norm > 0.1
        with torch.no_grad():
            for parameter, gradient in zip(theirs.parameters(), gradients, strict=True):
                parameter.sub_(0.5 * 0.1 / (norm + 1e-6) * gradient)
    for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_crops_are_parts_of_the_reflected_image() -> None:
    torch.manual_seed(0)
    images = torch.rand(40, 3, 6, 6)
    padded = F.pad(images, (2,) * 4, "reflect")
    seen: set[tuple[int, int, bool]] = set()
    for index, image in enumerate(loops.random_crops(images, 2)):
        places = [
            (y, x, flipped)
            for y in range(5)
            for x in range(5)
            for flipped in (False, True)
            if torch.equal(padded[index, :, y : y + 6, x : x + 6].flip((2,) if flipped else ()), image)
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) > 20


def test_batches_of_images_and_windows() -> None:
    batch = loops.random_image_batches(torch.arange(10.0)[:, None, None, None], torch.arange(10), 4, pad=0)
    drawn = [batch() for _ in range(4)]
    assert all(torch.equal(inputs[:, 0, 0, 0], targets.float()) for inputs, targets in drawn)
    assert len({int(t) for _, targets in drawn[:2] for t in targets}) == 8  # each once until the next order begins
    tokens = torch.arange(100)
    inputs, targets = loops.random_windows(tokens, 5, 7)()
    assert inputs.shape == (5, 7)
    assert torch.equal(targets, inputs + 1)
    inputs, targets = loops.random_masked_windows(tokens, 50, 20, mask=200)()
    chosen = inputs == 200
    assert 0.1 < chosen.float().mean() < 0.2
    assert torch.equal(targets == -100, ~chosen)
    assert torch.equal(torch.where(chosen, targets, inputs).diff(), torch.ones(50, 19, dtype=torch.int64))


def test_another_model_is_no_twin() -> None:
    with pytest.raises(ValueError, match="not those of its twin"):
        with_weights_of(PlainFastCNN((8, 16), 10), PlainFastCNN((8, 8), 10))


def test_airbench94_learns_and_whitens() -> None:
    torch.manual_seed(0)
    targets = torch.randint(10, (256,))
    colours = torch.randn(10, 3)
    images = colours[targets][:, :, None, None] + 0.3 * torch.randn(256, 3, 12, 12)
    filters = airbench.initial_airbench(images, (16, 16)).whiten.weight
    responses = F.conv2d(images, filters[:12]).transpose(0, 1).flatten(1)
    whitened = responses @ responses.T / responses.shape[1]  # all but the smallest directions have variance 1
    torch.testing.assert_close(whitened, torch.eye(12), rtol=0.1, atol=0.1)
    model = airbench.train_airbench(images, targets, 12, (16, 16))
    assert airbench.multicrop_accuracy(model, images, targets) > 0.3  # of ten classes
