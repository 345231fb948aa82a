"""A question that every rank asks at every step, without waiting for the answer."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from dlkit.distributed.process_group import World


class JointFlag:
    """Whether a flag was up on any rank when they asked before: all ranks get the same answer at the same step.

    A flag goes over the network while the next step is computed. In a world of one the answer is the flag itself.

    Args:
        world: every rank of which asks as often.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._asked: tuple[Any, Tensor] | None = None

    def ask(self, flag: bool) -> bool:
        if self.world.size == 1:
            return flag
        answer = self.settle()
        values = torch.tensor([int(flag)])  # on the host, and so by gloo
        self._asked = dist.all_reduce(values, dist.ReduceOp.MAX, async_op=True), values
        return answer

    def settle(self) -> bool:
        """The answer to the last question, which leaves none open; false if there was none."""
        if self._asked is None:
            return False
        (work, values), self._asked = self._asked, None
        work.wait()
        return bool(values.item())
