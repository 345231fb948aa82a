"""Batches of images that are decoded and cropped in worker processes while the model trains."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision.transforms import v2

from dlkit.annotations import Count, Fraction, Natural, NonNegative, Side, Workers
from dlkit.data.balanced_order import balanced_order
from dlkit.data.batch import ClassificationBatch
from dlkit.data.dataset import Split
from dlkit.data.epochs import Epochs, hashed_seed
from dlkit.data.images import augmentation
from dlkit.data.images.decoding import DamagedImageError
from dlkit.data.images.decoding_workers import begin_worker, loaded_batches
from dlkit.data.images.image_batches import grown_size
from dlkit.data.images.image_sources import ImageSource
from dlkit.data.images.stream_order import UNIFORM
from dlkit.distributed.process_group import World
from dlkit.errors import DlkitError, RequestError
from dlkit.processors import usable_cores

_MULTIPLE = 32  # progressive sizes are multiples of it
_LEAST_CROP = 0.1
_ALL_MAY_BE_DAMAGED = 0.1  # share of an epoch, above which skipping would hide that something else is wrong


class StreamedImages(Epochs):
    """Batches of images, (n, 3, S, S) float32 on the device; only those in the workers' queues are in memory.

    In training a random part of each image is cropped, resized and mirrored (Szegedy et al., arXiv:1409.4842); in
    evaluation the shorter side is resized and the centre cropped. The augmentation of an image is a function of seed,
    epoch and row, whichever worker decodes it, so that runs resume exactly.

    In a job of several processes each decodes its own rows, and the one before them where images are mixed in pairs;
    where that one is damaged, the first of a block is mixed with its last.

    Args:
        batch_size: images a batch.
        workers: processes that decode; auto is one for each core; 0 decodes in the training process.
        scale: least share of an image's area that a random crop keeps.
        crop: in evaluation, the side of the centre that is cut out as a share of the shorter side that the image was
            resized to, whatever data.size is: 0.875 makes 256 for 224.
        resize: that shorter side in pixels, at least data.size; null follows data.size by crop.
        interpolation: how evaluation resizes.
        flip: mirror left and right with probability 1/2.
        augment: none, or randaugment (Cubuk et al., arXiv:1909.13719) or trivial (Müller & Hutter, arXiv:2103.10158).
        erase: probability that a random rectangle is erased (Zhong et al., arXiv:1708.04896).
        mixup: alpha of the Beta distribution by which pairs of images are blended; 0 for none.
        cutmix: alpha of the Beta distribution of the area that is pasted from another image; 0 for none. With mixup
            too, each batch has one of them, with probability 1/2 each.
        start_size: height and width in the first epoch, from which they grow to the data's (progressive resizing).
        grow_epochs: epochs until images have their full size.
        damaged: what to do about an image that cannot be decoded: skip leaves it out, names and counts it, and stops
            where more than a tenth are damaged; refuse stops at the first.
        balance: whether an epoch of training has every class equally often, however rare it is in the data.

    Raises:
        RequestError: images that are read shard by shard are to be balanced, or the sizes do not go together.
    """

    def __init__(
        self,
        split: Split,
        mean: Tensor,
        std: Tensor,
        device: torch.device,
        seed: int,
        training: bool,
        channels_last: bool = False,
        *,
        batch_size: Count = 256,
        workers: Literal["auto"] | Workers = "auto",
        scale: Fraction = 0.08,
        crop: Fraction = 0.9655,
        resize: Side | None = None,
        interpolation: Literal["bilinear", "bicubic"] = "bilinear",
        flip: bool = True,
        augment: Literal["none", "randaugment", "trivial"] = "none",
        erase: Fraction = 0.0,
        mixup: NonNegative = 0.0,
        cutmix: NonNegative = 0.0,
        start_size: Side | None = None,
        grow_epochs: Natural = 0,
        damaged: Literal["skip", "refuse"] = "skip",
        balance: bool = False,
    ) -> None:
        source: Any = split.inputs
        self._source: ImageSource = source
        if balance and source.randomness() != UNIFORM:
            raise RequestError(
                "data.balance is set, and these images are read shard by shard, so that none can come again at will",
                "weight the loss by class instead: data.balance=false loss.class_weights=balanced",
            )
        self._balance = balance
        self._targets = split.targets
        self.samples = len(split.targets)
        self.batch_size = min(batch_size, self.samples)
        self.size: int = source.shape[-1]
        if start_size is not None and start_size > self.size:
            raise RequestError(f"data.start_size is {start_size}, more than data.size = {self.size}", "make it smaller")
        self.device, self.seed, self.training = device, seed, training
        self._shares_cores = workers == "auto"
        self.workers = usable_cores() if workers == "auto" else workers
        self._view = centre_view(self.size, crop, resize, interpolation)
        self.scale, self.mirror, self.augment, self.erase = scale, flip, augment, erase
        self.mixup, self.cutmix = mixup, cutmix
        self.start_size, self.grow_epochs, self.policy = start_size, grow_epochs, damaged
        self.passed = 0  # batches of the epoch up to the last one yielded, those left out included
        self.damaged: dict[str, str] = {}  # name -> reason, of the images that were left out
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._mean, self._std = (values.to(device)[None, :, None, None] for values in (mean, std))

    def size_of(self, number: int) -> int:
        """Height and width of training images in epoch `number`."""
        if not self.training or self.start_size is None:
            return self.size
        return grown_size(self.start_size, self.size, number, self.grow_epochs, _MULTIPLE)

    def epoch(self, number: int, start: int = 0) -> Iterator[ClassificationBatch]:
        """Batches `start`, `start` + 1, ... of epoch `number`, on the device.

        Raises:
            ValueError: the epoch has fewer than `start` batches.
            DlkitError: images are damaged, more than the policy allows; a worker was killed.
        """
        begins = self.begins(start)
        generator = torch.Generator().manual_seed(hashed_seed(self.seed, number))
        order = torch.arange(self.samples)
        if self.training:
            order = balanced_order(self._targets, generator) if self._balance else self._source.order(generator)
        rows = [self._own(order[begin : begin + self.batch_size].tolist()) for begin in begins]
        epoch_seed = hashed_seed(self.seed, number, 1) if self.training else None
        loader: DataLoader[Any] = DataLoader(
            _Decoded(self._source, self._targets, self._transform(self.size_of(number)), epoch_seed),
            batch_sampler=rows,
            num_workers=self.workers,
            collate_fn=functools.partial(_collate, before=self._before),
            pin_memory=self.device.type == "cuda",
            worker_init_fn=begin_worker,
            prefetch_factor=2 if self.workers else None,
            generator=generator,  # from which the loader draws its seed, not from the training's generator
        )
        for index, (images, targets, problems, before) in enumerate(loaded_batches(loader), start):
            whole = self._report(problems, len(targets) - before)
            if not whole:
                continue
            self.passed = index + 1
            if not len(targets):
                images = torch.empty(0, 3, *(self.size_of(number),) * 2, dtype=torch.uint8)
            images, targets = self._sent(images, targets)
            images = augmentation.normalise(images, self._mean, self._std)  # (n, 3, S, S)
            batch = self._mixed(images, targets, number, index)
            if before:
                batch = batch.map(lambda values: values[1:] if values.dim() else values)
            yield dataclasses.replace(batch, whole=self.whole(whole))

    def shard(self, world: World) -> None:
        super().shard(world)
        if self._shares_cores:
            self.workers = max(1, usable_cores() // world.local_size)

    @property
    def _before(self) -> int:
        """How many images this process decodes in front of its own block, to mix with its first."""
        return int(self.world.size > 1 and self.training and bool(self.mixup or self.cutmix))

    def _own(self, rows: list[int]) -> list[int]:
        """What this process decodes of the rows of a batch."""
        own = self.own_rows(len(rows))
        return [*rows[own.start - 1 :][: self._before], *rows[own]] if rows[own] else []

    @functools.cached_property
    def _stream(self) -> torch.cuda.Stream:
        return torch.cuda.Stream(self.device)

    def _sent(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """A batch on the device. On CUDA it is copied from pinned memory while the step before is still running."""
        here = torch.cuda.current_stream(self.device) if self.device.type == "cuda" else None
        with torch.cuda.stream(self._stream) if here else nullcontext():
            images, targets = self.send(images).contiguous(memory_format=self._format), self.send(targets)
        if here:
            here.wait_stream(self._stream)
            for sent in (images, targets):
                sent.record_stream(here)  # its memory was allocated on the other stream
        return images, targets

    def _transform(self, size: int) -> Callable[[Any], Tensor]:
        if not self.training:
            return self._view
        steps: list[Any] = [v2.RandomResizedCrop(size, scale=(self.scale, 1.0), antialias=True)]
        if self.mirror:
            steps.append(v2.RandomHorizontalFlip())
        if self.augment != "none":
            steps.append(v2.RandAugment() if self.augment == "randaugment" else v2.TrivialAugmentWide())
        steps.append(v2.PILToTensor())
        if self.erase:
            steps.append(v2.RandomErasing(self.erase))
        return v2.Compose(steps)

    def _report(self, problems: list[str], kept: int) -> int:
        """Count the images of a batch that are damaged, on every rank; returns how many are not."""
        for problem in problems:
            name, _, why = problem.partition(": ")
            if self.policy == "refuse":
                raise DlkitError(f"cannot decode the image {name}: {why}", "repair it, or set data.damaged=skip")
            self.damaged[name] = why
        if self.world.size > 1:
            kept, found = self.world.sum(torch.tensor([kept, len(problems)])).tolist()
            if found:
                self._gather_damaged(self.world)
        self._require_mostly_whole()
        return kept

    def collect(self, world: World) -> None:
        """Name and count the damaged images of all ranks on each of them."""
        self._gather_damaged(world)
        self._require_mostly_whole()

    def _gather_damaged(self, world: World) -> None:
        for others in world.gather_objects(self.damaged):
            self.damaged |= others

    def _require_mostly_whole(self) -> None:
        if len(self.damaged) > max(1, _ALL_MAY_BE_DAMAGED * self.samples):
            name, why = next(iter(self.damaged.items()))
            raise DlkitError(
                f"{len(self.damaged)} of {self.samples} images cannot be decoded, the first {name}: {why}",
                "is the data whole?",
            )

    def _mixed(self, images: Tensor, targets: Tensor, number: int, index: int) -> ClassificationBatch:
        if not self.training or not (self.mixup or self.cutmix):
            return ClassificationBatch(images, targets)
        generator = torch.Generator().manual_seed(hashed_seed(self.seed, number, 2, index))
        pastes = bool(self.cutmix) and (not self.mixup or torch.rand((), generator=generator).item() < 0.5)
        share = self.send(augmentation.beta(self.cutmix if pastes else self.mixup, 1, generator))[0]
        if pastes:
            centre = self.send(torch.randint(images.shape[-1], (2,), generator=generator))  # of the pasted rectangle
            images, share = augmentation.cutmix(images, share, *centre.unbind())
        else:
            images = augmentation.mixup(images, share)
        return ClassificationBatch(images, targets, targets.roll(1), share)


def centre_view(size: int, crop: float, resize: int | None, interpolation: str = "bilinear") -> Callable[[Any], Tensor]:
    """In evaluation, what of an image the model sees, (3, size, size) uint8; arguments as `StreamedImages` has them.

    Raises RequestError if `crop` is too small.
    """
    margin = shorter_side(size, crop, resize)
    how = v2.InterpolationMode(interpolation)
    return v2.Compose([v2.Resize(margin, how, antialias=True), v2.CenterCrop(size), v2.PILToTensor()])


def shorter_side(size: int, crop: float, resize: int | None) -> int:
    """What the shorter side of an image is resized to in evaluation; as `centre_view`."""
    if crop < _LEAST_CROP:
        raise RequestError(f"data.crop is {crop:g}, less than {_LEAST_CROP}", "0.875 is usual")
    return max(size, round(size / crop) if resize is None else resize)


class _Decoded(TorchDataset[Any]):
    """Row -> (image uint8, class), or the error message of a damaged image."""

    def __init__(
        self, source: ImageSource, targets: Tensor, transform: Callable[[Any], Tensor], seed: int | None
    ) -> None:
        self.source, self.targets, self.transform, self.seed = source, targets, transform, seed

    def __getitem__(self, row: int) -> Any:
        try:
            image = self.source.image(row)
        except DamagedImageError as error:
            return str(error)
        if self.seed is None:
            return self.transform(image), self.targets[row]
        with torch.random.fork_rng(devices=[]):  # torchvision draws from torch's own generator
            # torch.manual_seed would also queue a seed for CUDA at every call
            torch.default_generator.manual_seed(hashed_seed(self.seed, row))
            return self.transform(image), self.targets[row]


def _collate(examples: Sequence[Any], before: int = 0) -> tuple[Tensor, Tensor, list[str], int]:
    """Images, classes, what is wrong with the others, and how many of the first `before` examples are among them."""
    problems = [example for example in examples[before:] if isinstance(example, str)]
    good = [example for example in examples if not isinstance(example, str)]
    ahead = sum(not isinstance(example, str) for example in examples[:before])
    if len(good) == ahead:
        return torch.empty(0), torch.empty(0, dtype=torch.int64), problems, 0
    return torch.stack([image for image, _ in good]), torch.stack([target for _, target in good]), problems, ahead
