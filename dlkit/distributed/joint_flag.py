"""A flag that ranks share at every step, without waiting for each other."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from dlkit.distributed.process_group import World


class JointFlag:
    """Whether a flag was set on any rank at the previous step: all ranks get the same answer at the same step.

    The flags are sent while the next step is computed. With a single rank the answer is the flag itself.

    Args:
        world: the ranks, each of which must call `ask` equally often.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._asked: tuple[Any, Tensor] | None = None

    def ask(self, flag: bool) -> bool:
        if self.world.size == 1:
            return flag
        answer = self.settle()
        values = torch.tensor([int(flag)])  # on the host, so gloo sends it
        self._asked = dist.all_reduce(values, dist.ReduceOp.MAX, async_op=True), values
        return answer

    def settle(self) -> bool:
        """Wait for the answer to the last `ask`; false if there was none."""
        if self._asked is None:
            return False
        (work, values), self._asked = self._asked, None
        work.wait()
        return bool(values.item())
