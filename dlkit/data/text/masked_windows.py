"""Batches for masked language modelling: windows of a long array of tokens, some of which are hidden.

Windows are as in causal language modelling, but with [CLS] and [SEP] around them; the masks are a pure function of
(seed, epoch, batch), so that iteration resumes exactly at any batch.

Shapes: B windows a batch, T tokens a window, M predicted tokens a batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dlkit.annotations import Count, Fraction
from dlkit.data.batch import Batch, MaskedBatch
from dlkit.data.epochs import hashed_seed
from dlkit.data.text.token_ids import Tokens
from dlkit.data.text.windows import IGNORED, WindowBatches
from dlkit.errors import DlkitError

_ITSELF, _PADDING = -1, -2  # in place of the id of a token to show


@dataclass(frozen=True)
class MaskingVocabulary:
    """What masking needs to know of a vocabulary of `size` tokens.

    Args:
        first: id of [CLS].
        last: id of [SEP].
        mask: id of [MASK].
        size: of the vocabulary.
        continues: (size,) bool: which tokens continue a word.
    """

    first: int
    last: int
    mask: int
    size: int
    continues: NDArray[np.bool_]


class MaskedWindows(WindowBatches):
    """Windows for masked language modelling, as `MaskedBatch`es.

    With whole words, M varies from batch to batch on a CPU. Elsewhere a new shape costs more (memory, a compiled model)
    than some padding, so that all batches are padded to one shape there.

    Devlin et al., arXiv:1810.04805, section 3.1: of the tokens of a window, 15 % are to be predicted; of these 80 % are
    replaced by [MASK], 10 % by a random token, and 10 % stay. The masks are drawn anew in each epoch of training
    (Liu et al., arXiv:1907.11692) and are always the same in evaluation.

    Args:
        batch_size: windows a batch.
        context: tokens a window, [CLS] and [SEP] included.
        mask: share of the tokens that are predicted.
        whole_words: choose words with all their pieces instead of single pieces.
    """

    def __init__(
        self,
        tokens: Tokens,
        device: torch.device,
        seed: int,
        training: bool,
        special: MaskingVocabulary,
        *,
        batch_size: Count = 16,
        context: Count = 128,
        mask: Fraction = 0.15,
        whole_words: bool = False,
    ) -> None:
        if context < 3:
            raise DlkitError(f"a window of {context} tokens has no room between [CLS] and [SEP]")
        super().__init__(tokens, device, seed, training, context=context - 2, ahead=0)
        self.special, self.mask, self.whole_words = special, mask, whole_words
        self.stride = self.window
        whole = len(tokens) // self.window
        self.samples = (whole - 1 if whole > 8 else whole) if training else -(-len(tokens) // self.window)
        self.batch_size = min(batch_size, self.samples)
        self._continues = torch.from_numpy(special.continues)
        self.padded = whole_words and device.type != "cpu"

    def _make(self, begins: Tensor, number: int, batch: int, rows: slice) -> Batch:
        special, device = self.special, self.device
        generator = torch.Generator().manual_seed(hashed_seed(self.seed if self.training else 0, number, batch))
        # the random choices, and all that follows from them, are made on the CPU: no shape waits for the device
        row, column = self._choose(begins, generator)  # (M,), (M,)
        draw = torch.rand(len(row), generator=generator)
        noise = torch.randint(special.size, (len(row),), generator=generator)
        # 80 % [MASK], 10 % any token, 10 % itself
        shown = torch.where(draw < 0.8, special.mask, torch.where(draw < 0.9, noise, _ITSELF))
        whole_count = self.whole(len(row))
        if self.world.size > 1:
            own = self.own_rows(len(begins))
            here = (row >= own.start) & (row < own.stop)
            begins, row, column, shown = begins[own], row[here] - own.start, column[here], shown[here]
        windows = self._take(begins)  # (B, T - 2)
        positions = row * (windows.shape[1] + 2) + column + 1  # (M,)
        if self.padded:
            size = len(windows) * self._wanted(windows.shape[1])
            rest = -len(row) % max(size, 1)  # a word longer than all that is wanted makes more than `size`
            positions, shown = F.pad(positions, (0, rest)), F.pad(shown, (0, rest), value=_PADDING)
        positions, shown = self.send(torch.stack((positions, shown))).unbind()
        edge = torch.full((len(windows), 1), special.first, device=device)
        whole = torch.cat((edge, windows, torch.full_like(edge, special.last)), 1)  # (B, T)
        flat = whole.flatten()
        targets = flat.index_select(0, positions)
        token_ids = flat.index_copy(0, positions, torch.where(shown < 0, targets, shown)).view_as(whole)
        if self.padded:
            targets = targets.masked_fill(shown == _PADDING, IGNORED)
            return MaskedBatch(token_ids, targets, positions, len(row), whole=whole_count)
        return MaskedBatch(token_ids, targets, positions, whole=whole_count)

    def _wanted(self, length: int) -> int:
        """How many of so many tokens are to be predicted."""
        return max(1, round(self.mask * length))

    def _choose(self, begins: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Rows and columns of the chosen tokens among (B, T - 2), each (M,), in order and on the CPU: the same number
        in each row, or as many whole words as do not exceed it."""
        rows, length = len(begins), self._span
        wanted = self._wanted(length)
        score = torch.rand(rows, length, generator=generator)
        if not self.whole_words:
            column = score.argsort(1)[:, :wanted].sort(1).values  # (B, wanted)
            return torch.arange(rows).repeat_interleave(wanted), column.flatten()
        opens = ~self._continues[self._on_host(begins)]
        opens[:, 0] = True
        word = opens.cumsum(1) - 1  # (B, T - 2): the index of each token's word
        # words in a random order, each with its length; take them while they fit
        lengths = torch.zeros_like(word).scatter_add_(1, word, torch.ones_like(word))
        order = score.masked_fill(lengths == 0, 2).argsort(1)
        total = lengths.gather(1, order).cumsum(1)
        fits = total <= wanted
        fits[:, 0] = True  # a single long word is better than none
        taken = torch.zeros_like(fits).scatter_(1, order, fits)
        row, column = taken.gather(1, word).nonzero(as_tuple=True)
        return row, column
