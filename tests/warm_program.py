"""dlkit with its libraries in memory: every command runs in a fork, a process of its own without the time to start.

    python warm_program.py serve SOCKET           import, say "ready", and fork for every command that comes
    python warm_program.py run SOCKET ARGUMENTS   run one, with this process's streams, folder and environment

Tests of many commands, in a shell with pipes, use it; tests of how dlkit starts use the program itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys

CALL = 1 << 20  # the most bytes of arguments, folder and environment


def serve(path: str) -> None:
    """Answer until killed. Nothing is computed here: threads that a library had started would not survive a fork."""
    import matplotlib.figure  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import scipy.stats  # noqa: F401
    import sklearn.datasets  # noqa: F401
    import torchvision  # noqa: F401

    import dlkit.assemble
    import dlkit.cli.app
    import dlkit.tasks.array_data
    import dlkit.tasks.corpus_data
    import dlkit.tasks.labelled_text_data  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who answered is not waited for
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(64)
    print("ready", flush=True)  # noqa: T201
    while True:
        connection, _ = server.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            server.close()
            answer(connection)
            os._exit(0)
        connection.close()


def answer(connection: socket.socket) -> None:
    """Run one command in a process of its own, and send its exit code."""
    message, descriptors, *_ = socket.recv_fds(connection, CALL, 3)
    child = os.fork()
    if child == 0:
        connection.close()
        for place, descriptor in enumerate(descriptors):
            os.dup2(descriptor, place)
            os.close(descriptor)
        os._exit(command(**json.loads(message)))
    for descriptor in descriptors:
        os.close(descriptor)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    connection.sendall(str(code if code >= 0 else 128 - code).encode())


def command(arguments: list[str], folder: str, environment: dict[str, str]) -> int:
    """What `python -m dlkit ARGUMENTS` does. Returns the exit code."""
    from dlkit.cli.app import run

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["dlkit", *arguments]
    sys.stdin, sys.stdout, sys.stderr = (open(place, mode) for place, mode in ((0, "r"), (1, "w"), (2, "w")))  # noqa: PTH123, SIM115
    sys.stderr.reconfigure(line_buffering=True, errors="backslashreplace")
    try:
        return run(arguments)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()


def call(path: str, arguments: list[str]) -> int:
    """Have a command run with the streams, the folder and the environment of this process."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    message = json.dumps({"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)})  # noqa: PTH109
    socket.send_fds(connection, [message.encode()], [0, 1, 2])
    for place in (0, 1, 2):  # a pipe must end when the command ends, and break when its reader is gone
        os.close(place)
    return int(connection.recv(16) or b"1")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    os._exit(call(sys.argv[2], sys.argv[3:]))
