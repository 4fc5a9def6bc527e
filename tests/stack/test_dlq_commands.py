"""``redrive dlq show`` on real letters: of our own, of Kafka Connect, gone, and with a registry that is away."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from deployments.local.stack import Stack
from redrive.cli import app
from redrive.cli.letter_found import GONE
from redrive.deadletters.letter import letter_of_bytes, letter_of_value
from redrive.deadletters.triage import triage
from redrive.events import Event
from redrive.ledger import Ledger
from redrive.topics import apply_topics
from tests.stack.platform import Gatekeeper, Platform

CONNECT: list[tuple[str, bytes]] = [
    ("trace", b"\xff\x00"),
    ("__connect.errors.topic", b"orders"),
    ("__connect.errors.connector.name", b"warehouse"),
    ("__connect.errors.exception.class.name", b"org.apache.kafka.connect.errors.DataException"),
    ("__connect.errors.exception.message", b"no such \x1b[31mcolumn"),
]


class Desk(Platform):
    """A platform with one dead-letter topic, behind a registry that can be away."""

    def __init__(self, stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.door = Gatekeeper(stack.endpoints.registry)
        super().__init__(stack, folder, monkeypatch)
        text = self.file.read_text().replace(self.registry_url, self.door.url)
        self.file.write_text(text + '[ledger]\nurl = "sqlite:///ledger.db"\n')
        monkeypatch.setenv("REDRIVE_CONFIG", str(self.file))
        self.config = self.config.load(self.file)

    def write(self, letter: Event) -> None:
        self.send(self.dead_letters, [letter.value], key=letter.key, headers=letter.headers, timestamp=letter.timestamp)

    def own_letter(self, value: Any) -> Event:
        about: dict[str, Any] = {"event_id": "e-1", "key": b"anna", "headers": [("ce_id", b"e-1"), ("own", b"1")]}
        why: dict[str, Any] = {"reason": "invalid-value", "field": "id", "detail": "is a string, not a long"}
        more = about | why | {"topic": self.orders, "producer": "shop", "timestamp": time.time_ns() // 1_000_000}
        make = letter_of_bytes if isinstance(value, bytes | None) else letter_of_value
        return make(self.dead_letters, value=value, **more)

    def triage(self) -> None:
        client = self.config.cluster("one").client_config()
        with Ledger.open(self.config.ledger_url()) as ledger:
            operation = ledger.begin("dlq-triage", "run", cluster="one", resources=[], who="anna", parameters={})
            triage(client, "one", self.dead_letters, ledger.letters, operation)
            operation.finish("done", "triaged", {})

    def show(self, offset: int, *options: str) -> tuple[int, str]:
        arguments = ["dlq", "show", f"{self.dead_letters}/0/{offset}", *options]
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        return result.exit_code, result.stdout

    def shown(self, offset: int, *options: str) -> dict[str, Any]:
        code, output = self.show(offset, "--json", *options)
        assert code == 0
        return dict(json.loads(output))


@pytest.fixture
def desk(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    desk = Desk(stack, tmp_path, monkeypatch)
    yield desk
    desk.door.close()


def test_an_own_letter_is_shown_with_the_value_that_fits_no_schema(desk: Desk) -> None:
    desk.write(desk.own_letter({"id": "sieben", "note": "Zoë", "price": Decimal("1.10")}))
    desk.triage()
    desk.door.open = False  # not needed for this
    code, output = desk.show(0)
    assert code == 0
    assert "The value, json:" in output
    assert '"note": "Zoë"' in output
    assert "is a string, not a long" in output
    letter = desk.shown(0)
    assert letter["record"]["headers"] == [["ce_id", "e-1"], ["own", "1"]]
    assert ["redrive-field", "id"] in letter["record"]["why"]
    assert letter["record"]["value"] == {"id": "sieben", "note": "Zoë", "price": {"$decimal": "1.10"}}
    assert (letter["reason"], letter["event_id"], letter["problem"]) == ("invalid-value", "e-1", None)


def test_an_own_letter_with_bytes_is_decoded_by_the_schema_that_they_were_written_with(desk: Desk) -> None:
    desk.write(desk.own_letter(desk.writer.encode({"id": 7, "note": "late"})))
    desk.triage()
    assert desk.shown(0)["record"] | {"form": "avro", "value": {"id": 7, "note": "late"}} == desk.shown(0)["record"]
    assert '"note": "late"' in desk.show(0)[1]


def test_bytes_that_can_not_be_decoded_are_shown_as_they_are_and_why(desk: Desk) -> None:
    desk.write(desk.own_letter(b"\x07not a frame" + bytes(500)))
    desk.triage()
    code, output = desk.show(0)
    assert code == 0
    assert "the first byte is 7, not the magic byte 0" in output
    assert "00000000  07 6e 6f 74 20 61 20 66 72 61 6d 65 00" in output
    assert "… and 256 bytes more; all of them: --raw" in output
    assert desk.shown(0)["record"]["form"] == "bytes"


def test_raw_shows_every_byte_and_asks_no_registry(desk: Desk) -> None:
    value = desk.writer.encode({"id": 7, "note": "x" * 1000})
    desk.write(desk.own_letter(value))
    desk.triage()
    asked = len(desk.door.asked)
    code, output = desk.show(0, "--raw")
    assert code == 0
    assert output.splitlines()[-1].startswith("000003f0  ")
    assert "bytes more" not in output
    assert base64.b64decode(desk.shown(0, "--raw")["record"]["bytes"]) == value
    assert len(desk.door.asked) == asked


def test_a_letter_of_kafka_connect_is_decoded_and_tells_its_exception(desk: Desk) -> None:
    desk.send(desk.dead_letters, desk.orders_of([1, 2]), headers=CONNECT)
    desk.triage()
    letter = desk.shown(1)
    assert letter["record"]["value"] == {"id": 2, "note": None}
    assert letter["record"]["headers"] == [["trace", "hex:ff00"]]
    assert [name for name, _ in letter["record"]["why"]] == [name for name, _ in CONNECT[1:]]
    output = desk.show(1)[1]
    assert "no such \\x1b[31mcolumn" in output
    assert "\x1b" not in output


def test_a_tombstone_has_no_value(desk: Desk) -> None:
    desk.write(desk.own_letter(None))
    desk.triage()
    assert "There is no value." in desk.show(0)[1]
    assert desk.shown(0)["record"] | {"form": "none", "value": None} == desk.shown(0)["record"]


def test_a_letter_that_retention_has_deleted_is_told_from_the_ledger(desk: Desk) -> None:
    desk.write(desk.own_letter({"id": "one"}))
    desk.write(desk.own_letter({"id": "two"}))
    desk.triage()
    admin = AdminClient({"bootstrap.servers": desk.bootstrap})
    (deleted,) = admin.delete_records([TopicPartition(desk.dead_letters, 0, 1)]).values()
    deleted.result()
    code, output = desk.show(0)
    assert code == 0
    assert GONE in output
    assert "invalid-value" in output
    letter = desk.shown(0)
    assert (letter["record"], letter["problem"], letter["reason"]) == (None, GONE, "invalid-value")
    assert desk.shown(1)["record"]["value"] == {"id": "two"}


def test_another_record_at_the_letters_place_is_not_taken_for_it(desk: Desk) -> None:
    desk.write(desk.own_letter({"id": "one"}))
    desk.triage()
    admin = AdminClient({"bootstrap.servers": desk.bootstrap})
    admin.delete_topics([desk.dead_letters])[desk.dead_letters].result()
    while desk.dead_letters in admin.list_topics(timeout=10).topics:
        time.sleep(0.1)
    code, output = desk.show(0)
    assert code == 2
    assert "is not known at" in output
    apply_topics(desk.config)
    assert desk.shown(0)["problem"] == GONE
    desk.write(desk.own_letter({"id": "another", "note": "longer"}))
    assert desk.shown(0)["problem"] == GONE


def test_without_the_registry_all_but_the_decoded_value_is_shown(desk: Desk) -> None:
    desk.write(desk.own_letter(desk.writer.encode({"id": 7, "note": "late"})))
    desk.triage()
    desk.door.open = False
    code, output = desk.show(0)
    assert code == 3
    assert f"registry {desk.door.url} is unavailable" in output
    assert "is a string, not a long" in output
    assert "late" in output.splitlines()[-1]  # in the dump
    code, output = desk.show(0, "--json")
    assert (code, json.loads(output)["record"]["form"]) == (3, "bytes")
