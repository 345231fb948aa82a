"""The integer arithmetic of context mixing: logit and sigmoid as tables, and the rates of learning.

Probabilities are in units of 2^-16 and logits of 2^-8, so that a decoder on any machine computes the same numbers. A
file's header names the tables that it was coded with by a checksum.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

ONE = 1 << 16  # probability 1
NAT = 256  # logit 1
LARGEST = 12 * NAT - 1  # logit


def _tables() -> tuple[Ints, Ints]:
    """The logit of p / 4096 (4096 entries), and the sigmoid of logits from -LARGEST to LARGEST; both rounded."""
    logit = [round(NAT * math.log((i + 0.5) / (4095.5 - i))) for i in range(4096)]
    sigmoid = [round(ONE / (1 + math.exp(-x / NAT))) for x in range(-LARGEST, LARGEST + 1)]
    return np.array(logit), np.clip(np.array(sigmoid), 1, ONE - 1)


LOGIT, SIGMOID = _tables()
# Indexed by numbers of either sign, where Python counts negative ones from the end: by (p - ONE / 2) >> 4, by logit.
LOGIT_OF = np.roll(LOGIT, -2048)
SIGMOID_OF = np.roll(SIGMOID, -LARGEST)


@dataclass(frozen=True)
class LearningRates:
    """How a model starts and learns.

    Args:
        weight: the initial weight of each input of the mixer.
        limit: the number of observations from which on a context forgets old ones as fast as it learns.
        early: the n-th observation of a context counts 1 / (n + early).
    """

    weight: int
    limit: int
    early: float

    def table(self) -> Ints:
        """The rate of the n-th observation, (256,)."""
        return np.array([0] + [round(ONE / (n + self.early)) for n in range(1, 256)])


_TABLES = zlib.crc32(LOGIT.astype("<i4").tobytes() + SIGMOID.astype("<i4").tobytes())
_FIRST, RATES = LearningRates(ONE * 5 // 16, 60, 0.5), LearningRates(ONE * 9 // 64, 127, 0.6)
TABLES = zlib.crc32(RATES.table().astype("<i4").tobytes(), _TABLES) % 100_000  # short: each file carries it
RATES_BY_TABLES = {_TABLES: _FIRST, TABLES: RATES}  # the first are those of the earliest files
