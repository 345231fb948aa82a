"""The base class of all optimizers: the loop over parameters, and three implementations of a step.

A subclass defines `begin` (the state of a new parameter), `update` (the rule, as the paper writes it) and, if torch has
one, `fused` (the same step as one kernel over all tensors of a group; tests compare the two).

    fused     torch's kernel does the whole step of all tensors
    at once   each operation of the rule goes over all tensors (see `many`), where kernel launches dominate the time
    one by one   the rule on one tensor at a time, which then stays in a CPU's cache
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dlkit.annotations import LARGEST_NUMBER
from dlkit.distributed.tensor_parts import divided_like, is_divided, local_part
from dlkit.errors import DlkitError, RequestError
from dlkit.optim.layout import is_dense
from dlkit.optim.many import Many, Number, many

State = dict[str, Any]
Group = dict[str, Any]


class Optimizer(torch.optim.Optimizer):
    """Base of dlkit's optimizers. State and groups are named as in torch's optimizers, so state dicts interchange.

    Args:
        params: parameters, or groups of them with their own options; `lr_factor` multiplies the learning rate.
        defaults: default options of a group.

    Raises:
        RequestError: an option is out of its range.
    """

    fused_devices: tuple[str, ...] = ()
    capturable = False  # whether the learning rate may be a tensor, as capture in a CUDA graph requires
    foreach_devices: tuple[str, ...] = ("cuda",)
    # whether the rule treats each element separately, so that the parameters of many models can be stacked; each class
    # must state it, since a rule for whole matrices may be a subclass of an elementwise one
    elementwise: bool

    # with this set, torch's GradScaler does not synchronize with the device at fp16 but sets `found_inf`, which is 1 if
    # a gradient overflowed and the step must be skipped, and `grad_scale`, by which gradients must still be divided
    _step_supports_amp_scaling = True
    found_inf: Tensor | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not isinstance(vars(cls).get("elementwise"), bool):
            raise TypeError(f"{cls.__name__} must state whether it is elementwise")

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        super().__init__(params, {**defaults, "differentiable": False})

    def add_param_group(self, param_group: Group) -> None:
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        group["lr"] = group["lr"] * group.pop("lr_factor", 1.0)
        self.check(group)

    # ------------------------------------------------------------------ what a subclass writes

    def check(self, group: Group) -> None:
        """Raise RequestError if an option of the group is out of its range."""
        for name in ("lr", "weight_decay", "eps"):
            require_option(group, name, lambda value: value >= 0, ">= 0")
        # lr_factor is already applied
        require_option(group, "lr", lambda value: value <= LARGEST_NUMBER, f"<= {LARGEST_NUMBER:g} with its factors")

    def begin(self, parameter: Tensor, group: Group) -> State:
        """The state of a parameter before its first step."""
        return {}

    def update(self, parameter: Tensor, gradient: Tensor, state: State, group: Group) -> None:
        """One step of one parameter, in place, or of a `Many` whose parameters have the same state entries."""
        raise NotImplementedError

    def fused(self, parameters: list[Tensor], gradients: list[Tensor], states: list[State], group: Group) -> None:
        """One step of all parameters of a group by torch's kernel, which takes `found_inf`."""
        raise NotImplementedError

    # ------------------------------------------------------------------ the loop

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Update every parameter that has a gradient. Returns the value of the closure, if given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if (scale := getattr(self, "grad_scale", None)) is not None:
            for group in self.param_groups:
                gradients = [parameter.grad for parameter in group["params"] if parameter.grad is not None]
                torch._foreach_div_(gradients, scale)
        if self.found_inf is not None and self.found_inf.device.type == "cpu":
            if self.found_inf.item():
                return loss
            self.found_inf = None
        stateless = type(self).begin is Optimizer.begin
        for group in self.param_groups:
            try:
                self._step(group, stateless)
            except RuntimeError as error:
                if "without overflow" not in str(error):
                    raise
                raise DlkitError(
                    f"a step of {type(self).__name__} at a learning rate of {group['lr']:g} is beyond any number",
                    "lower optimizer.lr",
                ) from error
        return loss

    def _step(self, group: Group, stateless: bool) -> None:
        """Update the parameters of a group."""
        parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
        if not parameters:
            return
        gradients = [parameter.grad for parameter in parameters]
        if stateless:
            states: list[State] = [{}] * len(parameters)
        else:
            states = [self.state[parameter] or self._begin(parameter, group) for parameter in parameters]
        if is_divided(parameters[0]):
            self.advance_divided(parameters, gradients, states, group)
        else:
            self.advance(parameters, gradients, states, group)

    def advance_divided(
        self, parameters: list[Tensor], gradients: list[Tensor], states: list[State], group: Group
    ) -> None:
        """One step of parameters that are sharded over ranks. An elementwise rule updates this rank's shards."""
        parts = [{name: local_part(value) for name, value in state.items()} for state in states]
        self.advance([*map(local_part, parameters)], [*map(local_part, gradients)], parts, group)

    def advance(self, parameters: list[Tensor], gradients: list[Tensor], states: list[State], group: Group) -> None:
        """One step of parameters of a group, by the fastest implementation that supports them."""
        if self._can_fuse(parameters, gradients, group):
            self.fused(parameters, gradients, states, group)
            return
        if self.found_inf is not None and self.found_inf.item():  # synchronizes; only fused kernels skip on the device
            return
        for layout, dtype in {(gradient.layout, gradient.dtype) for gradient in gradients}:
            if layout is not torch.strided or dtype.is_complex:
                kind = "complex" if layout is torch.strided else "sparse"
                raise DlkitError(f"{type(self).__name__} does not take {kind} gradients", "use dense real ones")
        if self._can_go_at_once(parameters, group):
            self.at_once(parameters, gradients, states, group)
            return
        self.one_by_one(parameters, gradients, states, group)

    def one_by_one(self, parameters: list[Tensor], gradients: list[Tensor], states: list[State], group: Group) -> None:
        """Apply the rule to one parameter at a time."""
        for parameter, gradient, state in zip(parameters, gradients, states, strict=True):
            self.update(parameter, -gradient if group["maximize"] else gradient, state, group)

    def at_once(self, parameters: list[Tensor], gradients: list[Tensor], states: list[State], group: Group) -> None:
        """Apply the rule to all parameters that have taken the same number of steps at once."""
        first: Tensor | None = states[0].get("step")
        ages = [state["step"].item() for state in states] if first is not None and first.is_cpu else [0.0] * len(states)
        for age in dict.fromkeys(ages):
            alike = [index for index, other in enumerate(ages) if other == age]
            thetas, own_gradients, own_states = chosen(alike, parameters, gradients, states)
            gradient = many(own_gradients)
            state = {name: many([own[name] for own in own_states]) for name in own_states[0]}
            self.update(many(thetas), -gradient if group["maximize"] else gradient, state, group)

    def state_bytes(self) -> int:
        """The memory that the state of all parameters takes, without allocating it."""
        total = 0
        with torch.device("meta"):
            for group in self.param_groups:
                for parameter in group["params"]:
                    held = self.begin(torch.empty_like(parameter, device="meta"), group).values()
                    total += sum(value.numel() * value.element_size() for value in held)
        return total

    def _begin(self, parameter: Tensor, group: Group) -> State:
        state = self.state[parameter] = self.begin(parameter, group)
        return state

    def _can_fuse(self, parameters: list[Tensor], gradients: list[Tensor], group: Group) -> bool:
        """Whether the kernel supports these tensors (it ignores strides, so their layouts must agree) and options."""
        if any(is_vector(value) for value in group.values()):
            return False
        first = parameters[0]
        device, dtype = first.device, first.dtype
        if device.type not in self.fused_devices or not dtype.is_floating_point:
            return False
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if (
                parameter.dtype is not dtype
                or gradient.dtype is not dtype
                or parameter.device != device
                or gradient.layout is not torch.strided
            ):
                return False
            if parameter.is_contiguous() and gradient.is_contiguous():
                continue  # checked first: nearly all are, and comparing strides takes longer
            if gradient.stride() != parameter.stride() or not is_dense(parameter):
                return False
        return True

    def _can_go_at_once(self, parameters: list[Tensor], group: Group) -> bool:
        """Whether the rule may update these parameters at once: all on one such device, no option a tensor."""
        device = parameters[0].device
        if device.type not in self.foreach_devices or any(is_vector(value) for value in group.values()):
            return False
        return all(parameter.device == device for parameter in parameters)

    def count(self, states: list[State]) -> list[Tensor]:
        """Increment the step counts unless the step is skipped; returns them."""
        steps = [state["step"] for state in states]
        if self.found_inf is None:
            torch._foreach_add_(steps, 1)
        else:
            torch._foreach_add_(steps, 1 - self.found_inf, alpha=1)  # alpha selects the overload that takes a tensor
        return steps

    def new_step(self, parameter: Tensor, group: Group, value: float = 0.0) -> Tensor:
        """A step count, float32. As in torch, it is on the parameter's device for a fused kernel or if options are
        tensors, as for a CUDA graph, and else on the host."""
        there = parameter.device.type in self.fused_devices or any(map(_tensors, group.values()))
        return torch.full((), value, dtype=torch.float32, device=parameter.device if there else "cpu")

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the state of this optimizer or of torch's; each tensor gets its parameter's layout and device."""
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            for name, value in self.defaults.items():  # options that torch's optimizer does not have
                group.setdefault(name, value)
            self.check(group)
            for parameter in group["params"]:
                for name, value in self.state.get(parameter, {}).items():
                    if name == "step":
                        self.state[parameter][name] = self.new_step(parameter, group, float(value))
                    elif is_divided(parameter) and not is_divided(value):
                        self.state[parameter][name] = divided_like(value, parameter)
                    elif isinstance(value, Tensor) and value.stride() != parameter.stride():
                        self.state[parameter][name] = torch.empty_like(parameter).copy_(value)


def chosen(
    indices: list[int], parameters: list[Tensor], gradients: list[Tensor], states: list[State]
) -> tuple[list[Tensor], list[Tensor], list[State]]:
    """The parameters with these indices, with their gradients and states."""
    return [parameters[i] for i in indices], [gradients[i] for i in indices], [states[i] for i in indices]


def step_number(state: State, parameter: Tensor) -> Number:
    """Increment and return the step count, in float64 if the device has it, without a host sync."""
    state["step"] += 1
    step: Tensor | Many = state["step"]
    if not isinstance(step, Many):
        return step.to(torch.float32 if parameter.device.type == "mps" else torch.float64)
    on_host = step.tensors[0].device.type == "cpu"  # where all tensors have the same step count
    return step.tensors[0].item() if on_host else many([each.double() for each in step.tensors])


def decayed(parameter: Tensor, gradient: Tensor, weight_decay: Number) -> Tensor:
    """The gradient of the loss plus lambda/2 ||theta||^2."""
    if isinstance(weight_decay, Tensor):
        return gradient + weight_decay * parameter
    # g <- g + lambda theta
    return gradient.add(parameter, alpha=weight_decay) if weight_decay else gradient


def require_option(group: Group, name: str, holds: Callable[[Any], bool], wanted: str) -> None:
    """Raise RequestError unless the option, if set, is finite and satisfies `holds`."""
    value: Any = group.get(name)
    parts: Any = value if isinstance(value, (tuple, list)) else (value,)
    values = [x for part in parts for x in (part.flatten().tolist() if isinstance(part, Tensor) else [part])]
    if value is not None and not all(math.isfinite(number) and holds(number) for number in values):
        raise RequestError(f"optimizer option {name} must be {wanted}, got {value}")


def given(value: Number) -> bool:
    """Whether a hyper-parameter is not 0, for at least one model of a stack."""
    return bool(value.any()) if isinstance(value, Tensor) else bool(value)


def is_vector(option: Any) -> bool:
    """Whether a hyper-parameter, or one of a pair, has a separate value for each model of a stack."""
    return any(tensor.dim() > 0 for tensor in _tensors(option))


def _tensors(option: Any) -> list[Tensor]:
    parts: Any = option if isinstance(option, tuple) else (option,)
    return [part for part in parts if isinstance(part, Tensor)]
