"""A local OpenAI-compatible endpoint that behaves well, or badly in a chosen way."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def completion(content: str) -> bytes:
    """A chat completion around what a model said."""
    return json.dumps({"id": "x", "choices": [{"message": {"content": content}}]}).encode()


GOOD = completion('{"real": true, "confidence": 0.9, "reason": "a red car at the kerb"}')


class FakeEndpoint:
    """What it is to do next, and what it was asked.

    Attributes:
        reply: Body of the answers.
        status: Their status.
        hold: Answers wait for it; set unless a test clears it.
        drip: Send one byte, then wait for `hold`.
    """

    def __init__(self) -> None:
        self.reply = GOOD
        self.status = 200
        self.drip = False
        self.hold = threading.Event()
        self.hold.set()
        self.asked: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.arrived = threading.Semaphore(0)
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.asked.append((self.path, dict(self.headers), body))
                endpoint.arrived.release()
                if not endpoint.drip:
                    endpoint.hold.wait()
                with suppress(OSError):
                    self.send_response(endpoint.status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(endpoint.reply)))
                    self.end_headers()
                    if endpoint.drip:
                        for one in endpoint.reply:
                            self.wfile.write(bytes([one]))
                            self.wfile.flush()
                            if endpoint.hold.wait(0.05):
                                break
                        return
                    self.wfile.write(endpoint.reply)

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def fake_endpoint() -> Iterator[FakeEndpoint]:
    """One for a test."""
    endpoint = FakeEndpoint()
    try:
        yield endpoint
    finally:
        endpoint.stop()
