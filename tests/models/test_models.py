from __future__ import annotations

import copy
from itertools import product

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from dlkit.catalog import ACTIVATIONS
from dlkit.errors import RequestError
from dlkit.models import resnet as resnets
from dlkit.models.cnn import CNN
from dlkit.models.mlp import MLPClassifier
from dlkit.models.resnet import ResNet, plain20, plain56, resnet20, resnet32, resnet44, resnet56, resnet110
from dlkit.nn.convolution import Conv2d

NORMS = ("batch", "layer", "group", "none")
BUILDERS = {
    "mlp": lambda shape, **keys: MLPClassifier(shape, 10, hidden=(16,), **keys),
    "cnn": lambda shape, **keys: CNN(shape, 10, channels=(8, 16), **keys),
    "resnet": lambda shape, **keys: ResNet(shape, 10, depths=(1, 1), widths=(8, 16), **keys),
    "plain": lambda shape, **keys: ResNet(shape, 10, depths=(1, 1), widths=(8, 16), residual=False, **keys),
    "projected": lambda shape, **keys: ResNet(shape, 10, depths=(1, 1), widths=(8, 16), shortcut="B", **keys),
}


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("model", BUILDERS)
@pytest.mark.parametrize(("norm", "activation"), list(product(NORMS, ACTIVATIONS)))
def test_every_norm_and_activation_trains_a_step(model, norm, activation):
    torch.manual_seed(0)
    network = BUILDERS[model]((1, 8, 8), norm=norm, activation=activation, dropout=0.1)
    before = {name: value.clone() for name, value in network.named_parameters()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    logits = network(torch.randn(6, 1, 8, 8))
    assert logits.shape == (6, 10)
    nn.functional.cross_entropy(logits, torch.arange(6)).backward()
    optimizer.step()
    # Every parameter is reached, and none becomes infinite.
    for name, value in network.named_parameters():
        assert value.isfinite().all() and not torch.equal(value, before[name]), name


@pytest.mark.parametrize("preset", [resnet20, plain20])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 7), (3, 32, 32), (3, 5, 9), (2, 1, 1)])
def test_presets_take_images_of_any_size(preset, shape):
    assert preset(shape, 4)(torch.randn(2, *shape)).shape == (2, 4)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 7, 7), (1, 4, 5)])
def test_cnn_takes_images_large_enough_for_its_stages(shape):
    assert CNN(shape, 4)(torch.randn(2, *shape)).shape == (2, 4)


@pytest.mark.parametrize("shape", [(13,), (1, 8, 8), (2, 3)])
def test_mlp_takes_rows_and_flattens_the_rest(shape):
    assert MLPClassifier(shape, 4)(torch.randn(2, *shape)).shape == (2, 4)


@pytest.mark.parametrize(
    ("preset", "n", "millions"),
    [(resnet20, 3, 0.27), (resnet32, 5, 0.46), (resnet44, 7, 0.66), (resnet56, 9, 0.85), (resnet110, 18, 1.7)],
)
def test_parameter_counts_of_the_paper(preset, n, millions):
    def stage(before: int, width: int) -> int:
        # 2n convolutions, the first from `before` channels, and a weight and a bias for each of 2n norms of `width`
        return 9 * before * width + (2 * n - 1) * 9 * width**2 + 2 * n * 2 * width

    expected = (9 * 3 * 16 + 2 * 16) + stage(16, 16) + stage(16, 32) + stage(32, 64) + (64 * 10 + 10)
    model = preset((3, 32, 32), 10)
    assert parameters(model) == expected
    assert round(expected / 1e6, 1 if millions > 1 else 2) == millions
    # 6n + 2 layers: every 3x3 convolution, and the last linear one. Shortcut A adds none.
    assert sum(isinstance(module, Conv2d) for module in model.modules()) + 1 == 6 * n + 2
    # Shortcut B adds two projections and their norms.
    assert parameters(preset((3, 32, 32), 10, shortcut="B")) == expected + 16 * 32 + 64 + 32 * 64 + 128


@pytest.mark.parametrize(("plain", "twin"), [(plain20, resnet20), (plain56, resnet56)])
def test_plain_networks_are_their_twins_without_shortcuts(plain, twin):
    networks = []
    for preset in (plain, twin):
        torch.manual_seed(0)
        networks.append(preset((3, 8, 8), 10).eval())
    torch.testing.assert_close(networks[0].state_dict(), networks[1].state_dict(), rtol=0, atol=0)
    x = torch.randn(2, 3, 8, 8)
    assert not torch.allclose(networks[0](x), networks[1](x))


def test_resnet_starts_as_he_et_al_say():
    torch.manual_seed(0)
    model = resnet56((3, 32, 32), 10)
    convolutions = [module for module in model.modules() if isinstance(module, Conv2d)]
    # Standard deviations of W sqrt(fan_out / 2): 1, to within five standard errors, 1 / sqrt(2 numel)
    for module in convolutions:
        fan_out = module.weight.shape[0] * module.kernel_size**2
        deviation = (module.weight.square().mean() * fan_out / 2).sqrt().item()
        assert abs(deviation - 1) < 5 / (2 * module.weight.numel()) ** 0.5


@pytest.mark.parametrize("model", BUILDERS)
def test_initial_weights_follow_the_seed(model):
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(BUILDERS[model]((1, 8, 8)).state_dict())
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)
    assert not any(
        torch.equal(a, b) for a, b in zip(states[0].values(), states[2].values(), strict=True) if a.dim() > 1
    )


@pytest.mark.skipif(
    torch.__version__ < "2.11" and not torch.cuda.is_available(),
    reason="torch 2.9 asks CUDA's driver as it copies a tensor without data",
)
@pytest.mark.parametrize("model", BUILDERS)
@pytest.mark.parametrize("norm", NORMS)
def test_nothing_mixes_devices(model, norm):
    with FakeTensorMode(), torch.device("cuda"):
        network = BUILDERS[model]((1, 8, 8), norm=norm, dropout=0.1)
        logits = network(torch.randn(4, 1, 8, 8))
        assert logits.device.type == "cuda" and logits.shape == (4, 10)
        with pytest.raises(RuntimeError, match=r"devices|same device"):
            network(torch.randn(4, 1, 8, 8, device="cpu"))


@pytest.mark.parametrize(("model", "norm"), [("mlp", "batch"), ("cnn", "layer"), ("resnet", "group")])
def test_forward_is_one_graph(model, norm):
    torch.manual_seed(0)
    network = BUILDERS[model]((1, 8, 8), norm=norm)
    x = torch.randn(4, 1, 8, 8)
    # fullgraph: any break, such as python that reads the data, is an error. "aot_eager" traces and compiles nothing.
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    network.train()
    loss = compiled(x).square().mean()
    loss.backward()
    gradients = [parameter.grad.clone() for parameter in network.parameters()]
    network.zero_grad()
    network(x).square().mean().backward()
    torch.testing.assert_close(gradients, [parameter.grad for parameter in network.parameters()], rtol=1e-4, atol=1e-6)
    torch._dynamo.reset()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("model", BUILDERS)
@pytest.mark.parametrize("norm", NORMS)
def test_cuda_computes_what_the_cpu_does(model, norm):
    torch.manual_seed(0)
    on_cpu = BUILDERS[model]((1, 8, 8), norm=norm).double()
    on_cuda = copy.deepcopy(on_cpu).cuda()
    for _ in range(2):
        x = torch.randn(4, 1, 8, 8, dtype=torch.float64)
        y = on_cpu(x)
        y.square().mean().backward()
        on_cuda(x.cuda()).square().mean().backward()
        for mine, theirs in zip(on_cuda.parameters(), on_cpu.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-9, atol=1e-10, check_device=False)
    for mine, theirs in zip(on_cuda.state_dict().values(), on_cpu.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-10, check_device=False)


def test_many_models_train_at_once():
    models = [BUILDERS["resnet"]((1, 8, 8)).double() for _ in range(3)]
    stacked, buffers = torch.func.stack_module_state(models)
    x = torch.randn(4, 1, 8, 8, dtype=torch.float64)

    def forward(parameters, buffers):
        return torch.func.functional_call(models[0], (parameters, buffers), (x,))

    together = torch.vmap(forward)(stacked, buffers)
    alone = torch.stack([model(x) for model in models])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)
    for name, buffer in buffers.items():
        torch.testing.assert_close(
            buffer, torch.stack([dict(model.named_buffers())[name] for model in models]), rtol=1e-9, atol=1e-9
        )


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ResNet((64,), 10), r"needs images .* shape \(64,\)"),
        (lambda: CNN((64,), 10), r"needs images .* shape \(64,\)"),
        (lambda: ResNet((1, 0, 8), 10), r"\(1, 0, 8\) holds no numbers"),
        (lambda: MLPClassifier((0,), 10), r"\(0,\) holds no numbers"),
        (lambda: MLPClassifier((4,), 0), "at least 1 class, got 0"),
        (lambda: ResNet((1, 8, 8), 10, depths=(1, 1)), r"depths has 2 stages, widths has 3: \(1, 1\), \(16, 32, 64\)"),
        (lambda: ResNet((1, 8, 8), 10, depths=(), widths=()), r"depths = \(\)"),
        (lambda: ResNet((1, 8, 8), 10, depths=(1, 0), widths=(8, 8)), r"depths = \(1, 0\)"),
        (lambda: ResNet((1, 8, 8), 10, depths=(1, 1), widths=(16, 8)), "from 16 channels to 8"),
        (lambda: ResNet((1, 8, 8), 10, norm="instance"), "'instance'"),
        (lambda: ResNet((1, 8, 8), 10, activation="swish"), "'swish'"),
        (lambda: ResNet((1, 8, 8), 10, dropout=1.0), r"1\.0"),
        (lambda: CNN((1, 8, 8), 10, channels=(4, 4, 4, 4)), r"8x8 image cannot be halved 4 times.*\(4, 4, 4, 4\)"),
        (lambda: CNN((1, 1, 8), 10, channels=(4,)), "1x8 image"),
        (lambda: CNN((1, 8, 8), 10, channels=()), r"channels = \(\)"),
        (lambda: CNN((1, 8, 8), 10, channels=(4, 0)), r"channels = \(4, 0\)"),
    ],
)
def test_refusals_name_the_value(build, message):
    with pytest.raises(RequestError, match=message):
        build()


def test_presets_bind_only_what_they_fix():
    names = ("resnet20", "resnet32", "resnet44", "resnet56", "resnet110")
    assert all(set(getattr(resnets, name).keywords) == {"depths", "widths"} for name in names)
    assert all(p.keywords["residual"] is False and "shortcut" in p.keywords for p in (plain20, plain56))
