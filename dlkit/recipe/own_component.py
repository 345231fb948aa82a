"""A component of the user's own: what dlkit asks of it, and the keys that its signature gives a recipe."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from dlkit import user_code
from dlkit.catalog import TASKS, find_entry, import_object
from dlkit.contracts import CONTRACTS, Contract
from dlkit.errors import DlkitError, RequestError

Schema = dict[str, Any]


def contract_of(kind: str, task: str) -> Contract:
    """What a component of the user's own must be, in a recipe for a task."""
    return CONTRACTS[TASKS[task].contracts.get(kind, kind) if task in TASKS else kind]


def require_kind(kind: str, reference: str, task: str = "") -> Any:
    """The object that a reference names. Raises RequestError unless it is what the contract of its kind asks for."""
    contract = contract_of(kind, task)
    found = user_code.load_object(reference)
    path, name = user_code.split_reference(reference)
    hint = f"the contract: {contract.call}"
    if contract.base:
        base = import_object(contract.base)
        if not (inspect.isclass(found) and issubclass(found, base)):
            what = "a class" if inspect.isclass(found) else f"a {type(found).__name__}"
            raise RequestError(f"{path}: {name} is {what}, not a subclass of {contract.base.replace(':', '.')}", hint)
    elif inspect.isclass(found) or not callable(found):
        what = "a class" if inspect.isclass(found) else f"a {type(found).__name__}"
        raise RequestError(f"{path}: {name} is {what}, not a function", hint)
    parameters = inspect.signature(found).parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    open_ended = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if len(positional) < contract.supplied and not open_ended:
        raise RequestError(
            f"{path}: {name} takes {len(positional)} positional arguments, {contract.supplied} come", hint
        )
    loose = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in loose]
    if kind == "activation" and needed:
        raise RequestError(f"{path}: {name} needs {', '.join(needed)}, and an activation is given nothing", hint)
    return found


def calling(section: str, reference: str, task: str, constructor: Callable[..., Any]) -> Callable[..., Any]:
    """The constructor, whose exceptions become errors of one line; what it returns is checked."""
    path, name = user_code.split_reference(reference)
    contract = contract_of(section, task)

    @functools.wraps(constructor)
    def call(*arguments: Any, **keys: Any) -> Any:
        try:
            made = constructor(*arguments, **keys)
        except DlkitError:
            raise
        except Exception as error:
            raise user_code.failure(error, path, f"{name} cannot be made: ") from error
        if contract.returns not in ("", type(made).__name__):
            raise RequestError(f"{path}: {name} returned a {type(made).__name__}", f"the contract: {contract.call}")
        return made

    return call


def own_schema(section: str, reference: str, task: str) -> Schema:
    """The keys of a section that names such a component. Raises RequestError as `require_kind` does."""
    require_kind(section, reference, task)
    from dlkit.recipe.signature import component_schema  # which needs pydantic

    entry = find_entry(section, reference, task)
    definition = component_schema(entry.target, entry.help, *entry.also, supplied=contract_of(section, task).supplied)
    definition["properties"] = {"name": {"const": reference}, **definition["properties"]}
    definition["required"] = ["name", *definition["required"]]
    return definition
