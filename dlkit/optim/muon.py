"""Muon, momentum with orthogonalized updates of matrices: Jordan et al. 2024, kellerjordan.github.io/posts/muon.

All parameters but the matrices of hidden layers (vectors, the first and the last layer) are updated by AdamW.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

import torch
from torch import Tensor, nn

from dlkit.annotations import Ge, Le, NonNegative, Positive, Rate
from dlkit.distributed.tensor_parts import divided_like, local_part, whole_on
from dlkit.errors import require_choice
from dlkit.optim.adamw import AdamW
from dlkit.optim.base import Group, Optimizer, State, chosen, require_option
from dlkit.optim.layout import is_dense
from dlkit.optim.many import Many, add_, many

_MOST_IN_A_STACK = 1 << 26  # elements: larger matrices keep a device busy alone, and a stack takes memory
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic: steep at 0, and singular values end up in 0.7 to 1.2
Scale = Literal["original", "match_rms_adamw", "spectral_unclamped"]
# The factor of lr for a matrix (m, n).
SCALES: dict[Scale, Callable[[int, int], float]] = {
    "original": lambda m, n: max(1, m / n) ** 0.5,
    "match_rms_adamw": lambda m, n: 0.2 * max(m, n) ** 0.5,  # the RMS of a step is that of AdamW
    "spectral_unclamped": lambda m, n: (m / n) ** 0.5,
}


def orthogonal(
    matrix: Tensor, steps: int, coefficients: tuple[float, float, float], eps: float, dtype: torch.dtype | None = None
) -> Tensor:
    """Approximately the nearest orthogonal matrix to a matrix (m, n): moves its singular values close to 1.

    Also for stacks of matrices (K, m, n). Products and result are in `dtype`, by default that of the matrix.
    """
    a, b, c = coefficients
    tall = matrix.shape[-2] > matrix.shape[-1]
    add_product = torch.addmm if matrix.dim() == 2 else torch.baddbmm
    # ||X||_2 <= ||X||_F = 1
    x = matrix.to(dtype or matrix.dtype, copy=True)
    x.div_(torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True).clamp_(min=eps))
    x = x.mT if tall else x  # (..., short, long)
    for _ in range(steps):
        # Newton-Schulz: X <- a X + (b A + c A^2) X, A = X X^T, which maps singular values s to a s + b s^3 + c s^5
        gram = x @ x.mT
        x = add_product(x, add_product(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def muon_step(
    theta: Tensor,
    gradient: Tensor,
    m: Tensor,
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
    ns_coefficients: tuple[float, float, float],
    ns_steps: int,
    eps: float,
    adjust_lr_fn: Scale,
    unit_rows: bool,
) -> None:
    """One step with the first moment `m`, in place, of a matrix, a kernel (outputs, ...) taken as one, or `Many`."""
    first = theta.tensors[0] if isinstance(theta, Many) else theta
    rows, columns = len(first), first.numel() // len(first)
    # m <- mu m + (1 - mu) g; Nesterov looks one step ahead: mu m + (1 - mu) g
    m.lerp_(gradient, 1 - momentum)
    ahead = gradient.lerp(m, momentum) if nesterov else m
    step = orthogonal(matrices(ahead), ns_steps, ns_coefficients, eps, working_dtype(first))
    if unit_rows:
        # theta <- theta sqrt(m) / ||theta||_F
        theta.mul_(rows**0.5 / theta.norm().clamp_min(eps))
    # theta <- theta - lr lambda theta
    theta.mul_(1 - lr * weight_decay)
    # theta <- theta - lr scale O
    moved, length = laid_out(step, theta), lr * SCALES[adjust_lr_fn](rows, columns)
    if isinstance(length, Tensor):  # alpha must be a number, and a tensor does not promote bf16 to float32
        add_(theta, moved if isinstance(moved, Many) else moved.to(theta.dtype), -length)
    else:
        theta.sub_(moved, alpha=length)


def matrices(x: Tensor) -> Tensor:
    """A parameter or gradient as a matrix (m, n); a `Many` of one shape and layout as a stack of matrices, (K, m, n).

    The columns of a stack are in memory order, which differs for channels_last kernels. Permuting columns does not
    change X X^T, and permutes the columns of the result alike.
    """
    if not isinstance(x, Many):
        return x.flatten(1)
    rows, columns = len(x.tensors[0]), x.tensors[0].stride(0)
    return torch.stack([tensor.as_strided((rows, columns), (columns, 1)) for tensor in x.tensors])


def laid_out(step: Tensor, theta: Tensor) -> Tensor:
    """The inverse of `matrices`: a step in the shape of theta, and for a stack in its dtype and layout too."""
    if not isinstance(theta, Many):
        return step.view(theta.shape)
    like = theta.tensors[0]
    rows = torch.empty(step.shape, dtype=like.dtype, device=like.device).copy_(step)  # (K, m, n), row by row
    return many([row.as_strided(like.shape, like.stride()) for row in rows.unbind()])


def working_dtype(theta: Tensor) -> torch.dtype:
    """The dtype of Newton-Schulz's products: bf16 as in the paper, or float32 on a CPU without bf16."""
    slow = theta.device.type == "cpu" and not torch.cpu._is_avx512_bf16_supported()
    return torch.float32 if slow else torch.bfloat16


def divided(model: nn.Module, groups: list[Group], *, other_factor: Positive = 0.15) -> list[Group]:
    """The same groups, each split into the matrices of hidden layers and the rest.

    Args:
        other_factor: factor of lr for parameters updated by AdamW (vectors, the first and the last layer).
    """
    stages: tuple[tuple[str, ...], ...] = getattr(model, "stages", ())
    ends = [name for stage in (stages[0], stages[-1]) for name in stage] if stages else []
    outer = {id(parameter) for name in ends for parameter in model.get_submodule(name).parameters()}
    found: list[Group] = []
    for group in groups:
        hidden = [p for p in group["params"] if p.dim() > 1 and id(p) not in outer]
        chosen = {id(parameter) for parameter in hidden}
        rest = [parameter for parameter in group["params"] if id(parameter) not in chosen]
        factor = group.get("lr_factor", 1.0) * other_factor
        found += [{**group, "params": hidden}] if hidden else []
        found += [{**group, "params": rest, "hidden": False, "lr_factor": factor}] if rest else []
    return found


class Muon(AdamW):
    """Muon. Twin of torch.optim.Muon, which takes matrices only; here AdamW updates the rest.

    Args:
        lr: step size of matrices.
        momentum: mu, the decay rate of the running mean of gradients.
        nesterov: use Nesterov's variant (1983).
        weight_decay: lambda; each step shrinks the weights by lr * lambda of themselves.
        unit_rows: scale each matrix to rows of norm 1 on average before its step, for networks whose norm layers make
            them invariant to the scale of weights (Jordan 2024, github.com/KellerJordan/cifar10-airbench).
        adjust_lr_fn: the factor of lr for a matrix (m, n): original is sqrt(max(1, m / n)); match_rms_adamw matches the
            RMS of AdamW's steps, so AdamW's lr can be reused (Liu et al. 2025, arXiv:2502.16982); spectral_unclamped is
            sqrt(m / n), for wide matrices too (Bernstein & Newhouse 2024, arXiv:2409.20325).
        ns_steps: Newton-Schulz iterations; more make the update closer to orthogonal.
        betas: of AdamW.
        eps: of AdamW, and the lower bound of the norm that a gradient is divided by.
        maximize: ascend instead.
    """

    elementwise = False

    def __init__(
        self,
        params: Any,
        *,
        lr: Positive = 0.02,
        momentum: Rate = 0.95,
        nesterov: bool = True,
        weight_decay: NonNegative = 0.0,
        unit_rows: bool = False,
        adjust_lr_fn: Scale = "original",
        ns_steps: Annotated[int, Ge(1), Le(100)] = 5,
        betas: tuple[Rate, Rate] = (0.9, 0.95),
        eps: NonNegative = 1e-7,
        maximize: bool = False,
    ) -> None:
        options = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay, "eps": eps}
        options |= {"unit_rows": unit_rows, "adjust_lr_fn": adjust_lr_fn, "ns_steps": ns_steps, "betas": betas}
        more = {"ns_coefficients": COEFFICIENTS, "amsgrad": False, "maximize": maximize, "hidden": True}
        Optimizer.__init__(self, params, {**options, **more})

    def check(self, group: Group) -> None:
        super().check(group)
        require_option(group, "momentum", lambda value: 0 <= value < 1, ">= 0 and < 1")
        require_option(group, "ns_steps", lambda value: 1 <= value < 100, "from 1 to 99")
        require_choice("adjust_lr_fn", group["adjust_lr_fn"] or "original", get_args(Scale))  # torch's Muon allows None

    def begin(self, parameter: Tensor, group: Group) -> State:
        if _goes_by_adamw(parameter, group):
            return super().begin(parameter, group)
        return {"momentum_buffer": torch.zeros_like(parameter)}

    def advance(self, parameters: list[Tensor], gradients: list[Tensor], states: list[State], group: Group) -> None:
        by_adamw = [_goes_by_adamw(parameter, group) for parameter in parameters]
        for kind in set(by_adamw):
            own = [index for index, one in enumerate(by_adamw) if one is kind]
            super().advance(*chosen(own, parameters, gradients, states), group)

    def advance_divided(
        self, parameters: list[Tensor], gradients: list[Tensor], states: list[State], group: Group
    ) -> None:
        """One step of parameters that are sharded over ranks. One rank gathers a matrix, computes its step and sends
        the other ranks their shards; each rank does so for a different matrix at a time."""
        by_adamw = [_goes_by_adamw(parameter, group) for parameter in parameters]
        rest = [index for index, one in enumerate(by_adamw) if one]
        if rest:
            super().advance_divided(*chosen(rest, parameters, gradients, states), group)
        matrices = [index for index, one in enumerate(by_adamw) if not one]
        mesh: Any = getattr(parameters[0], "device_mesh", None)
        rank, size = mesh.get_local_rank(), mesh.size()
        for begin in range(0, len(matrices), size):
            owned = matrices[begin : begin + size]  # rank r steps the r-th
            divided = [(parameters[i], gradients[i], states[i]["momentum_buffer"]) for i in owned]
            whole = [[whole_on(owner, tensor) for tensor in tensors] for owner, tensors in enumerate(divided)]
            if rank < len(owned):
                theta, gradient, m = whole[rank]
                self.advance([theta], [gradient], [{"momentum_buffer": m}], group)
            for owner, ((parameter, _, momentum), (theta, _, m)) in enumerate(zip(divided, whole, strict=True)):
                for part, new in ((parameter, theta), (momentum, m)):
                    local_part(part).copy_(local_part(divided_like(new, part, source=owner)))

    def at_once(self, parameters: list[Tensor], gradients: list[Tensor], states: list[State], group: Group) -> None:
        """Update matrices of equal shape and layout in stacks of bounded size, and others one by one."""
        if "momentum_buffer" not in states[0]:
            super().at_once(parameters, gradients, states, group)
            return
        alike: dict[Any, list[int]] = {}
        for index, (theta, gradient) in enumerate(zip(parameters, gradients, strict=True)):
            block = theta.numel() == len(theta) * theta.stride(0) and theta.stride() == gradient.stride()
            own = block and is_dense(theta) and theta.dtype == gradient.dtype
            alike.setdefault((theta.shape, theta.stride(), theta.dtype) if own else index, []).append(index)
        for indices in alike.values():
            most = max(1, _MOST_IN_A_STACK // parameters[indices[0]].numel())
            for begin in range(0, len(indices), most):
                own = chosen(indices[begin : begin + most], parameters, gradients, states)
                go = super().at_once if len(own[0]) > 1 else self.one_by_one
                go(*own, group)

    def update(self, parameter: Tensor, gradient: Tensor, state: State, group: Group) -> None:
        if "momentum_buffer" not in state:
            super().update(parameter, gradient, state, group)
            return
        names = ("lr", "momentum", "nesterov", "weight_decay", "unit_rows", "adjust_lr_fn", "ns_steps", "eps")
        options = {name: group[name] for name in (*names, "ns_coefficients")}
        options["adjust_lr_fn"] = options["adjust_lr_fn"] or "original"
        muon_step(parameter, gradient, state["momentum_buffer"], **options)

    def _can_fuse(self, parameters: list[Tensor], gradients: list[Tensor], group: Group) -> bool:
        mine = all(_goes_by_adamw(parameter, group) for parameter in parameters)
        return mine and super()._can_fuse(parameters, gradients, group)


def _goes_by_adamw(parameter: Tensor, group: Group) -> bool:
    return parameter.dim() < 2 or not group["hidden"] or not parameter.numel()
