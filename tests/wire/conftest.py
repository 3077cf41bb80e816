"""A server on loopback that answers every POST with the frames that it was given: for stock clients to read."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from openai import OpenAI

Serve = Callable[[bytes], OpenAI]


class _Frames(BaseHTTPRequestHandler):
    frames: ClassVar[bytes] = b""
    seen: ClassVar[list[dict[str, str]]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append(dict(self.headers))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Content-Length", str(len(self.frames)))
        self.end_headers()
        self.wfile.write(self.frames)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        pass


@pytest.fixture
def seen() -> list[dict[str, str]]:
    """The headers of the requests that `sdk`'s clients have sent."""
    _Frames.seen.clear()
    return _Frames.seen


@pytest.fixture(scope="module")
def sdk() -> Iterator[Serve]:
    """Gives a stock `OpenAI` client whose every call is answered with the given bytes."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Frames)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    client = OpenAI(api_key="k", base_url=f"http://127.0.0.1:{server.server_port}/v1", max_retries=0)

    def serve(frames: bytes) -> OpenAI:
        _Frames.frames = frames
        return client

    yield serve
    client.close()
    server.shutdown()
    thread.join()
    server.server_close()
