"""A small stand-in for the Hugging Face Hub: one repository, at one commit, over HTTP on loopback."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "someone/tiny"


@contextmanager
def serve(folder: Path, held: threading.Event | None = None) -> Iterator[str]:
    """The address of a Hub that has ``folder`` as ``someone/tiny``; files wait for ``held``, if given."""

    class Handler(_Handler):
        root = folder
        gate = held

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    root: Path
    gate: threading.Event | None

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        info = f"/api/models/{REPOSITORY}"
        if path in (f"{info}/revision/main", f"{info}/revision/{COMMIT}"):
            return self._send(200, self._info())
        if path.startswith(f"{info}/tree/"):
            return self._send(200, json.dumps(self._tree()).encode())
        prefix = f"/{REPOSITORY}/resolve/{COMMIT}/"
        file = self.root / path.removeprefix(prefix)
        if path.startswith(prefix) and file.is_file():
            if self.gate is not None:
                self.gate.wait(30)
            return self._send(200, file.read_bytes())
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def _tree(self) -> list[dict[str, object]]:
        return [
            {"type": "file", "path": name, "size": (self.root / name).stat().st_size, "oid": "0" * 40}
            for name in self._names()
        ]

    def _info(self) -> bytes:
        files = [{"rfilename": name} for name in self._names()]
        card = {"license": "mit"}
        return json.dumps({"id": REPOSITORY, "sha": COMMIT, "siblings": files, "cardData": card}).encode()

    def _names(self) -> list[str]:
        return sorted(str(p.relative_to(self.root)) for p in self.root.rglob("*") if p.is_file())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.end_headers()
        if self.command == "GET":
            with suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass
