"""Fetch one file, resumably: bytes are appended to a partial file and hashed on the way.

A partial file is named by the identity of its content and survives kills: the next process hashes what is there, and
requests the rest by a range. The file gets its final name once its size and hash are right. A `.seal` beside it then
records identity, size and sha256.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

from dlkit.data.store import StoredFile
from dlkit.download import failures, web
from dlkit.download.failures import FetchError
from dlkit.download.hashing import HashingThread
from dlkit.download.remote_files import RemoteFile
from dlkit.download.retries import RetryPolicy, TransferMonitor
from dlkit.errors import DlkitError
from dlkit.memory import size_text
from dlkit.strict_json import parse_json
from dlkit.text_input import ordinary_file

_BLOCK = 1 << 18  # bytes read, written and hashed at once; they stay in the processor's cache
_PROGRESS_BYTES = 1 << 16  # a try that brought fewer counts as one without progress
_SLOWEST, _SLOW_SECONDS = 512, 60.0  # a stall: fewer bytes per second, for this long


def fetch_file(
    file: RemoteFile, folder: Path, token: str | None, policy: RetryPolicy, monitor: TransferMonitor
) -> StoredFile:
    """Fetch a file to `folder`/`file.path`, with retries; returns its size and sha256.

    Raises:
        FetchError: the server cannot be reached, or does not deliver what it announced.
        DlkitError: the disk is full or read-only, or a local source cannot be read.
        CancelledError: `monitor.stop` was set; the partial file is kept.
    """
    target = folder / file.path
    identity = hashlib.sha256(file.identity.encode()).hexdigest()[:16]
    seal = target.with_name(target.name + ".seal")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        sealed = _sealed(file.path, target, seal, identity)
        if sealed is not None:
            monitor.at(file.path, sealed.size)
            return sealed
        partial = target.with_name(f"{target.name}.{identity}.part")
        for stale in target.parent.glob(f"{target.name}.*.part"):
            if stale != partial:
                stale.unlink()
    except OSError as error:
        raise failures.disk_error(error, target) from error
    tries = 0
    while True:
        attempt = _Attempt(file, partial, token, policy.timeout, monitor)
        try:
            digests = attempt.run()
            break
        except FetchError as failure:
            tries = 1 if attempt.received >= _PROGRESS_BYTES and failure.transient else tries + 1
            seconds = policy.wait(failure, tries)
            monitor.note(f"{file.path}: {failure.reason}; trying again in {seconds:.1f} s")
            monitor.sleep(seconds)
    done = StoredFile(file.path, partial.stat().st_size, digests)
    try:
        _write(seal, json.dumps({"identity": identity, "size": done.size, "sha256": done.sha256}))
        partial.replace(target)
    except OSError as error:
        raise failures.disk_error(error, target) from error
    return done


def _sealed(path: str, target: Path, seal: Path, identity: str) -> StoredFile | None:
    """The file, if an earlier process has completed it."""
    try:
        values = parse_json(ordinary_file(seal).read_bytes())
        if values["identity"] == identity and target.stat().st_size == values["size"]:
            return StoredFile(path, values["size"], values["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


class _Attempt:
    """One try: hash what the partial file holds, receive the rest, check the digest."""

    def __init__(
        self, file: RemoteFile, partial: Path, token: str | None, timeout: float, monitor: TransferMonitor
    ) -> None:
        self.file, self.partial, self.token, self.timeout, self.monitor = file, partial, token, timeout, monitor
        self.received = 0  # bytes received in this try
        self.offset = 0  # bytes of the file that are on the disk and hashed
        self.hashing: HashingThread | None = None
        self.output: int = -1

    def run(self) -> str:
        """Complete the partial file; returns its sha256, after comparing it with the announced digest."""
        try:
            self.output = os.open(self.partial, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        except OSError as error:
            raise failures.disk_error(error, self.partial) from error
        try:
            self._begin()
            self._recover()
            if self.file.size is None or self.offset < self.file.size:
                self._receive_local() if self.file.local else self._receive()
            os.fsync(self.output)  # while the last blocks are being hashed
            return self._checked()
        finally:
            self._drop()
            os.close(self.output)

    def _begin(self) -> None:
        self._drop()
        algorithms = dict.fromkeys(["sha256", *(self.file.check or ())[:1]])
        self.hashing, self.offset = HashingThread(list(algorithms), self.file.size), 0

    def _drop(self) -> None:
        if self.hashing is not None:
            self.hashing.drop()
            self.hashing = None

    def _recover(self) -> None:
        """Hash what earlier tries have left."""
        size = os.fstat(self.output).st_size
        if self.file.size is not None and size > self.file.size:
            os.ftruncate(self.output, 0)
            return
        while block := os.read(self.output, _BLOCK):
            self.monitor.check()
            self._hash(block)
        self.monitor.at(self.file.path, self.offset)

    def _hash(self, block: bytes) -> None:
        assert self.hashing is not None
        self.hashing.update(block)
        self.offset += len(block)

    def _restart(self) -> None:
        """Discard the partial file's content."""
        os.ftruncate(self.output, 0)
        os.lseek(self.output, 0, os.SEEK_SET)
        self._begin()
        self.monitor.at(self.file.path, 0)

    def _put(self, block: bytes) -> None:
        view = memoryview(block)
        try:
            while view:
                view = view[os.write(self.output, view) :]
        except OSError as error:
            raise failures.disk_error(error, self.partial) from error
        self._hash(block)
        self.received += len(block)
        self.monitor.at(self.file.path, self.offset)

    def _receive_local(self) -> None:
        assert self.file.local is not None
        try:
            with self.file.local.open("rb", buffering=0) as source:
                source.seek(self.offset)
                while block := source.read(_BLOCK):
                    self.monitor.check()
                    self._put(block)
        except OSError as error:
            raise DlkitError(f"cannot read {self.file.local}: {error.strerror}") from error

    def _receive(self) -> None:
        self.monitor.check()
        try:
            response = web.http_get(self.file.url, self.token, self.timeout, self.offset)
        except FetchError as failure:
            if failure.status == 416:  # the server's file is shorter than the partial one
                self._restart()
                failure.transient = True
            if failure.status == 403 and web.url_origin(failure.url) != web.url_origin(self.file.url):
                failure.transient, failure.most = True, 2  # an expired signed address; the hub issues a new one
            raise
        with response:
            self._announced(response.status, response.headers)
            began, brought = time.monotonic(), 0
            while True:
                try:
                    block = response.read1(_BLOCK)
                except Exception as error:
                    raise failures.as_fetch_error(error) from error
                if not block:
                    break
                self.monitor.check()
                if self.file.size is not None and self.offset + len(block) > self.file.size:
                    self._restart()
                    raise FetchError(
                        f"the server sent more than the {self.file.size} bytes that were announced", most=2
                    )
                self._put(block)
                brought += len(block)
                if (seconds := time.monotonic() - began) > _SLOW_SECONDS:
                    if brought < _SLOWEST * seconds:
                        raise FetchError(f"only {brought} bytes in {seconds:.0f} s")
                    began, brought = time.monotonic(), 0
        if self.file.size is not None and self.offset < self.file.size:
            raise FetchError(f"the transfer ended {size_text(self.file.size - self.offset)} too early")

    def _announced(self, status: int, headers: object) -> None:
        """Compare the response's headers with the request."""
        get = headers.get  # pyright: ignore[reportAttributeAccessIssue]
        length, kind = get("Content-Length"), (get("Content-Type") or "").partition(";")[0].strip().lower()
        if kind == "text/html":
            raise FetchError("the server sent a web page instead of the file (a login or a proxy?)", most=2)
        if self.offset and status == 206:
            begin, _, total = (get("Content-Range") or "").removeprefix("bytes ").replace("-", "/").partition("/")
            total = total.rpartition("/")[2]
            if begin != str(self.offset):
                self._restart()
                raise FetchError("the server sent another range than was asked for")
        else:
            if self.offset:  # the server ignores ranges and sends everything
                self._restart()
            total = length
        size = self.file.size
        if size is not None and total and total.isdigit() and int(total) != size:
            raise FetchError(f"the server announces {int(total):,} bytes, {size:,} were expected", most=2)

    def _checked(self) -> str:
        """The sha256. If the stated digest differs, discards the content and raises FetchError."""
        assert self.hashing is not None
        digests, self.hashing = self.hashing.finish(), None
        if self.file.check is not None:
            algorithm, expected = self.file.check
            if digests[algorithm] != expected:
                self._restart()
                self.received = 0
                raise FetchError(
                    f"what arrived is damaged: {algorithm} {digests[algorithm][:12]}..., {expected[:12]}... expected",
                    most=2,
                )
        return digests["sha256"]
