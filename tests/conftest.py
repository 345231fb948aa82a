"""Settings of every test: one thread a process, so that suites beside each other do not starve their thread pools."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.pop("DLKIT_DEBUG", None)
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")  # however busy the machine is
if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
    # a suite under nohup, or in the background of a shell, tests what happens without these
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def small_numbers_again() -> Iterator[None]:
    """Training in this process sets the processor's own flush-to-zero mode, which every later test would inherit.

    So it does with deterministic kernels, where train.deterministic asks for them.
    """
    yield
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_flush_denormal(False)
        torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The command line of a dlkit that starts at once: arguments of dlkit go behind it."""
    script, path = Path(__file__).with_name("warm_program.py"), tmp_path_factory.mktemp("warm") / "socket"
    environment = {**os.environ, "PYTHONPATH": str(script.parents[1])}
    arguments = [sys.executable, str(script), "serve", str(path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield [sys.executable, "-S", "-E", str(script), "run", str(path)]
        server.kill()


@pytest.fixture
def uncut(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """uncut() checks that nothing reaches beyond the edges of the figures saved so far, and says how many there are."""
    from matplotlib.figure import Figure

    saved: list[Figure] = []
    save = Figure.savefig

    def noted(figure: Figure, *arguments: Any, **options: Any) -> None:
        save(figure, *arguments, **options)
        saved.append(figure)

    def check() -> int:
        for figure in saved:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
                box = figure.get_tightbbox()
            width, height = figure.get_size_inches()
            assert box.x0 > -0.03 and box.y0 > -0.03, box
            assert box.x1 < width + 0.03 and box.y1 < height + 0.03, (box, width, height)
        return len(saved)

    monkeypatch.setattr(Figure, "savefig", noted)
    return check


@pytest.fixture
def place() -> Iterator[int]:
    """A port at which the processes of a job can meet: torch's own store listens there."""
    from torch.distributed import TCPStore

    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    yield store.port


@pytest.fixture
def rank(monkeypatch: pytest.MonkeyPatch, place: int, tmp_path: Path) -> Callable[..., None]:
    """rank(1) makes this process number 1 of a job of two; more of its variables may be given."""

    def become(number: int, **more: str) -> None:
        own = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": place}
        texts = {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "job", "TORCHELASTIC_USE_AGENT_STORE": "True"}
        error_file = {"TORCHELASTIC_ERROR_FILE": str(tmp_path / f"error-{number}.json")}
        for name, value in {**own, **texts, **error_file, **more}.items():
            monkeypatch.setenv(name, str(value))

    return become


class Killed(BaseException):
    """Ends a command where it is."""


_CHANGES = ("fsync", "mkdir", "rename", "replace", "rmdir", "symlink", "truncate", "unlink")


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], object]], bool]:
    """killed(n, command) calls it and ends it behind n changes on the disk by this thread: whether it had not ended."""
    here = threading.current_thread()

    def watched(original: Callable[..., Any], left: Iterator[int]) -> Callable[..., Any]:
        def change(*arguments: Any, **options: Any) -> Any:
            if threading.current_thread() is here and next(left, None) is None:
                raise Killed
            return original(*arguments, **options)

        return change

    def call(changes: int, command: Callable[[], object]) -> bool:
        left = iter(range(changes))
        with monkeypatch.context() as patch:
            for name in _CHANGES:
                patch.setattr(os, name, watched(getattr(os, name), left))
            try:
                command()
            except Killed:
                return True
        return False

    return call
