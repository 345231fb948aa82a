"""A whole run of airbench94 in bare torch: Jordan 2024, arXiv:2404.00498, appendix A.

The network of `FastCNN`, whitening of the first layer, batches of 1,024, SGD with Nesterov's momentum, a triangular
schedule, label smoothing, alternating flip, shifts by 2, Lookahead, and six views of each test image.

Shapes: N images, C channels, H and W pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlkit.doctor.twins.convolutional import PlainFastCNN
from dlkit.doctor.twins.loops import random_crops

BATCH, EPOCHS, MOMENTUM = 1024, 8, 0.85
# Learning rate and weight decay; the paper states them for losses summed over 1,024 examples.
_KILO = 1024 * (1 + 1 / (1 - MOMENTUM))
_RATE, _DECAY, _BIAS_FACTOR = 11.5 / _KILO, 0.0153 * 1024 / _KILO, 64


def initial_airbench(images: Tensor, widths: tuple[int, ...] = (64, 256, 256)) -> PlainFastCNN:
    """The network at initialisation, in the images' dtype, with norms in float32."""
    model = PlainFastCNN(widths, 10).to(images.device, images.dtype, memory_format=torch.channels_last)  # pyright: ignore
    with torch.no_grad():
        patches = images[:5000].float().unfold(2, 2, 1).unfold(3, 2, 1)  # (N, C, H - 1, W - 1, 2, 2)
        rows = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, 4 * images.shape[1])
        values, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
        filters = vectors.T / (values + 5e-4).sqrt()[:, None]
        model.whiten.weight.copy_(torch.cat((filters, -filters)).view(model.whiten.weight.shape))
        nn.init.zeros_(model.whiten.get_parameter("bias"))
        for module in model.modules():
            if isinstance(module, nn.Conv2d) and module is not model.whiten:
                same = min(module.weight.shape[:2])
                nn.init.dirac_(module.weight[:same])
            if isinstance(module, nn.BatchNorm2d):
                module.float()
    return model


def train_airbench(
    images: Tensor, targets: Tensor, epochs: int = EPOCHS, widths: tuple[int, ...] = (64, 256, 256)
) -> PlainFastCNN:
    """Train on normalised images (N, C, H, W) on the device, without synchronizing."""
    model = initial_airbench(images, widths)
    size = min(BATCH, len(images))
    steps = len(images) // size
    total = epochs * steps
    peak = max(1, int(0.23 * total))
    learned = [p for p in model.parameters() if p.requires_grad]
    biases, others = [p for p in learned if p.dim() == 1], [p for p in learned if p.dim() > 1]
    groups = [
        {"params": some, "lr": rate, "weight_decay": _DECAY / rate}
        for some, rate in ((biases, _RATE * _BIAS_FACTOR), (others, _RATE))
    ]
    optimizer = torch.optim.SGD(groups, lr=_RATE, momentum=MOMENTUM, nesterov=True)

    def factor(step: int) -> float:
        return 0.2 + 0.8 * step / peak if step < peak else 1 - 0.93 * (step - peak) / max(1, total - peak)

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    fast = [value for value in model.state_dict().values() if value.dtype.is_floating_point]
    slow = [value.clone() for value in fast]

    @torch.no_grad()
    def lookahead(share: float) -> None:
        for before, value in zip(slow, fast, strict=True):
            before.lerp_(value, 1 - share)
            value.copy_(before)

    mirrored = (torch.rand(len(images), device=images.device) < 0.5)[:, None, None, None]
    first = torch.where(mirrored, images.flip(-1), images)
    model.train()
    for epoch in range(epochs):
        shown = random_crops(first.flip(-1) if epoch % 2 else first, 2, mirrors=False)
        model.whiten.get_parameter("bias").requires_grad_(epoch < 3)
        order = torch.randperm(len(images), device=images.device)
        for step in range(steps):
            rows = order[step * size : (step + 1) * size]
            outputs = model(shown[rows])
            loss = F.cross_entropy(outputs, targets[rows], label_smoothing=0.2, reduction="none").sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            done = epoch * steps + step + 1
            if done % 5 == 0:
                lookahead(0.95**5 * (done / total) ** 3)
    lookahead(0.0)
    return model.eval()


@torch.no_grad()
def multicrop_accuracy(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """Accuracy over six views of each image, of which unmoved ones count twice; a scalar on the device."""
    right = torch.zeros((), dtype=torch.int64, device=images.device)
    height, width = images.shape[2:]
    for batch, wanted in zip(images.split(2000), targets.split(2000), strict=True):
        padded = F.pad(batch, (1,) * 4, "reflect")
        views = ((batch, 2), (padded[..., :height, :width], 1), (padded[..., 2:, 2:], 1))
        scores = sum(weight * (model(view) + model(view.flip(-1))) for view, weight in views)
        right += (scores.argmax(1) == wanted).sum()  # pyright: ignore[reportAttributeAccessIssue]
    return right / len(images)
