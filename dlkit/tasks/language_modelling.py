"""Language modelling: predict the next token (GPT) or masked tokens (BERT); loss and metrics.

If the logits would take too much memory, the last layer, losses and metrics are computed in chunks of rows.

Shapes: B windows, T tokens, M predicted tokens, N = B T or M, W width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from dlkit.data.batch import MaskedBatch
from dlkit.distributed.process_group import World
from dlkit.finite import require_finite_outputs
from dlkit.kernels.linear_cross_entropy import chunk_rows, worth_chunking
from dlkit.metrics.accumulation import sum_dtype
from dlkit.metrics.language import bits_per_byte, token_perplexity
from dlkit.metrics.prediction_scores import prediction_scores

Into = Callable[[Tensor, Any], Tensor]


class CausalLM:
    """Radford et al. 2018, equation 1: maximise the sum over t of log P(token t | the tokens before it).

    Args:
        loss: maps logits (N, V), targets (N,) and the parameters to a scalar.
        token_bytes: (V,) number of bytes of text that each token stands for; None if it is not defined.
    """

    unit = "tokens"
    main_metric = "loss"

    def __init__(self, loss: nn.Module, token_bytes: Tensor | None = None) -> None:
        self.loss = loss
        self.token_bytes = token_bytes

    def logits(self, model: nn.Module, batch: Any) -> Tensor:
        """The logits (B T, V) of the token after each of (B, T)."""
        return model(batch.token_ids).flatten(0, -2)

    def last(self, model: nn.Module, batch: Any, into: Into) -> Tensor:
        """`into` of the last layer's input, (B, T, W), and the layer, instead of the logits."""
        return model(batch.token_ids, into=into)

    def forward(self, model: nn.Module, batch: Any) -> tuple[Tensor, Tensor | None]:
        """The loss of a batch, on the device."""
        targets: Tensor = batch.targets
        loss: Any = self.loss
        # a loss from user code takes logits only
        in_chunks = hasattr(loss, "of_linear") and worth_chunking(len(targets), self.vocabulary(model), targets.device)
        if not in_chunks:
            return loss(self.logits(model, batch), targets, model.parameters()), None

        def nats(x: Tensor, layer: Any) -> Tensor:
            return loss.of_linear(x.flatten(0, -2), layer.weight, layer.bias, targets)

        return loss.penalized(self.last(model, batch, nats), model.parameters()), None

    def vocabulary(self, model: Any) -> int:
        """V; 0 for a model that computes all logits at once."""
        return getattr(model, "vocabulary", 0)

    def meter(self, device: torch.device) -> LanguageMeter:
        return LanguageMeter(self, device)


class MaskedLM(CausalLM):
    """Devlin et al., arXiv:1810.04805, task 1: predict masked tokens from all others."""

    def logits(self, model: nn.Module, batch: MaskedBatch) -> Tensor:
        """The logits (M, V) of the masked tokens."""
        return model(batch.token_ids, at=batch.positions)

    def last(self, model: nn.Module, batch: MaskedBatch, into: Into) -> Tensor:
        return model(batch.token_ids, at=batch.positions, into=into)


class OwnCausalLM(CausalLM):
    """Causal language modelling with a user's model, from token ids (B, T) to all logits, (B, T, V)."""

    def vocabulary(self, model: Any) -> int:
        return 0


class OwnMaskedLM(OwnCausalLM):
    """Masked language modelling with such a model; uses the logits of masked tokens only."""

    def logits(self, model: nn.Module, batch: MaskedBatch) -> Tensor:
        """The logits (M, V) of the masked tokens."""
        return super().logits(model, batch).index_select(0, batch.positions)


class LanguageMeter:
    """Accumulates an evaluation on the device, without a host sync per batch."""

    def __init__(self, task: CausalLM, device: torch.device) -> None:
        self.task = task
        self.nats = torch.zeros((), dtype=sum_dtype(device), device=device)
        # tokens, correct tokens, bytes, tokens whose logits were not finite
        self.counts = torch.zeros(4, dtype=torch.int64, device=device)
        self.token_bytes = None if task.token_bytes is None else task.token_bytes.to(device)

    @property
    def samples(self) -> int:
        """Number of predicted tokens."""
        return int(self.counts[0])

    @torch.no_grad()
    def update(self, model: nn.Module, batch: Any) -> None:
        targets: Tensor = batch.targets
        vocabulary = self.task.vocabulary(model)
        if not worth_chunking(len(targets), vocabulary, targets.device):
            self._count(self.task.logits(model, batch), targets)
            return

        def count(x: Tensor, layer: Any) -> Tensor:
            rows = chunk_rows(len(targets), vocabulary)
            for part, labels in zip(x.flatten(0, -2).split(rows), targets.split(rows), strict=True):
                self._count(layer(part), labels)
            return self.nats

        self.task.last(model, batch, count)

    def _count(self, logits: Tensor, targets: Tensor) -> None:
        logits = logits.float()  # (N, V)
        nats, correct = prediction_scores(logits, targets)  # (N,): -ln P(token t | ...), 0 for a target of -100
        self.nats += nats.sum(dtype=self.nats.dtype)
        counted = targets >= 0
        self.counts[3] += len(nats) - nats.isfinite().sum()
        self.counts[0] += counted.sum()
        self.counts[1] += correct.sum()
        if self.token_bytes is not None:
            self.counts[2] += (self.token_bytes[targets.clamp(min=0)] * counted).sum()

    def collect(self, world: World) -> None:
        """Sum the counts of the meters of all ranks, on every rank."""
        world.sum(self.nats)
        world.sum(self.counts)

    def metrics(self) -> dict[str, float]:
        """Loss in nats per token, perplexity e^loss, accuracy, and bits per byte of text if `token_bytes` is given.

        Raises NotFiniteError if any token's logits were NaN or infinite.
        """
        tokens, right, bytes_, unanswered = self.counts.tolist()
        require_finite_outputs(unanswered, tokens, "tokens")
        nats = self.nats.item()
        loss = nats / max(tokens, 1)
        metrics = {"loss": loss, "perplexity": token_perplexity(loss), "accuracy": right / max(tokens, 1)}
        if bytes_:
            metrics["bits_per_byte"] = bits_per_byte(nats, bytes_)
        return metrics

    def confusion_matrix(self) -> Tensor | None:
        return None
