"""A gateway as partners meet it: its own process, real HTTP, an issuer of tokens, and topics that nobody else uses."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from confluent_kafka import Message
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from deployments.local.stack import Stack
from redrive.config import Config
from redrive.gateway.api_keys import hash_of, new_key
from redrive.gateway.cloud_events import BATCH, SINGLE
from redrive.schemas import SchemaRegistry
from redrive.topics import apply_topics
from tests.stack.environment import besides_settings
from tests.stack.reading import read_whole

ORDER = {
    "type": "record",
    "name": "Order",
    "fields": [{"name": "id", "type": "long"}, {"name": "note", "type": ["null", "string"], "default": None}],
}
ISSUER, AUDIENCE, CLIENT = "https://issuer.example/", "redrive-events", "acme-backend"


class Issuer:
    """Issues tokens, and tells its keys by HTTP; can lose and change them."""

    def __init__(self) -> None:
        self.rsa = RSAKey.generate_key(2048, {"kid": "rsa-1", "use": "sig"})
        self.ec = ECKey.generate_key("P-256", {"kid": "ec-1", "use": "sig"})
        self.keys: list[RSAKey | ECKey] = [self.rsa, self.ec]
        self.asked, self.open = 0, True
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                self.send_response(200 if issuer.open else 500)
                body = json.dumps({"keys": [key.as_dict(private=False) for key in issuer.keys]}).encode()
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/jwks.json"

    def token(self, key: Any = None, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """Make a good token, but for what is given; a claim that is None is left out."""
        key = key or self.rsa
        now = int(time.time())
        good = {"iss": ISSUER, "aud": AUDIENCE, "client_id": CLIENT, "sub": CLIENT, "iat": now, "exp": now + 300}
        known = {"alg": "ES256" if isinstance(key, ECKey) else "RS256", "kid": key.kid, "typ": "at+jwt"}
        wanted = {name: value for name, value in (good | claims).items() if value is not None}
        protected = known | dict(header or {})
        return jwt.encode(protected, wanted, key, algorithms=[protected["alg"]])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Gateway:
    """A gateway in a process of its own.

    Partner ``acme`` may publish ``order.created`` and ``order.paid``, ``small`` ``order.created`` with a quota of 3,
    and nobody ``order.lost``.

    Args:
        more: further settings of the section ``[gateway]``.
        environment: variables of its process.
    """

    def __init__(
        self, stack: Stack, folder: Path, *, more: str = "", environment: Mapping[str, str] | None = None
    ) -> None:
        unique = uuid.uuid4().hex[:8]
        self.stack, self.issuer = stack, Issuer()
        self.orders, self.payments = f"secretorders-{unique}", f"secretpayments-{unique}"
        self.acme, self.small = new_key(), new_key()
        self.port, self.admin_port = free_port(), free_port()
        self.file, self.log = folder / "redrive.toml", folder / "gateway.log"
        (folder / "order.avsc").write_text(json.dumps(ORDER))
        self.file.write_text(f"""\
[standby]
table = "standby-{unique}"
endpoint = "{stack.endpoints.dynamodb}"
[registry]
url = "{stack.endpoints.registry}"
[clusters.one]
bootstrap = "{stack.endpoints.bootstrap}"
[domains.sales]
cluster = "one"
[topics."{self.orders}"]
domain = "sales"
partitions = 2
schema = "order.avsc"
[topics."{self.payments}"]
domain = "sales"
partitions = 1
schema = "order.avsc"
config = {{ "cleanup.policy" = "compact" }}
[topics."dlq.gateway-{unique}"]
domain = "sales"
partitions = 1
[gateway]
name = "gateway-{unique}"
port = {self.port}
admin_port = {self.admin_port}
drain = 0.5
{more}
[gateway.tokens]
issuer = "{ISSUER}"
audience = "{AUDIENCE}"
jwks = "{self.issuer.url}"
[gateway.types]
"order.created" = "{self.orders}"
"order.paid" = "{self.payments}"
"order.lost" = "{self.payments}"
[gateway.partners.acme]
types = ["order.created", "order.paid"]
clients = ["{CLIENT}"]
keys = ["{hash_of(self.acme)}"]
rate = 100_000
[gateway.partners.small]
types = ["order.created"]
keys = ["{hash_of(self.small)}"]
rate = 0.5
burst = 3
""")
        self._environment = {key: value for key, value in os.environ.items() if not key.startswith("REDRIVE_")}
        self._environment |= {key: value for key, value in stack.environment().items() if key.startswith("AWS_")}
        self._environment |= {"REDRIVE_CONFIG": str(self.file)} | dict(environment or {})
        self.config = Config.load(self.file)
        self.http = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        command = [sys.executable, "-m", "deployments.cli", "gateway", *options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from deployments.cli import main; main()", *command[3:]],
                env=self._environment, stderr=log, stdout=log,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while not self.is_ready():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    def workers(self) -> list[psutil.Process]:
        """Return its worker processes, if it has several."""
        assert self.process is not None
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if "spawn_main" in " ".join(child.cmdline())]

    def is_ready(self) -> bool:
        try:
            return bool(self.http.get("/readyz").status_code == 200)
        except httpx2.TransportError:
            return False

    def stop(self) -> int:
        """Tell it to stop; return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.http.close()
        self.issuer.close()

    def post(
        self,
        body: Any,
        kind: str = "order.created",
        *,
        key: str | None = "",
        token: str = "",
        media: str = "",
        **more: str,
    ) -> httpx2.Response:
        """Send one event, or a list of them, as acme unless credentials are given."""
        headers = {"Content-Type": media or (BATCH if isinstance(body, list) else SINGLE)}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        elif key is not None:
            headers["X-API-Key"] = key or self.acme
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.http.post(f"/v1/events/{kind}", content=content, headers=headers | more)

    def metrics(self) -> dict[str, float]:
        lines = httpx2.get(f"http://127.0.0.1:{self.admin_port}/metrics").text.splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}

    def read(self, topic: str) -> list[Message]:
        """Read a whole topic."""
        return read_whole({"bootstrap.servers": self.stack.endpoints.bootstrap}, topic)

    def found(self, topic: str, identity: str) -> list[Message]:
        """Read those messages whose partner has given them this id."""
        wanted = ("ce_partnerid", identity.encode())
        return [message for message in self.read(topic) if wanted in (message.headers() or [])]


def opened(stack: Stack, folder: Path, **more: Any) -> Gateway:
    """Return a gateway whose topics and table are there; it is not started."""
    gateway = Gateway(stack, folder, **more)
    apply_topics(gateway.config)
    return gateway


@contextmanager
def serving(stack: Stack, folder: Path, *arguments: str, knows_keys: bool = True, **more: Any) -> Iterator[Gateway]:
    """Give a gateway that has been started; this process has the stack's credentials meanwhile.

    Args:
        stack: where its topics are.
        folder: for its files.
        arguments: for its command.
        knows_keys: False: the issuer of its tokens was away when it started.
        more: as `Gateway` has it.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name, value in besides_settings(stack).items():
            patch.setenv(name, value)
        gateway = opened(stack, folder, **more)
        gateway.issuer.open = knows_keys
        try:
            gateway.start(*arguments)
            yield gateway
        finally:
            gateway.close()


def order(number: Any, identity: str = "", **more: Any) -> dict[str, Any]:
    """Make an event of a new id, unless one is given."""
    identity = identity or f"order-{uuid.uuid4().hex}"
    event = {"specversion": "1.0", "id": identity, "source": "/shop", "type": "order.created"}
    return event | {"partitionkey": identity, "data": {"id": number}} | more


def value_of(gateway: Gateway, message: Message) -> Any:
    registry = SchemaRegistry({"url": gateway.stack.endpoints.registry})
    try:
        return registry.reader().decode(message.value() or b"")
    finally:
        registry.close()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
