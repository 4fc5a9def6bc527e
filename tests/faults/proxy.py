"""A proxy in front of DynamoDB Local that does to requests what networks and a busy service do to them."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_ERRORS = "com.amazonaws.dynamodb.v20120810#"
_THROTTLED = {"__type": f"{_ERRORS}ProvisionedThroughputExceededException", "message": "The level of configured …"}
_FAILED = {"__type": f"{_ERRORS}InternalServerError", "message": "Internal server error"}


@dataclass(frozen=True)
class Faults:
    """Which share of requests meets which fault; the rest goes through.

    Attributes:
        throttled: answered as DynamoDB does when the table's capacity is used up.
        failing: answered with status 500.
        slow: forwarded after a while, of up to ``slow_seconds``.
        lost: forwarded; the connection is closed before the answer.
        dropped: not forwarded; the connection is closed.
        late: forwarded, answered, and forwarded once more up to ``late_seconds`` later.
        unprocessed: of the deletes in a batch: left undone, and said so.
    """

    throttled: float = 0.0
    failing: float = 0.0
    slow: float = 0.0
    lost: float = 0.0
    dropped: float = 0.0
    late: float = 0.0
    unprocessed: float = 0.0
    slow_seconds: float = 1.0
    late_seconds: float = 4.0


NONE = Faults()
DOWN = Faults(dropped=1.0)


class Proxy:
    """Listens on a free port of this machine. Faults can be changed at any time; chance is seeded.

    Attributes:
        faults: what happens to requests from now on.
        met: how often which fault was met, as ``fault`` and as ``fault operation``.
    """

    def __init__(self, target: str, seed: int = 0) -> None:
        self.faults = NONE
        self.met: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self._target = urlsplit(target)
        self._connections = threading.local()
        self._late: list[threading.Timer] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                proxy._handle(self)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: object) -> None:  # clients are killed here in mid-request
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, name="proxy", daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def reseed(self, seed: int) -> None:
        """Begin chance and counts anew."""
        with self._lock:
            self._chance = random.Random(seed)
            self.met.clear()

    def calm(self) -> None:
        """Let everything through, and wait for the requests that are late on purpose."""
        self.faults = NONE
        with self._lock:
            late, self._late = self._late, []
        for timer in late:
            timer.join()

    def close(self) -> None:
        self.calm()
        self._server.shutdown()
        self._server.server_close()

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
        operation = headers.get("X-Amz-Target", "").rpartition(".")[2]
        fault = self._draw(operation)
        if fault == "throttled":
            _answer(request, 400, json.dumps(_THROTTLED).encode())
            return
        if fault == "failing":
            _answer(request, 500, json.dumps(_FAILED).encode())
            return
        if fault == "dropped":
            request.close_connection = True
            return
        if fault == "slow":
            time.sleep(self._between(self.faults.slow_seconds))
        held: list[Any] = []
        sent = body
        if operation == "BatchWriteItem" and self.faults.unprocessed:
            sent, held = self._hold_back(body)
        status, content = self._forward(sent, headers)
        if held and status == 200:
            content = _unprocessed(body, held)
        if fault == "late":
            timer = threading.Timer(self._between(self.faults.late_seconds), self._forward, (sent, headers))
            timer.daemon = True
            with self._lock:
                self._late.append(timer)
            timer.start()
        if fault == "lost":
            request.close_connection = True
            return
        _answer(request, status, content)

    def _draw(self, operation: str) -> str:
        faults = self.faults
        with self._lock:
            left = self._chance.random()
            for fault in ("throttled", "failing", "slow", "lost", "dropped", "late"):
                left -= getattr(faults, fault)
                if left < 0:
                    self.met[fault] += 1
                    self.met[f"{fault} {operation}"] += 1
                    return fault
        return ""

    def _between(self, most: float) -> float:
        with self._lock:
            return self._chance.uniform(0.05, most)

    def _hold_back(self, body: bytes) -> tuple[bytes, list[Any]]:
        """Take some requests out of a batch, but not all of them: DynamoDB would call that throttled."""
        batch = json.loads(body)
        ((table, requests),) = batch["RequestItems"].items()
        with self._lock:
            held = [each for each in requests[1:] if self._chance.random() < self.faults.unprocessed]
            self.met["unprocessed"] += len(held)
        batch["RequestItems"] = {table: [each for each in requests if each not in held]}
        return json.dumps(batch).encode(), held

    def _forward(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        headers = {**headers, "Content-Length": str(len(body)), "Connection": "keep-alive"}
        for attempt in range(2):
            connection: HTTPConnection | None = getattr(self._connections, "one", None)
            if connection is None:
                connection = HTTPConnection(str(self._target.hostname), self._target.port, timeout=60)
                self._connections.one = connection
            try:
                connection.request("POST", "/", body, headers)
                answer = connection.getresponse()
                return answer.status, answer.read()
            except (HTTPException, OSError):
                # An idle connection that the server has closed meanwhile; it has not read the request.
                connection.close()
                self._connections.one = None
                if attempt:
                    return 500, json.dumps(_FAILED).encode()
        raise AssertionError


def _unprocessed(body: bytes, held: list[Any]) -> bytes:
    (table,) = json.loads(body)["RequestItems"]
    return json.dumps({"UnprocessedItems": {table: held}}).encode()


def _answer(request: BaseHTTPRequestHandler, status: int, content: bytes) -> None:
    request.send_response(status)
    request.send_header("Content-Type", "application/x-amz-json-1.0")
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content)
