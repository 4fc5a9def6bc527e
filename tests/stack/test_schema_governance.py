"""Schemas are checked beside a real registry, registered once, and deleted only when nothing needs them."""

from __future__ import annotations

import json
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deployments.local.stack import Stack
from redrive.cli import app
from redrive.config import Config
from redrive.deadletters.fate import Fate
from redrive.deadletters.letter import letter_of_bytes
from redrive.deadletters.letter_id import LetterId
from redrive.deadletters.triage import triage
from redrive.envelope import headers
from redrive.ledger import Ledger
from redrive.ledger.looks import Look
from redrive.pump.names import PARKING_TOPIC
from redrive.pump.parking import ensure_parking
from redrive.schemas import SchemaRegistry
from redrive.standby.batches import Stored
from redrive.standby.dynamo import DynamoStore
from redrive.standby.lanes import Lane, Topics
from redrive.standby.writer import Entry, LaneWriter, SystemClock
from tests.stack.platform import Platform


def order(*fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    first = {"name": "id", "type": "long", "doc": "Its number."}
    return {
        "type": "record",
        "name": "Order",
        "namespace": "shop",
        "doc": "An order.",
        "fields": [first, *fields],
        **more,
    }


NOTE = {"name": "note", "type": ["null", "string"], "default": None, "doc": "Anything."}
TOTAL = {"name": "total", "type": "double", "doc": "In euro."}
LATER = {**TOTAL, "default": 0.0}


class Office(Platform):
    """A platform whose topics have a schema each, in a folder."""

    def __init__(self, stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(stack, folder, monkeypatch)
        (folder / "schemas").mkdir()
        text = self.file.read_text()
        for topic in ("orders", "refunds"):
            text = text.replace('schema = "order.avsc"', f'schema = "schemas/{topic}.avsc"', 1)
        self.file.write_text(text + '[ledger]\nurl = "sqlite:///ledger.db"\n')
        self.folder, self.subject = folder, f"{self.orders}-value"
        self.write(order(NOTE))
        self.write(order(NOTE), "refunds")
        self.config = Config.load(self.file)
        monkeypatch.setenv("REDRIVE_CONFIG", str(self.file))
        monkeypatch.chdir(folder)

    def write(self, schema: Any, topic: str = "orders") -> None:
        (self.folder / f"schemas/{topic}.avsc").write_text(json.dumps(schema, indent=2))

    def two_more_versions(self) -> bytes:
        """Register a version 2 whose schema nobody else has, and a version 3; gives an event of version 2."""
        mark = {**NOTE, "name": f"mark_{uuid.uuid4().hex}"}
        self.second_schema = order(NOTE, mark)
        self.second = self.register(self.subject, self.second_schema)
        self.register(self.subject, order(NOTE, mark, LATER))
        assert self.registry.versions(self.orders)[2] == self.second
        return self.second.to_bytes(5, "big") + b"\2\0\0"

    def store(self, cluster: str, value: bytes) -> None:
        """Store an event as a producer does when the cluster is away."""
        config = self.config.standby
        store = DynamoStore(config.table, config.region, config.endpoint)
        Topics(store, cluster).lanes(self.orders, 2)
        lane = Lane(cluster, self.orders, 1)
        writer = LaneWriter(store, lane, "shop", clock=SystemClock(), grace=0.0, seal_wait=5.0)
        assert writer.enter(must_divert=True) is Entry.STANDBY
        assert writer.store([Stored("e-1", b"k", value, [], 1)])

    def redrive(self, *arguments: str) -> tuple[int, Any]:
        result = CliRunner().invoke(app, ["schemas", *arguments, "--json"])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, json.loads(result.stdout)

    def refused(self, version: int) -> str:
        """Why a version may not be deleted."""
        result = CliRunner().invoke(app, ["schemas", "delete", self.subject, str(version), "--yes"])
        assert type(result.exception).__name__ == "SchemaInUseError", result.output
        assert version in self.client().get_versions(self.subject)
        return str(result.exception)


@pytest.fixture
def office(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Office:
    return Office(stack, tmp_path, monkeypatch)


def broken(told: Any) -> list[tuple[str, str, str, int]]:
    errors = (one for one in told["findings"] if one["severity"] == "error")
    return [(one["rule"], one["topic"], one["path"], one["line"]) for one in errors]


def test_a_schema_that_may_not_follow_the_latest_version_is_told_with_topic_field_and_line(office: Office) -> None:
    assert office.redrive("check", "schemas")[0] == 0
    office.write(order(NOTE, TOTAL))
    code, told = office.redrive("check", "schemas")
    line = next(n for n, text in enumerate(json.dumps(order(NOTE, TOTAL), indent=2).splitlines()) if '"total"' in text)
    assert (code, told["compatibility"]) == (1, "checked")
    assert broken(told) == [("incompatible", office.orders, "total", line)]
    office.client().set_compatibility(office.subject, "NONE")
    assert office.redrive("check", "schemas")[0] == 0


def test_a_rule_about_all_versions_is_asked_about_all_versions(office: Office) -> None:
    """A registry that is asked about the latest only says yes, and refuses it when it comes to that."""
    office.register(office.subject, order(NOTE, LATER))
    office.write(order(NOTE, TOTAL))
    assert office.redrive("check", "schemas")[0] == 0
    office.client().set_compatibility(office.subject, "BACKWARD_TRANSITIVE")
    code, told = office.redrive("check", "schemas")
    assert code == 1
    assert "may not follow the versions that there are by BACKWARD_TRANSITIVE: is new" in told["findings"][0]["reason"]


def test_a_schema_that_was_rolled_back_is_told_since_producers_stay_with_the_latest(office: Office) -> None:
    office.two_more_versions()
    office.write(office.second_schema)
    code, told = office.redrive("check", "schemas/orders.avsc")
    (found,) = told["findings"]
    assert (code, found["rule"], found["severity"], found["topic"]) == (0, "rolled-back", "advice", office.orders)
    assert "is version 2 again, and the latest is 3" in found["reason"]
    assert office.redrive("check", "schemas/orders.avsc", "--strict")[0] == 1


def test_what_readers_of_the_latest_version_can_t_read_is_found_where_the_rule_is_forward(office: Office) -> None:
    office.client().set_compatibility(office.subject, "FORWARD")
    office.write({**order(), "fields": [{**NOTE, "name": "other"}]})
    code, told = office.redrive("check", "schemas/orders.avsc")
    assert code == 1
    assert [one["path"] for one in told["findings"]] == ["id"]


def test_schemas_that_pass_are_registered_once_and_the_others_are_not(office: Office) -> None:
    office.write(order(NOTE, LATER))
    office.write(order(NOTE, LATER, doc=""), "refunds")
    code, done = office.redrive("register", "schemas", "--dry-run")
    assert code == 1
    assert [one["outcome"] for one in done] == ["would be registered", "refused"]
    code, done = office.redrive("register", "schemas")
    assert code == 1
    registered, refused = done
    assert (registered["topic"], registered["outcome"], registered["version"]) == (office.orders, "registered", 2)
    assert registered["schema_id"] == office.registry.versions(office.orders)[2]
    assert (refused["topic"], refused["outcome"]) == (office.refunds, "refused")
    assert refused["reason"].startswith("doc: ")
    office.write(order(NOTE, LATER), "refunds")
    code, done = office.redrive("register", "schemas")
    assert code == 0
    assert [(one["outcome"], one["version"]) for one in done] == [("there already", 2), ("registered", 2)]


def test_writers_are_told_with_the_versions_that_they_write(office: Office) -> None:
    def write(source: str, version: int, at: int) -> None:
        value = office.registry.versions(office.orders)[version].to_bytes(5, "big") + b"\2\0"
        head = headers(uuid.uuid4().hex, source=source, type=office.orders, time_ms=at)
        office.send(office.orders, [value], headers=head, timestamp=at)

    office.two_more_versions()
    now = time.time_ns() // 1_000_000
    write("shop", 1, now - 90_000)
    write("shop", 2, now - 60_000)
    write("shop", 2, now - 50_000)
    write("till", 3, now - 20_000)
    office.send(office.orders, [b"no frame", None])
    code, told = office.redrive("writers", office.orders)
    assert (code, told["latest"]) == (0, 3)
    assert [(one["writer"], one["version"], one["events"]) for one in told["writers"]] == [
        ("till", 3, 1),
        ("shop", 2, 2),
        ("shop", 1, 1),
    ]
    table = CliRunner().invoke(app, ["schemas", "writers", office.orders]).stdout
    assert "writers 2, of which 1 have written with other versions than the latest" in table


def test_a_version_stays_as_long_as_an_event_of_it_is_in_a_topic(office: Office) -> None:
    office.send(office.refunds, [office.two_more_versions()] * 3)
    assert office.refused(2).endswith(f"it is in use: 3 events in {office.refunds} on two")
    assert office.refused(3).endswith(f"it is the latest, which producers of {office.orders} start with")


def test_a_version_stays_as_long_as_an_event_of_it_waits_in_the_standby_store(office: Office) -> None:
    office.store("one", office.two_more_versions())
    assert office.refused(2).endswith("1 events in the standby store for one")


def test_a_version_stays_as_long_as_an_event_of_it_waits_for_a_cluster_that_has_left_the_settings(
    office: Office,
) -> None:
    gone = f"gone-{uuid.uuid4().hex[:8]}"
    office.store(gone, office.two_more_versions())
    with Ledger.open(office.config.ledger_url()) as ledger:
        now = datetime.now(UTC)
        ledger.looks.enter(Look(gone, now, "unavailable", now))
    assert office.refused(2).endswith(f"1 events in the standby store for {gone}, which has left the settings")


def test_a_version_stays_as_long_as_an_event_of_it_is_parked(office: Office) -> None:
    ensure_parking(office.config.cluster("two").client_config())
    office.send(PARKING_TOPIC, [office.two_more_versions()])
    assert f"1 events in {PARKING_TOPIC} on two" in office.refused(2)


def test_a_version_stays_as_long_as_a_dead_letter_has_it_that_has_not_come_to_its_end(office: Office) -> None:
    value = office.two_more_versions()
    letter = letter_of_bytes(
        office.dead_letters, value=value, event_id="e-1", key=b"k", headers=[], reason="handler-failed", field="",
        detail="", topic=office.orders, producer=office.group, timestamp=1,
    )  # fmt: skip
    office.send(office.dead_letters, [letter.value], headers=letter.headers)
    assert "up to 1 letters in" in office.refused(2)
    with Ledger.open(office.config.ledger_url()) as ledger:
        operation = ledger.begin("dlq-triage", "run", cluster="one", resources=[], who="anna", parameters={})
        triage(office.config.cluster("one").client_config(), "one", office.dead_letters, ledger.letters, operation)
        operation.finish("done")
        in_use = "in use: 1 dead letters that have not come to their end: `redrive dlq list --schema-id"
        assert in_use in office.refused(2)
        correction = ledger.begin("dlq-correction", "run", cluster="one", resources=[], who="anna", parameters={})
        known = LetterId("one", office.dead_letters, 0, 0)
        ledger.letters.record_fates(correction, [Fate(known, "doubtful")])
        assert in_use in office.refused(2), "somebody has to look at it, and then it has to be read"
        ledger.letters.record_fates(correction, [Fate(known, "discarded")])
        correction.finish("done")
    assert office.redrive("delete", office.subject, "2", "--dry-run")[0] == 0


def test_a_version_that_nothing_needs_is_deleted_for_good(office: Office) -> None:
    office.two_more_versions()
    office.send(office.orders, office.orders_of([1]))
    assert office.redrive("delete", office.subject, "2", "--dry-run") == (
        0,
        {"subject": office.subject, "version": 2, "id": office.second, "deleted": False},
    )
    assert office.redrive("delete", office.subject, "2", "--yes")[1]["deleted"]
    assert office.client().get_versions(office.subject) == [1, 3]
    with pytest.raises(Exception, match="not in the registry"):
        SchemaRegistry({"url": office.registry_url}).schema(office.second)


def test_a_version_goes_while_its_id_is_kept_by_another_subject(office: Office) -> None:
    """Events with it stay readable, so nothing is asked about them."""
    office.send(office.orders, [office.two_more_versions()])
    office.client().set_compatibility(f"{office.refunds}-value", "NONE")
    assert office.register(f"{office.refunds}-value", office.second_schema) == office.second
    result = CliRunner().invoke(app, ["schemas", "delete", office.subject, "2", "--yes"])
    assert f"is deleted: its id stays readable by {office.refunds}-value version 2" in result.stdout
    assert office.client().get_versions(office.subject) == [1, 3]
    assert SchemaRegistry({"url": office.registry_url}).schema(office.second)
