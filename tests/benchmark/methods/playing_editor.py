"""A local server that plays an image editor: right, slow, refusing, malformed, rate-limited."""

import base64
import io
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image, ImageOps

Answer = tuple[int, Any, dict[str, str]]


@dataclass
class Asked:
    """A request as the server saw it."""

    path: str
    prompt: str
    picture: Image.Image
    fields: dict[str, Any]
    authorization: str | None
    times: int


@dataclass
class Server:
    play: Callable[[Asked], Answer]
    url: str = ""
    seen: list[Asked] = field(default_factory=list)
    times: Counter[str] = field(default_factory=Counter)
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def openai_answer(asked: Asked) -> Answer:
    return 200, {"data": [{"b64_json": base64.b64encode(png(ImageOps.invert(asked.picture))).decode()}]}, {}


def plain_answer(asked: Asked) -> Answer:
    picture = base64.b64encode(png(ImageOps.invert(asked.picture))).decode()
    return 200, {"image": picture, "response": asked.prompt.upper()}, {}


def failing(status: int, message: str, code: str = "", **headers: str) -> Answer:
    return status, {"error": {"message": message, "code": code, "type": "x"}}, headers


def read_form(content_type: str, body: bytes) -> dict[str, bytes]:
    """The parts of a multipart form by name."""
    boundary = content_type.partition("boundary=")[2].encode()
    parts = {}
    for part in body.split(b"--" + boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]+)"', head)
        assert name is not None
        parts[name[1].decode()] = content[:-2]
    return parts


@contextmanager
def playing(play: Callable[[Asked], Answer]) -> Iterator[Server]:
    server = Server(play)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(200, png(Image.new("RGB", (8, 8), "red")), {"Content-Type": "image/png"})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kind = self.headers["Content-Type"]
            if kind.startswith("multipart/form-data"):
                form = read_form(kind, body)
                picture, fields = form.pop("image"), {k: v.decode() for k, v in form.items()}
                prompt = fields.pop("prompt")
            else:
                fields = json.loads(body)
                picture, prompt = base64.b64decode(fields.pop("image")), fields.pop("instruction")
            with server.lock:
                server.times[prompt] += 1
                server.at_once += 1
                server.most_at_once = max(server.most_at_once, server.at_once)
                key = self.headers.get("Authorization")
                image = Image.open(io.BytesIO(picture))
                asked = Asked(self.path, prompt, image, fields, key, server.times[prompt])
                server.seen.append(asked)
            try:
                status, content, headers = server.play(asked)
            finally:
                with server.lock:
                    server.at_once -= 1
            self.answer(status, content if isinstance(content, bytes) else json.dumps(content).encode(), headers)

        def answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                return

        def log_message(self, *_: Any) -> None:
            return

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    server.url = f"http://127.0.0.1:{http.server_port}/v1"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
