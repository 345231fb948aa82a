"""Servers that refuse: unknown, too busy, gated, or with a token that expires."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from dlkit.download.failures import parse_retry_after
from dlkit.errors import DlkitError

NAME = "glue/cola"


def test_connection_refused_and_unknown_host(hub: Any, obtain: Any) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    for mirror, said in ((f"http://127.0.0.1:{port}", "refused"), ("http://no-such-host.invalid", "ame")):
        with pytest.raises(DlkitError, match=f"cannot fetch {NAME} from {mirror}: .*{said}"):
            obtain(NAME, mirror=mirror)


def test_a_server_that_asks_for_too_long_a_wait_is_not_waited_for(hub: Any, obtain: Any) -> None:
    hub.add(NAME)
    hub.always["cdn"] = ("status", 429, {"Retry_After": "3600"})
    with pytest.raises(DlkitError, match="HTTP 429 Too Many Requests; the server asks to wait 3600 s"):
        obtain(NAME)


def test_retry_after_is_a_number_or_a_date() -> None:
    assert parse_retry_after("17") == 17
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert parse_retry_after("soon") is parse_retry_after(None) is None
    # by the server's clock, whatever this machine's says
    assert parse_retry_after("Wed, 21 Oct 2065 07:28:30 GMT", "Wed, 21 Oct 2065 07:28:00 GMT") == 30
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:30 GMT", "Wed, 21 Oct 2015 07:28:00 GMT") == 30


@pytest.mark.parametrize(
    ("token", "said", "hint"),
    [
        (None, "imagenet1k is gated", "accept the terms at"),
        ("expired", "does not accept the token", "hf auth login"),
        ("stranger", "your token has no access", "ask for access at"),
    ],
)
def test_gated_data_wants_a_good_token(
    hub: Any, obtain: Any, monkeypatch: pytest.MonkeyPatch, token: str | None, said: str, hint: str
) -> None:
    hub.add("imagenet1k")
    hub.gated.add("ILSVRC/imagenet-1k")
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(DlkitError, match=said) as caught:
        obtain("imagenet1k")
    assert hint in (caught.value.hint or "")
    monkeypatch.setenv("HF_TOKEN", "good")
    assert obtain("imagenet1k").status == "downloaded"
    seen = [headers.get("Authorization") for _, path, headers in hub.requests if path.startswith("/cdn/")]
    assert seen
    assert set(seen) == {None}  # the token stays with the hub: storage has another origin


def test_a_token_that_expires_in_between(hub: Any, obtain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("imagenet1k")
    hub.gated.add("ILSVRC/imagenet-1k")
    monkeypatch.setenv("HF_TOKEN", "good")
    monkeypatch.setattr("dlkit.download.hub.hub_token", lambda tokens=["good", "expired"]: tokens.pop(0))
    with pytest.raises(DlkitError, match="does not accept the token"):
        obtain("imagenet1k")
