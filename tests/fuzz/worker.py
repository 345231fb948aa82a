"""Run cases, each in a process of its own that is forked from this one, where everything slow is imported already.

`python tests/fuzz/worker.py SUBJECTS KIND SEED FIRST LAST` prints a JSON line for each case that fails and one at the
end. With one number instead of two it runs that case and shows all of it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import resource
import shlex
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

for name, setting in {
    "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1",
}.items():  # fmt: skip
    os.environ[name] = setting
os.environ.pop("DLKIT_DEBUG", None)

import cases  # noqa: E402
from cases import Case  # noqa: E402
from oracle import Ended, complaints  # noqa: E402

MEMORY = 3 << 30  # bytes that a case may take beyond what its parent has
# Seconds until it is asked to end, and until it is killed: of the processor, or three times as many of the clock.
PATIENCE, GRACE = 20.0, 10.0


def load() -> None:
    """Import what commands would: a forked case then begins at once."""
    import torch
    import torchvision.transforms.v2  # noqa: F401

    import dlkit.build
    import dlkit.cli._app
    import dlkit.compression.language  # noqa: F401

    torch.set_num_threads(1)


def offline(*_: Any) -> Any:
    raise OSError("Network is unreachable")


def inside(case: Case, folder: Path, streams: list[Path]) -> None:
    """The child: run the command with its streams in files, and end with its exit code."""
    os.chdir(folder)
    for number, path in enumerate(streams):
        os.dup2(os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT), number)
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.environ["DLKIT_DATA"] = str(folder / "data")
    socket.socket.connect = offline  # type: ignore[method-assign]
    socket.getaddrinfo = offline
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))
    faulthandler.enable()
    from dlkit.cli._app import run

    code = 1
    try:
        code = run(case.arguments)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # what `dlkit` would show
        import traceback

        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def execute(case: Case, folder: Path, scratch: Path) -> Ended:
    """Run a case in its folder."""
    streams = [scratch / name for name in ("stdin", "stdout", "stderr")]
    for path, data in zip(streams, (case.stdin, b"", b""), strict=True):
        path.write_bytes(data)
    before = {path.relative_to(folder) for path in folder.rglob("*")}
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        os.setsid()
        inside(case, folder, streams)
    code = _await(child, PATIENCE)
    if code is None:  # long work is no fault, if it stops when it is told to
        os.kill(child, signal.SIGTERM)
        code = _await(child, GRACE)
    seconds = time.monotonic() - began
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    if code is None:
        os.waitpid(child, 0)
    made = sorted({path.relative_to(folder) for path in folder.rglob("*")} - before)
    texts = [path.read_bytes().decode("utf-8", "replace") for path in streams[1:]]
    return Ended(code, texts[0], texts[1], seconds, [path for path in made if path.parts[0] != "data"])


def _await(child: int, patience: float) -> int | None:
    end, most = time.monotonic() + 3 * patience, _worked(child) + patience
    while time.monotonic() < end and _worked(child) < most:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    return None


def _worked(child: int) -> float:
    """Seconds of the processor that a process has had."""
    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def judge(kind: str, seed: int, number: int, subjects: Path, known: dict[str, Ended], show: bool = False) -> Any:
    """Run one case; what is wrong with it, or None."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch) / "case"
        case = cases.make(kind, seed, number, subjects, folder)
        reference = None
        if case.sealed:
            line = shlex.join(case.arguments)
            if line not in known:
                intact = Path(scratch) / "intact"
                cases.shutil.copytree(subjects, intact, symlinks=True)
                known[line] = execute(case, intact, Path(scratch))
            reference = known[line]
        ended = execute(case, folder, Path(scratch))
        cases.clean(folder)
    wrong = complaints(ended, case.arguments, reference)
    if show:
        print(f"{case.note}\n$ dlkit {shlex.join(case.arguments)}\n{ended.out[:3000]}{ended.err[:3000]}")
        print(f"exit code {ended.code} after {ended.seconds:.1f} s")
    if not wrong:
        return {"code": ended.code, "seconds": ended.seconds}
    again = f"python tests/fuzz/worker.py {subjects} {kind} {seed} {number}"
    lines = [line for line in ended.err.split("\n") if line][-3:]
    return {"wrong": wrong, "command": f"dlkit {shlex.join(case.arguments)}"[:600], "about": case.note[:400],
            "stderr": lines, "again": again, "seconds": ended.seconds}  # fmt: skip


def main(subjects: str, kind: str, seed: str, first: str, last: str = "") -> None:
    load()
    known: dict[str, Ended] = {}
    codes: dict[str, int] = {}
    for number in range(int(first), int(last or int(first) + 1)):
        result = judge(kind, int(seed), number, Path(subjects).resolve(), known, show=not last)
        if "wrong" in result:
            print(json.dumps(result), flush=True)
        codes[str(result.get("code"))] = codes.get(str(result.get("code")), 0) + 1
    print(json.dumps({"done": codes}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
