"""A hub on the loopback interface that speaks what the real client asks, serves generated data, and can misbehave."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote, urlsplit

from dlkit.data.registry import DATASETS
from tests.download.generated_data import content

ROWS = 6
COMMIT = "c0ffee" + "0" * 34
Fault = tuple[Any, ...]


@dataclass
class Hub:
    """State of the server; a model is the repository models/OWNER/NAME.

    Each request to `where` ("api" or "cdn") takes the next of its faults, if any is left."""

    url: str = ""
    cdn: str = ""
    repositories: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    lost: str = ""  # a path that is listed, and not there
    token_lasts: int | None = None  # so many more requests with the token "good", or for ever
    faults: dict[str, list[Fault]] = field(default_factory=lambda: {"api": [], "cdn": []})
    always: dict[str, Fault] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    served: dict[str, int] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.Lock)

    def add(self, name: str, rows: dict[str, int] | None = None, files: dict[str, bytes] | None = None) -> None:
        """Serve a data set, of 6 rows a split unless said otherwise."""
        dataset = DATASETS[name]
        new = files if files is not None else content(dataset, rows or dict.fromkeys(dataset.rows, ROWS))
        self.repositories.setdefault((dataset.repo, dataset.revisions[0]), {}).update(new)

    def content(self, name: str, rows: dict[str, int]) -> dict[str, bytes]:
        """Generated files of a data set."""
        return content(DATASETS[name], rows)

    def next_fault(self, where: str) -> Fault | None:
        with self.lock:
            queue = self.faults[where]
            return queue.pop(0) if queue else self.always.get(where)

    def blob(self, digest: str) -> bytes | None:
        for files in self.repositories.values():
            for body in files.values():
                if hashlib.sha256(body).hexdigest() == digest:
                    return body
        return None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        with self.hub.lock:
            self.hub.requests.append((self.command, path, dict(self.headers)))
        where = "cdn" if path.startswith(("/cdn/", "/plain/")) else "api"
        fault = self.hub.next_fault(where)
        if fault is not None and where == "api":
            self.misbehave(fault, b"{}")
        elif where == "cdn":
            body = self.hub.blob(path.rpartition("/")[2])
            self.send(body, fault) if body is not None else self.answer(404)
        elif found := re.fullmatch(r"/api/(?:datasets/|(models/))([^/]+/[^/]+)/revision/(.+)", path):
            self.revision((found[1] or "") + found[2], found[3])
        elif found := re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self.resolve(*found.groups())
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self.resolve(f"models/{found[1]}", found[2], found[3])
        else:
            self.answer(404)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def allowed(self, repository: str) -> bool:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if repository not in self.hub.gated:
            return True
        if token == "good":
            with self.hub.lock:
                expired = self.hub.token_lasts == 0
                if self.hub.token_lasts:
                    self.hub.token_lasts -= 1
            if not expired:
                return True
        if token == "stranger":
            self.answer(403, X_Error_Code="GatedRepo")
        elif token:
            self.answer(401, X_Error_Message="Invalid credentials in Authorization header")
        else:
            self.answer(401, X_Error_Code="GatedRepo")
        return False

    def revision(self, repository: str, revision: str) -> None:
        if not self.allowed(repository):
            return
        known = {name for name, _ in self.hub.repositories}
        files = self.hub.repositories.get((repository, revision))
        if files is None:
            self.answer(404, X_Error_Code="RevisionNotFound" if repository in known else "RepoNotFound")
            return
        siblings = [
            {
                "rfilename": path,
                "size": len(body),
                "blobId": "0" * 40,
                "lfs": {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 130},
            }
            for path, body in files.items()
        ]
        info = {"id": repository, "sha": COMMIT, "siblings": siblings, "private": False, "tags": [], "downloads": 0}
        self.answer(200, json.dumps(info).encode(), Content_Type="application/json")

    def resolve(self, repository: str, revision: str, path: str) -> None:
        if not self.allowed(repository):
            return
        files = [files for (name, _), files in self.hub.repositories.items() if name == repository]
        body = next((found[path] for found in files if path in found), None)
        if body is None or path == self.hub.lost:
            self.answer(404, X_Error_Code="EntryNotFound")
            return
        digest = hashlib.sha256(body).hexdigest()
        headers = {"X_Repo_Commit": COMMIT, "X_Linked_Etag": f'"{digest}"', "X_Linked_Size": str(len(body))}
        self.answer(302, Location=f"{self.hub.cdn}/cdn/{digest}", ETag=f'"{digest}"', **headers)

    def send(self, body: bytes, fault: Fault | None) -> None:
        if fault is not None and fault[0] in ("status", "html", "loop"):
            self.misbehave(fault, body)
            return
        start = 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if asked and fault != ("no ranges",):
            start = int(asked[1])
            if start >= len(body):
                self.answer(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        part = body[start:]
        extra = fault[1] if fault and fault[0] == "length" else 0
        self.send_header("Content-Length", str(len(part) + extra))
        self.end_headers()
        if self.command == "HEAD":
            return
        stop = len(part)
        if fault and fault[0] in ("reset", "stall", "truncate"):
            stop = min(stop, fault[1])
        if fault and fault[0] == "corrupt":
            place = min(len(part) - 1, fault[1])
            part = part[:place] + bytes([part[place] ^ 0xFF]) + part[place + 1 :]
        self.count(stop)
        try:
            self.wfile.write(part[:stop])
            self.wfile.flush()
        except OSError:
            self.close_connection = True
            return
        if fault:
            self.misbehave(fault, body)

    def count(self, sent: int) -> None:
        with self.hub.lock:
            digest = self.path.rpartition("/")[2]
            self.hub.served[digest] = self.hub.served.get(digest, 0) + sent

    def misbehave(self, fault: Fault, body: bytes) -> None:
        self.close_connection = fault[0] not in ("status", "html", "loop")
        if fault[0] == "status":
            self.answer(fault[1], b"busy", **(fault[2] if len(fault) > 2 else {}))
        elif fault[0] == "html":
            self.answer(200, b"<!doctype html><p>log in", Content_Type="text/html; charset=utf-8")
        elif fault[0] == "loop":  # a circle of so many steps
            path, _, step = self.path.partition("?step=")
            self.answer(302, Location=f"{path}?step={(int(step or 0) + 1) % (fault[1] if len(fault) > 1 else 1)}")
        elif fault[0] == "reset":
            threading.Event().wait(0.05)  # a reset drops what the other side has not read yet
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        elif fault[0] == "stall":
            threading.Event().wait(fault[2])
