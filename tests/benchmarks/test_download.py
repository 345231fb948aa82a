"""Throughput of a download on the loopback interface beside curl, and the time and memory that preparing takes."""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlkit.download.remote_files import RemoteFile
from dlkit.download.retries import RetryPolicy, TransferMonitor
from dlkit.download.transfer import fetch_file

SIZE, ROUNDS = 500_000_000, 7
# A server of its own process, so that it takes nothing from the interpreter that is measured.
SERVER = """
import os, socket, sys, threading
path, listener = sys.argv[1], socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
def serve(connection):
    while not b"\\r\\n\\r\\n" in connection.recv(65536): pass
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\nConnection: close\\r\\n\\r\\n" % size)
        connection.sendfile(file)
    connection.close()
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The address of a file of 500 MB, and its sha256."""
    source, digest = tmp_path / "source", hashlib.sha256()
    with source.open("wb") as file:
        for _ in range(SIZE // 10**6):
            block = os.urandom(10**6)
            digest.update(block)
            file.write(block)
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(source)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield f"http://127.0.0.1:{int(process.stdout.readline())}/file", digest.hexdigest()
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.benchmark
def test_throughput_beside_curl(served: tuple[str, str], tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    url, digest = served
    file = RemoteFile("file", "", SIZE, ("sha256", digest), digest, url=url)
    seconds: dict[str, list[float]] = {"dlkit": [], "curl": []}
    for _ in range(ROUNDS):
        shutil.rmtree(tmp_path / "ours", ignore_errors=True)
        (tmp_path / "theirs").unlink(missing_ok=True)
        began = time.perf_counter()
        monitor = TransferMonitor(lambda *_: None, lambda _: None, threading.Event())
        assert fetch_file(file, tmp_path / "ours", None, RetryPolicy(), monitor).sha256 == digest
        middle = time.perf_counter()
        subprocess.run(["curl", "-sS", "-o", tmp_path / "theirs", url], check=True)
        seconds["dlkit"].append(middle - began)
        seconds["curl"].append(time.perf_counter() - middle)
    assert hashlib.sha256((tmp_path / "theirs").read_bytes()).hexdigest() == digest
    ratios = [theirs / ours for ours, theirs in zip(seconds["dlkit"], seconds["curl"], strict=True)]
    print(f"\n500 MB on loopback, {ROUNDS} rounds; dlkit hashes and syncs, curl does neither")
    for name, times in seconds.items():
        print(f"  {name:6} {SIZE / statistics.median(times) / 1e6:6.0f} MB/s (median)")
    low, high = min(ratios), max(ratios)
    print(f"  dlkit's throughput is {statistics.median(ratios):.2f} (from {low:.2f} to {high:.2f}) times that of curl")


@pytest.mark.benchmark
def test_preparing_cifar10(tmp_path: Path) -> None:
    """Needs $DLKIT_MIRROR: a directory in the hub's layout with CIFAR-10."""
    mirror = os.environ.get("DLKIT_MIRROR", "")
    if not (Path(mirror) / "uoft-cs" / "cifar10").is_dir():
        pytest.skip("$DLKIT_MIRROR names no directory with uoft-cs/cifar10")
    environment = {**os.environ, "DLKIT_DATA": str(tmp_path)}
    command = [sys.executable, "-m", "dlkit", "download", "cifar10", "--mirror", mirror, "--force"]
    rows: list[tuple[float, int]] = []
    for _ in range(3):
        began = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        rows.append((time.perf_counter() - began, usage.ru_maxrss // 1024))
    code = (
        "import time, torch; from dlkit.data.images.cifar import cifar10; "
        "t = time.time(); cifar10(); print(time.time() - t)"
    )
    again = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    print(f"\nCIFAR-10: {', '.join(f'{seconds:.1f} s and {peak} MB' for seconds, peak in rows)} (download and prepare)")
    print(f"  loading it again: {1000 * float(again.stdout):.0f} ms")
