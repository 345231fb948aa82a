"""Servers on the loopback interface, and how the client of a test is turned to them."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from dlkit.download import hub as hub_client
from dlkit.download import network


def pump(source: socket.socket, target: socket.socket) -> None:
    """Copy what comes until one side ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def join(one: socket.socket, other: socket.socket) -> None:
    """Let two ends talk to each other until one stops."""
    back = threading.Thread(target=pump, args=(other, one), daemon=True)
    back.start()
    pump(one, other)
    back.join(2)
    one.close()
    other.close()


def listen(serve: Callable[[socket.socket], None]) -> tuple[socket.socket, int]:
    """A server that answers each connection in a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener, listener.getsockname()[1]


def end(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def forget() -> None:
    """Let certificates and proxies be read anew."""
    from huggingface_hub import close_session

    network._context.cache_clear()
    hub_client._use_certificates.cache_clear()
    close_session()


def use(hub: Any, monkeypatch: pytest.MonkeyPatch, api: str, cdn: str) -> None:
    """Let the hub and its storage be found at these addresses."""
    hub.url, hub.cdn = api, cdn.replace("localhost", "127.0.0.1")
    monkeypatch.setenv("HF_ENDPOINT", api)
