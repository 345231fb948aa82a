"""What Windows lacks is not needed: every module loads and a run trains where calls of POSIX systems do not exist.

Simulated: in a fresh process, code of dlkit (and no other) sees `os` and `signal` without the names that the typeshed's
stubs keep from Windows, finds no modules of POSIX systems, and may not open a folder. It is no proof: paths, consoles
and processes remain those of this machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SIMULATION = '''
import builtins, importlib, os, pkgutil, signal, sys, types

POSIX_MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"}
WITHOUT = {
    "os": """O_ASYNC O_CLOEXEC O_DIRECTORY O_DIRECT O_NOFOLLOW O_NONBLOCK P_PID WEXITED WNOHANG WNOWAIT chown fchdir
        fchmod fchown fork forkpty getegid geteuid getgid getloadavg getpgid getuid killpg mkfifo mknod nice openpty
        posix_fadvise posix_fallocate posix_spawn pread pwrite register_at_fork sched_getaffinity sendfile setsid
        statvfs sysconf uname wait wait4 waitid""".split(),
    "signal": """SIGALRM SIGCHLD SIGHUP SIGKILL SIGPIPE SIGQUIT SIGUSR1 SIGUSR2 SIG_BLOCK SIG_SETMASK SIG_UNBLOCK alarm
        pause pthread_sigmask setitimer sigpending sigtimedwait sigwait sigwaitinfo""".split(),
}


def from_dlkit(depth):
    return str(sys._getframe(depth).f_globals.get("__name__")).partition(".")[0] == "dlkit"


def open_file(path, flags, mode=0o777, *, dir_fd=None):
    if from_dlkit(2) and os.path.isdir(path):
        raise PermissionError(13, "Permission denied", str(path))
    return opened(path, flags, mode, dir_fd=dir_fd)


class Windows(types.ModuleType):
    def __getattribute__(self, name):
        module = object.__getattribute__(self, "__dict__")["__name__"]
        if name in WITHOUT[module] and from_dlkit(2):
            raise AttributeError(f"module {module!r} has no attribute {name!r} on Windows")
        if (module, name) == ("os", "name") and from_dlkit(2):
            return "nt"
        return object.__getattribute__(self, name)


def import_module(name, globals=None, locals=None, fromlist=(), level=0):
    if name in POSIX_MODULES and str((globals or {}).get("__name__")).partition(".")[0] == "dlkit":
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return imported(name, globals, locals, fromlist, level)


imported, opened = builtins.__import__, os.open
builtins.__import__, os.open = import_module, open_file
os.__class__ = signal.__class__ = Windows

import dlkit
assert not eval('hasattr(signal, "SIGCHLD")', {"signal": signal, "__name__": "dlkit.probe"})  # the stage is set
assert hasattr(signal, "SIGCHLD")
for module in pkgutil.walk_packages(dlkit.__path__, "dlkit."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)

from dlkit.data.images.decoding_workers import loaded_batches
from torch.utils.data import DataLoader

assert [batch.tolist() for batch in loaded_batches(DataLoader(range(4), 2, num_workers=1))] == [[0, 1], [2, 3]]
from dlkit.__main__ import main

sys.argv = ["dlkit", "train", "digits-mlp", "train.epochs=1", "--run-dir", sys.argv[1], "--device", "cpu", "-q"]
main()
'''


@pytest.mark.skipif(sys.platform == "win32", reason="there it is no simulation")
def test_nothing_needs_a_posix_system(tmp_path: Path) -> None:
    # from another folder, as users do
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", SIMULATION, str(tmp_path / "run")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "checkpoints" / "last").exists()
