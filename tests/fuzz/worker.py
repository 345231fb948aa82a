"""Run cases, each in a process of its own that is forked from this one, where everything slow is imported already.

`python tests/fuzz/worker.py SUBJECTS KIND SEED FIRST LAST ...` prints a JSON line for each case that fails, and one at
the end of each such job. With one number alone it runs that case and shows all of it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import hashlib
import json
import os
import resource
import shlex
import shutil
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
from oracle import Ended, complaints, parse  # noqa: E402
from session import end_session, worked_seconds  # noqa: E402

MEMORY = 3 << 30  # bytes that a case may take beyond what its parent has
LITTLE = 48 << 20  # and where there is little memory
# Seconds until it is asked to end, and until it is killed: of the processor, or three times as many of the clock.
PATIENCE, GRACE = 20.0, 10.0


def load() -> None:
    """Import what commands would: a forked case then begins at once."""
    import torch
    import torchvision.transforms.v2  # noqa: F401

    import dlkit.assemble
    import dlkit.cli.app
    import dlkit.compression.language_codec
    import dlkit.tasks.array_data
    import dlkit.tasks.corpus_data
    import dlkit.tasks.labelled_text_data  # noqa: F401

    torch.set_num_threads(1)


def offline(*_: Any) -> Any:
    raise OSError("Network is unreachable")


def inside(case: Case, folder: Path, streams: list[Path], temporary: Path) -> None:
    """The child: run the command with its streams in files, and end with its exit code."""
    os.chdir(folder)
    for number, path in enumerate(streams):
        os.dup2(os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT), number)
    if case.environment == "full":
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
    if case.environment == "pipe":
        reading, writing = os.pipe()
        os.close(reading)
        os.dup2(writing, 1)
    encoding = "ascii" if case.environment == "ascii" else "utf-8"
    sys.stdin = open(0, encoding=encoding, errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding=encoding, errors="backslashreplace", closefd=False)  # noqa: SIM115
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if case.environment == f"no {name}":
            setattr(sys, name, None)
            os.close(number)
    if case.environment == "terminal":
        sys.stdin.isatty = sys.stdout.isatty = sys.stderr.isatty = lambda: True  # type: ignore[method-assign]
    if case.environment in ("narrow", "terminal"):
        os.environ["COLUMNS"] = "20"
    os.environ["DLKIT_DATA"] = str(folder / "data")
    os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
    socket.socket.connect = offline  # type: ignore[method-assign]
    socket.getaddrinfo = offline
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    memory = taken + (LITTLE if case.environment == "little memory" else MEMORY)
    written = 2000 if case.environment == "small files" else 1 << 30
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (written, written))
    if sys.stderr is not None:
        faulthandler.enable()
    from dlkit.cli.app import run

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


def state(folder: Path) -> dict[Path, tuple[int, ...]]:
    """Each path below a folder, with what changes when it is written."""
    found: dict[Path, tuple[int, ...]] = {}
    for path in folder.rglob("*"):
        about = path.lstat()
        whole = not path.is_dir() or path.is_symlink()
        found[path.relative_to(folder)] = (about.st_mode, about.st_size, about.st_mtime_ns) if whole else ()
    return found


def execute(case: Case, folder: Path, scratch: Path) -> Ended:
    """Run a case in its folder."""
    streams = [scratch / name for name in ("stdin", "stdout", "stderr")]
    for path, data in zip(streams, (case.stdin, b"", b""), strict=True):
        path.write_bytes(data)
    temporary = scratch / "temporary"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    before = state(folder)
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        os.setsid()
        inside(case, folder, streams, temporary)
    code, worked = _await(child, PATIENCE)
    terminated = code is None
    if terminated:  # long work is no fault, if it stops when it is told to
        os.kill(child, signal.SIGTERM)
        code, worked = _await(child, GRACE)
    seconds = time.monotonic() - began
    if code is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    orphans = end_session(child)
    after = state(folder)
    made = sorted(path for path in after.keys() - before.keys() if path.parts[0] != "data")
    touched = sorted(path for path in before if before[path] != after.get(path) and path.parts[0] != "data")
    out, err = streams[1].read_bytes().replace(bytes(folder), b"."), streams[2].read_bytes()
    return Ended(
        code, out, err.decode("utf-8", "replace"), seconds, worked, terminated, case.environment, made, touched,
        _no_json(folder, made, terminated), _hashes(folder, made), [path.name for path in temporary.iterdir()], orphans,
    )  # fmt: skip


def _no_json(folder: Path, made: list[Path], terminated: bool) -> list[str]:
    """Files that a command has written as JSON, and that are none."""
    wrong: list[str] = []
    for path in made:
        if path.suffix not in (".json", ".jsonl") or not (folder / path).is_file() or terminated:
            continue
        data = (folder / path).read_bytes()
        try:
            _ = [parse(part) for part in ([data.decode()] if path.suffix == ".json" else data.decode().splitlines())]
        except ValueError as error:
            wrong.append(f"{path} is no JSON: {error}")
    return wrong


def _hashes(folder: Path, made: list[Path]) -> dict[str, str]:
    files = (path for path in made if (folder / path).is_file())
    return {str(path): hashlib.sha256((folder / path).read_bytes()).hexdigest() for path in files}


def _await(child: int, patience: float) -> tuple[int | None, float]:
    """The exit code, or None where it takes too long; and the processor's seconds until then."""
    began, worked = time.monotonic(), worked_seconds(child)
    most, next_look = worked + patience, began
    while (now := time.monotonic()) < began + 3 * patience and worked < most:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), worked
        time.sleep(0.005)
        if now >= next_look:  # which takes long beside the sleep
            worked, next_look = worked_seconds(child), now + 0.1
    return None, worked_seconds(child)


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
                cases.copy(subjects, intact)
                known[line] = execute(case, intact, Path(scratch))
            reference = known[line]
        ended = execute(case, folder, Path(scratch))
        cases.clean(folder)
    wrong = complaints(ended, case.arguments, reference)
    if show:
        said = f"{ended.out[:3000].decode('utf-8', 'replace')}{ended.err[:3000]}"
        print(f"{case.note}\nenvironment: {case.environment}\n$ dlkit {shlex.join(case.arguments)}\n{said}")
        print(f"exit code {ended.code} after {ended.seconds:.1f} s")
    if not wrong:
        return {"code": ended.code, "seconds": ended.seconds}
    again = f"python tests/fuzz/worker.py {subjects} {kind} {seed} {number}"
    lines = [line for line in ended.err.split("\n") if line][-3:]
    return {"wrong": wrong, "command": f"dlkit {shlex.join(case.arguments)}"[:600], "about": case.note[:400],
            "environment": case.environment, "stderr": lines, "again": again, "code": ended.code,
            "seconds": ended.seconds}  # fmt: skip


def main(subjects: str, *jobs: str) -> None:
    load()
    if len(jobs) == 3:
        judge(jobs[0], int(jobs[1]), int(jobs[2]), Path(subjects).resolve(), {}, show=True)
    known: dict[str, Ended] = {}
    for kind, seed, first, last in zip(*(jobs[i::4] for i in range(4)), strict=False):
        codes: dict[str, int] = {}
        for number in range(int(first), int(last)):
            result = judge(kind, int(seed), number, Path(subjects).resolve(), known)
            codes[str(result["code"])] = codes.get(str(result["code"]), 0) + 1
            if "wrong" in result:
                # what hangs on chance, as on where memory ends, is shown; what comes again is a failure
                if "wrong" not in judge(kind, int(seed), number, Path(subjects).resolve(), known):
                    result["once"] = result.pop("wrong")
                print(json.dumps({"kind": kind, "seed": int(seed), **result}), flush=True)
        print(json.dumps({"kind": kind, "seed": int(seed), "codes": codes}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
