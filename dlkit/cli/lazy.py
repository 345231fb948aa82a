"""A group of commands, each imported when it is asked for: `dlkit train` never reads the code of `dlkit doctor`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup


class LazyCommands(Mapping[str, Any]):
    """Command name -> its command object.

    Args:
        targets: name -> `module:attribute`, a function that becomes a command or a Typer application.
        bare: names of the commands that are of use without any arguments; the others then show their help.
    """

    def __init__(self, targets: Mapping[str, str], bare: frozenset[str] = frozenset()) -> None:
        self.targets, self.bare = targets, bare
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            module, _, attribute = self.targets[name].partition(":")
            self._loaded[name] = self._command(name, getattr(import_module(module), attribute))
        return self._loaded[name]

    def _command(self, name: str, target: Any) -> Any:
        if isinstance(target, typer.Typer):
            group: Any = typer.main.get_command(target)
            group.name = name
            for command in (group, *group.commands.values()):
                _adapt(command)
            return group
        alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        alone.command(name, no_args_is_help=name not in self.bare)(target)
        command = typer.main.get_command(alone)
        _adapt(command)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(self.targets)

    def __len__(self) -> int:
        return len(self.targets)


def _no_type(*, ctx: Any) -> None:
    """An argument's type as the help shows it: not at all."""


class _Conversion:
    """Converts the words given for a parameter to its value: not at all where they are the value, else as Typer does.

    Newer versions of Typer call pydantic even without a value; its import takes as long as the rest of a short command.
    """

    def __init__(self, converter: Callable[[], Any]) -> None:
        self.converter = converter

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        wanted, several = param.type_descriptor.annotation, param.multiple or param.nargs == -1
        if value is None:
            return () if several else None
        if isinstance(wanted, type) and isinstance(value, wanted):
            return value
        if wanted == list[str] and isinstance(value, (tuple, list)):
            return list(cast("Sequence[str]", value))
        return self.converter().coerce(value, param=param, ctx=ctx)


def _adapt(command: Any) -> None:
    """Let the parameters of a newer Typer's command convert only what they must, and hide their types.

    Without it the help says `RECIPE <str>` of an argument. Older Typers have neither method.
    """
    theirs = command.get_params  # the option --help among them, which is made when it is asked for

    def adapted(ctx: Any) -> list[Any]:
        parameters = theirs(ctx)
        for parameter in parameters:
            if parameter.param_type_name == "argument":
                parameter.display_type_rich = _no_type
            if hasattr(parameter, "get_runtime_param") and "get_runtime_param" not in vars(parameter):
                parameter.get_runtime_param = partial(_Conversion, parameter.get_runtime_param)
        return parameters

    command.get_params = adapted


def lazy_group(commands: LazyCommands, summaries: Mapping[str, str]) -> type[TyperGroup]:
    """A class of Typer groups that have these commands, and list them by their summaries without importing them."""

    class LazyGroup(TyperGroup):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            _adapt(self)
            self._hold(commands)

        def _hold(self, held: Any) -> None:
            self.commands = held

        @contextlib.contextmanager
        def _listed(self) -> Generator[None]:
            self._hold({name: TyperCommand(name, help=summary) for name, summary in summaries.items()})
            try:
                yield
            finally:
                self._hold(commands)

        def format_commands(self, ctx: Any, formatter: Any) -> None:
            with self._listed():
                super().format_commands(ctx, formatter)

        def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
            with self._listed():
                return super().shell_complete(ctx, incomplete)

    return LazyGroup


def default_command(name: str) -> type[TyperGroup]:
    """A class of Typer groups in which a command may go without its name: `dlkit runs DIR` is `dlkit runs list DIR`."""

    class DefaultGroup(TyperGroup):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            completes = ctx.resilient_parsing and not args
            if not completes and (not args or args[0] not in (*self.commands, "-h", "--help")):
                args.insert(0, name)
            return super().parse_args(ctx, args)

        def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
            """The commands, and what the one that may go without its name takes."""
            command: Any = self.commands[name]
            unnamed = command.make_context(name, [], parent=ctx, resilient_parsing=True)
            found = super().shell_complete(ctx, incomplete)
            if incomplete.startswith("-"):
                return found + command.shell_complete(unnamed, incomplete)
            arguments = [param for param in command.params if param.param_type_name == "argument"]
            return found + [item for param in arguments for item in param.shell_complete(unnamed, incomplete)]

    return DefaultGroup
