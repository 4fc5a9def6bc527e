"""A platform of a test's own on the real stack: topics with names that nobody else uses, their schemas, raw access."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterable
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from deployments.local.stack import Stack
from redrive.config import Config
from redrive.schemas import SchemaRegistry
from redrive.topics import apply_topics

ORDER = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [{"name": "id", "type": "long"}, {"name": "note", "type": ["null", "string"], "default": None}],
}


class Platform:
    """Two topics on two clusters (by name; they are the same one), and a group with its dead letters.

    Args:
        registry: URL of the registry, if not the stack's own.
        dlq: further settings of the dead-letter topic.
    """

    def __init__(
        self, stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch, registry: str = "", dlq: str = ""
    ) -> None:
        for variable in stack.environment():
            if variable.startswith("REDRIVE_"):  # this platform's file says it all
                monkeypatch.delenv(variable, raising=False)
        unique = uuid.uuid4().hex[:8]
        self.orders, self.refunds, self.group = f"orders-{unique}", f"refunds-{unique}", f"billing-{unique}"
        self.dead_letters = f"dlq.{self.group}"
        self.bootstrap = stack.endpoints.bootstrap
        self.registry_url = stack.endpoints.registry
        (folder / "order.avsc").write_text(json.dumps(ORDER))
        (folder / "redrive.toml").write_text(f"""\
[standby]
table = "standby-{unique}"
endpoint = "{stack.endpoints.dynamodb}"
[registry]
url = "{registry or self.registry_url}"
[clusters.one]
bootstrap = "{self.bootstrap}"
[clusters.two]
bootstrap = "{self.bootstrap}"
[domains.sales]
cluster = "one"
[domains.returns]
cluster = "two"
[topics."{self.orders}"]
domain = "sales"
partitions = 2
replication = 1
schema = "order.avsc"
[topics."{self.refunds}"]
domain = "returns"
partitions = 1
replication = 1
schema = "order.avsc"
[topics."{self.dead_letters}"]
domain = "sales"
partitions = 1
replication = 1
{dlq}
""")
        self.file = folder / "redrive.toml"
        self.config = Config.load(self.file)
        apply_topics(self.config)
        self.registry = SchemaRegistry({"url": self.registry_url})
        self.writer = self.registry.writer(self.orders)

    def send(self, topic: str, values: Iterable[bytes | None], partition: int = 0, **more: Any) -> None:
        """Produce raw values, with a client of confluent-kafka's own."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "acks": "all", "message.max.bytes": 5_000_000})
        for value in values:
            producer.produce(topic, value, **({"key": b"k"} | more), partition=partition)
        assert producer.flush(30) == 0

    def orders_of(self, numbers: Iterable[int]) -> list[bytes]:
        return [self.writer.encode({"id": number}) for number in numbers]

    def read(self, topic: str) -> list[Message]:
        """Read a whole topic, with a client of confluent-kafka's own."""
        config = {"bootstrap.servers": self.bootstrap, "group.id": "reader", "enable.partition.eof": True}
        reader = Consumer(config | {"enable.auto.commit": False, "auto.offset.reset": "earliest"})
        partitions = reader.list_topics(topic, timeout=10).topics[topic].partitions
        reader.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        messages, ends = [], 0
        while ends < len(partitions):
            message = reader.poll(10)
            assert message is not None, f"{topic} does not end"
            error = message.error()
            if error is None:
                messages.append(message)
            else:
                assert error.code() == KafkaError._PARTITION_EOF, error
                ends += 1
        reader.close()
        return messages

    def committed(self, topic: str, partition: int = 0) -> int:
        """Return the group's committed offset; 0 if there is none."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.group})
        offset = consumer.committed([TopicPartition(topic, partition)], timeout=10)[0].offset
        consumer.close()
        return max(offset, 0)

    def client(self) -> SchemaRegistryClient:
        """Return a registry client of confluent-kafka's own; by default it would wait for ever."""
        return SchemaRegistryClient({"url": self.registry_url, "timeout": 20})

    def register(self, subject: str, schema: Any, references: Any = ()) -> int:
        return int(self.client().register_schema(subject, Schema(json.dumps(schema), "AVRO", list(references))))


class Gatekeeper:
    """Stands in front of the real registry: counts what is asked, and can shut the door."""

    def __init__(self, registry: str) -> None:
        target, self.asked, self.open = urlsplit(registry), list[str](), True
        keeper = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                keeper.asked.append(self.path)
                if not keeper.open:
                    self.close_connection = True
                    self.connection.close()
                    return
                onward = HTTPConnection(str(target.hostname), target.port, timeout=10)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                onward.request(self.command, self.path, body, {"Content-Type": "application/json"})
                answer = onward.getresponse()
                content = answer.read()
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                onward.close()

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}{target.path}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def wait_until(is_so: Any, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.05)
