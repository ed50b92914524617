"""A hub of one process: the few endpoints that pushing and fetching a model go through, over a folder."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "1" * 40


class Handler(BaseHTTPRequestHandler):
    """Keeps what is committed under `root`, a folder a repository; every call is noted in `calls`."""

    protocol_version = "HTTP/1.1"
    root: Path
    calls: list[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = self._noted()
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            (self.root / name).mkdir(parents=True, exist_ok=True)
            self._json({"url": f"http://{self.headers['Host']}/{name}", "name": name, "id": "0"})
        elif path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif match := re.fullmatch(r"/api/models/(.+)/preupload/main", path):
            files = [f["path"] for f in json.loads(body)["files"]]
            self._json({"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in files]})
        elif match := re.fullmatch(r"/api/models/(.+)/commit/main", path):
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    file = self.root / match[1] / entry["value"]["path"]
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(base64.b64decode(entry["value"]["content"]))
            url = f"http://{self.headers['Host']}/{match[1]}/commit/{COMMIT}"
            self._json({"success": True, "commitOid": COMMIT, "commitUrl": url})
        else:
            self._missing("unknown endpoint")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self._noted()
        if match := re.fullmatch(r"/api/models/(.+)/tree/\w+", path):
            self._json([self._entry(self.root / match[1], f) for f in self._files(match[1])])
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/\w+/(.+)", path):
            self._file(self.root / match[1] / match[2])
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/\w+)?", path):
            if not (self.root / match[1]).is_dir():
                self._missing("RepoNotFound")
                return
            names = [{"rfilename": f.relative_to(self.root / match[1]).as_posix()} for f in self._files(match[1])]
            self._json({"id": match[1], "sha": COMMIT, "siblings": names})
        else:
            self._missing("unknown endpoint")

    def _noted(self) -> str:
        path = self.path.partition("?")[0]
        self.calls.append(f"{self.command} {path}")
        return path

    def _files(self, name: str) -> list[Path]:
        return sorted(f for f in (self.root / name).rglob("*") if f.is_file())

    def _entry(self, folder: Path, file: Path) -> dict[str, Any]:
        content = file.read_bytes()
        digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        return {"type": "file", "path": file.relative_to(folder).as_posix(), "size": len(content), "oid": digest}

    def _file(self, file: Path) -> None:
        if not file.is_file():
            self._missing("EntryNotFound")
            return
        content = file.read_bytes()
        digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        self._send(200, content, {"ETag": f'"{digest}"', "X-Repo-Commit": COMMIT})

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _missing(self, code: str) -> None:
        self._send(404, b"{}", {"X-Error-Code": code, "X-Error-Message": code, "X-Repo-Commit": COMMIT})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        return


@contextmanager
def local_hub(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder as a hub; gives its address and the list of calls, which grows."""
    calls: list[str] = []
    handler = type("HubHandler", (Handler,), {"root": root, "calls": calls})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", calls
    finally:
        server.shutdown()
        server.server_close()
