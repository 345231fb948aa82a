"""The application: its commands, and the message and exit code of every way in which one can end."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
import shlex
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from dlkit import __version__, guarded_import, memory, user_code
from dlkit.cli import console, job, signals
from dlkit.cli.lazy import LazyCommands, lazy_group
from dlkit.cli.options import with_optional_values
from dlkit.errors import DlkitError, RequestError

SIGPIPE_CODE = 141
_NOT_DETERMINISTIC = re.compile(r"(.+) does not have a deterministic implementation")  # in torch's words
_LESS = "use a smaller data.batch_size or model, or raise the limit (ulimit -v) if there is one"
_FOLDERS = ("--run-dir", "--out", "--data-dir")

# The first sentence of each command's help, for the list of them, which then imports none.
SUMMARIES = {
    "download": "Download data sets, and repositories of the Hugging Face Hub: resumed, verified, prepared.",
    "train": "Train from a recipe.",
    "eval": "Evaluate a run: loss, accuracy, calibration, classes.",
    "predict": "Label new images, texts or rows with a trained model.",
    "compare-optimizers": "Race optimizers over learning rates and seeds.",
    "inspect-attention": "Measure what each head attends to, and show it.",
    "entropy": "Measure entropy, KL divergence and codes.",
    "generate": "Sample text from a GPT, as it comes on a terminal.",
    "compress": "Compress a file with a language model, without loss.",
    "decompress": "Decompress what `dlkit compress` wrote.",
    "import": "Make a run of a model that others trained, without training.",
    "data": "Show the data of a recipe as a model will see it.",
    "components": "List tasks, data, models, optimizers and the rest, with their options.",
    "runs": "List, compare, draw and prune runs.",
    "export": "Write a model for programs that have no dlkit.",
    "doctor": "Say what this machine can do, and try it.",
    "review": "Run the claims of the deep learning review, and judge them.",
    "recipes": "List, show, copy and check recipes.",
}
COMMANDS = LazyCommands(
    {
        "download": "dlkit.cli.download.command:download_command",
        "train": "dlkit.cli.train.command:train_command",
        "eval": "dlkit.cli.eval.command:eval_command",
        "predict": "dlkit.cli.predict.command:predict_command",
        "compare-optimizers": "dlkit.cli.compare_optimizers.command:compare_optimizers_command",
        "inspect-attention": "dlkit.cli.inspect_attention.command:inspect_attention_command",
        "entropy": "dlkit.cli.entropy.command:entropy_command",
        "generate": "dlkit.cli.generate:generate_command",
        "compress": "dlkit.cli.compress:compress_command",
        "decompress": "dlkit.cli.decompress:decompress_command",
        "import": "dlkit.cli.import_model:import_command",
        "data": "dlkit.cli.data.command:data_command",
        "components": "dlkit.cli.components:components_command",
        "runs": "dlkit.cli.runs.command:app",
        "export": "dlkit.cli.export:export_command",
        "doctor": "dlkit.cli.doctor.command:doctor_command",
        "review": "dlkit.cli.review.command:app",
        "recipes": "dlkit.cli.recipes:app",
    },
    bare=frozenset(["entropy", "doctor", "components"]),
)
app = typer.Typer(
    name="dlkit",
    cls=lazy_group(COMMANDS, SUMMARIES),
    help="Deep learning from the shell: train, evaluate and look inside models.",
    epilog="Try `dlkit train digits-resnet20`. Results go to stdout: a table on a terminal, JSON Lines in a pipe.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: it appears at once, and can be piped
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"dlkit {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(  # pyright: ignore[reportUnusedFunction]
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks and warnings (or set DLKIT_DEBUG=1).")
    ] = False,
) -> None:
    pass


def run(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code. The only place where an exception becomes a message."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115, PTH123
    if isinstance(getattr(sys.stdout, "buffer", None), io.RawIOBase):  # PYTHONUNBUFFERED
        # such a stream silently drops what the system does not take in one piece
        raw = io.FileIO(sys.stdout.fileno(), "w", closefd=False)
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(raw), encoding=sys.stdout.encoding, line_buffering=True)
    stdout: Any = sys.stdout
    with contextlib.suppress(AttributeError):  # a stand-in
        stdout.reconfigure(errors="backslashreplace")
    debug = "--debug" in arguments or os.environ.get("DLKIT_DEBUG", "") not in ("", "0")
    if not debug:
        warnings.simplefilter("ignore")
    guarded_import.guard_large_imports()
    user_code.set_trust(False)
    stopping = signals.Unwinding()
    try:
        with signals.unwinding() as stopping:
            code = _run([argument for argument in arguments if argument != "--debug"], debug, stopping)
            sys.stdout.flush()
    except BrokenPipeError:
        code = SIGPIPE_CODE
    except Exception as error:  # what a library raised, or the last flush
        if debug:
            raise
        blamed = job.lost_process(error) or user_code.blamed(error)
        error.__traceback__ = None  # whose frames hold what took the memory
        if stopping.signal is not None:
            console.drop_output()
            return 128 + stopping.signal
        try:
            failure = blamed or _unexpected(error)
            job.report_once(failure)
            code = failure.exit_code
        except MemoryError:
            os.write(2, f"error: out of memory\nhint: {_LESS}\n".encode())
            code = 1
    else:
        return code
    console.drop_output()
    return code


def _refuse_empty_folders(arguments: Sequence[str]) -> None:
    """Raise RequestError for `--out ""`, which a shell makes of an unset variable, and a Path of the current folder."""
    given = [*itertools.pairwise(arguments), *(argument.split("=", 1) for argument in arguments)]
    for option, *value in given:
        if option in _FOLDERS and value == [""]:
            raise RequestError(f"{option} is empty", f"is a variable of the shell unset? {option} . is this folder")


def _run(arguments: list[str], debug: bool, stopping: signals.Unwinding) -> int:
    try:
        if job.stands_aside(arguments):
            return 0
        _refuse_empty_folders(arguments)
        arguments = with_optional_values(arguments)
        result = app(arguments, prog_name="dlkit", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except DlkitError as error:
        if debug:
            raise
        if stopping.signal is not None:  # an error that follows from the stop is no failure of the work
            return 128 + stopping.signal
        if error.override is not None:
            error.hint = f"{error.hint}: {_command_with(error.override, arguments)}"
        job.report_once(error)
        return error.exit_code
    except typer.TyperException as error:
        return _usage(error, arguments)
    except KeyboardInterrupt:
        return 130
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # typer's own answer to it is an exit code of 1
            raise error.__context__ from None
        raise


def _command_with(override: str, arguments: Sequence[str]) -> str:
    """The command as it was given, with its value of one key replaced, to be pasted into a shell."""
    key = override.partition("=")[0]
    kept = [argument for argument in arguments if not argument.startswith(f"{key}=") and argument != f"~{key}"]
    return shlex.join(["dlkit", *kept, override])


# What is wrong with a value, in the words of pydantic, which typer asks, and in those of dlkit.
_WORDS = {
    "Input should be a valid integer, unable to parse string as an integer": "must be a whole number",
    "Input should be a valid integer, got a number with a fractional part": "must be a whole number",
    "Input should be a valid number, unable to parse string as a number": "must be a number",
    "Input should be greater than or equal to": "must be at least",
    "Input should be less than or equal to": "must be at most",
    "Input should be greater than": "must be above",
    "Input should be less than": "must be below",
    "Input should be": "must be",
    "Value error, ": "",
}


def _in_words(text: str, options: Sequence[str], arguments: list[str]) -> str:
    """What is wrong with an option's value, and the value as it was given."""
    for theirs, ours in _WORDS.items():
        text = text.replace(theirs, ours)
    given = [value for option, value in itertools.pairwise(arguments) if option in options]
    given += [value for option, _, value in (a.partition("=") for a in arguments) if value and option in options]
    return f"{text}, got {given[-1]}" if given and repr(given[-1]) not in text else text


def _usage(error: typer.TyperException, arguments: list[str]) -> int:
    """A usage error in dlkit's own form."""
    text: str = getattr(error, "format_message", lambda: "aborted")()
    if text.startswith("Usage: "):  # no arguments at all: the message is the help
        console.write_stderr(text)
        return 2
    if text.startswith("Invalid value for "):
        text = _in_words(text.rstrip("."), getattr(getattr(error, "param", None), "opts", ()), arguments)
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "dlkit"
    job.report_once(RequestError(text.replace("\n", " ").rstrip("."), f"`{command} --help` shows the usage"))
    return int(getattr(error, "exit_code", 2))


def _unexpected(error: Exception) -> DlkitError:
    kind, text = type(error).__name__, str(error).strip().split("\n")[0]
    if memory.is_out_of_memory(error):
        return DlkitError(f"out of memory{memory.allocation_remark(text) or f': {text or kind}'}", _LESS)
    if (
        isinstance(error, ModuleNotFoundError)
        and (package := guarded_import.package_to_install(error.name)) is not None
    ):
        return RequestError(f"this needs {package}, which is not installed", f"pip install {package}")
    if isinstance(error, RuntimeError) and (operation := _NOT_DETERMINISTIC.search(text)) is not None:
        return RequestError(
            f"train.deterministic is true, and torch has no deterministic kernel for {operation[1]} on this device",
            "set train.deterministic=false, or use --device cpu",
        )
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return DlkitError(f"{where}{error.strerror or error}", console.CHECK_PATH)
    return DlkitError(f"internal error: {kind}: {text}", "run it again with --debug and report the traceback")
