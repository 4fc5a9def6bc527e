"""Letters that can't be read, go nowhere, or are gone: the rest of the batch gets through, and the three sums agree."""

from __future__ import annotations

import itertools
import json
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from deployments.local.stack import Stack
from redrive.avro.schema import parse
from redrive.coding import Writer
from redrive.config import Config
from redrive.deadletters.correction import Batch, Judge, OrderGuard, correct
from redrive.deadletters.letter import letter_of_bytes, letter_of_value
from redrive.deadletters.selection import Selection
from redrive.deadletters.triage import triage
from redrive.events import Event, Headers
from redrive.ledger import Ledger
from redrive.pump.names import PARKING_TOPIC
from redrive.topics import apply_topics
from tests.stack.backlog import word
from tests.stack.clinic import Clinic
from tests.stack.platform import ORDER
from tests.stack.test_dlq_correction_flow import header, run

pytestmark = pytest.mark.timeout(300)

NOW = time.time_ns() // 1_000_000


class Ward(Clinic):
    """A clinic with a second main topic, and another system's dead-letter topic, on the same cluster."""

    def __init__(self, stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(stack, folder, monkeypatch)
        self.returns, self.foreign = f"returns-{self.group}", f"connect-failures-{self.group}"
        text, ledger, rest = self.file.read_text().partition("[ledger]")
        text += f'[topics."{self.returns}"]\ndomain = "sales"\npartitions = 1\nreplication = 1\nschema = "order.avsc"\n'
        text += f'[topics."{self.foreign}"]\ndomain = "sales"\npartitions = 1\nreplication = 1\ndead_letters = true\n'
        self.file.write_text(text + ledger + rest)
        self.config = Config.load(self.file)
        apply_topics(self.config)
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap})
        self._numbers = itertools.count()

    def topics(self) -> set[str]:
        return set(self.admin.list_topics(timeout=10).topics)

    def put(self, topic: str, *records: dict[str, Any]) -> None:
        """Write records as they are."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "message.max.bytes": 5_000_000})
        for record in records:
            producer.produce(topic, **{"partition": 0} | record)
        assert producer.flush(30) == 0

    def letters(self, *letters: Event) -> None:
        """Write letters as the SDK does."""
        records = [
            {"value": each.value, "key": each.key, "headers": each.headers, "timestamp": each.timestamp}
            for each in letters
        ]
        self.put(self.dead_letters, *records)

    def of_value(self, value: Any, **more: Any) -> Event:
        return letter_of_value(self.dead_letters, value=value, **self._about(more))

    def of_bytes(self, value: bytes | None, **more: Any) -> Event:
        return letter_of_bytes(self.dead_letters, value=value, **self._about(more))

    def _about(self, more: dict[str, Any]) -> dict[str, Any]:
        id_ = f"e{next(self._numbers)}"  # letters of one event would be one
        about: dict[str, Any] = {"event_id": id_, "key": b"k", "headers": [("ce_id", id_.encode())]}
        about |= {"topic": self.orders}
        return about | {"reason": "invalid-value", "detail": "", "producer": self.group, "timestamp": NOW} | more

    def good(self, number: int, **more: Any) -> Event:
        return self.of_value({"id": number}, **more)

    def triage_all(self, *topics: str) -> None:
        with Ledger.open(self.config.ledger_url()) as ledger:
            for topic in topics or (self.dead_letters,):
                operation = ledger.begin("dlq-triage", "run", cluster="one", resources=[], who="anna", parameters={})
                triage(self.config.cluster("one").client_config(), "one", topic, ledger.letters, operation)
                operation.finish("done")

    def set(self, topic: str, **config: str) -> None:
        entries = [
            ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
            for name, value in config.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
        self.admin.incremental_alter_configs([resource])[resource].result()

    def delete(self, topic: str) -> None:
        self.admin.delete_topics([topic])[topic].result()
        while topic in self.topics():
            time.sleep(0.1)

    def told(self) -> dict[str, str]:
        """Letter → fate and reason, by the ledger."""
        with Ledger.open(self.config.ledger_url()) as ledger:
            found = {}
            for letter in ledger.letters.find(Selection(fates=[]), limit=10_000):
                decisions = ledger.letters.story(letter.id).decisions
                reason = decisions[-1].fate.reason if decisions else ""
                found[letter.id.short.removeprefix(f"{self.dead_letters}/0/")] = f"{letter.fate} {reason}".strip()
        return found

    def rules_of(self, offset: str) -> tuple[str, ...]:
        """Rules that its last fate names."""
        with Ledger.open(self.config.ledger_url()) as ledger:
            (letter,) = ledger.letters.find(Selection(fates=[], ids=[f"{self.dead_letters}/0/{offset}"]), limit=1)
            return ledger.letters.story(letter.id).decisions[-1].fate.rules

    def ids(self) -> list[int]:
        """What is on the main topic, but for tombstones."""
        reader = self.registry.reader()
        values = (message.value() for message in self.read(self.orders))
        return sorted(reader.decode(value)["id"] for value in values if value is not None)

    def check_sums(self) -> None:
        """Outcome, read-back and ledger agree, and the ledger is whole."""
        operation = self.operation()
        counts, evidence = dict(operation.counts or {}), operation.evidence or {}
        assert evidence["findings"] == []
        letters, left = counts.pop("letters"), counts["left"]
        assert letters == sum(counts.values())
        written = sum(counts[fate] for fate in ("published", "rejected", "parked"))
        assert sum(sum(unit["written"].values()) for unit in evidence["units"]) == written
        assert sum(cluster["found"] for cluster in evidence["clusters"].values()) == written
        with Ledger.open(self.config.ledger_url()) as ledger:
            assert sum(ledger.letters.fates_by(operation.id).values()) == letters - left
            assert ledger.verify_chain() == []


@pytest.fixture
def ward(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ward]:
    ward = Ward(stack, tmp_path, monkeypatch)
    monkeypatch.setenv("REDRIVE_CONFIG", str(ward.file))
    settings = {PREFECT_API_URL: stack.environment()["PREFECT_API_URL"], PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with temporary_settings(updates=settings):
        yield ward


def damaged(letter: Event, name: str, value: bytes) -> Event:
    letter.headers = [(each, value if each == name else old) for each, old in letter.headers]
    return letter


def test_letters_that_can_not_be_read_are_left_and_the_others_get_through(ward: Ward) -> None:
    framed = ward.writer.encode({"id": 5})
    letters = [
        (ward.good(1), "published"),
        (ward.of_bytes(b"\x01 no frame"), "none"),
        (ward.of_bytes(b"\x00\x7f\xff\xff\xff" + framed[5:]), "none"),
        (ward.of_bytes(framed[:-1]), "none"),
        (ward.of_bytes(framed + b"\x00"), "none"),
        (ward.of_bytes(framed, key=None), "published"),
        (damaged(ward.good(90), "redrive-timestamp", b"9" * 30), "none"),
        (damaged(ward.good(91), "redrive-timestamp", b"-7"), "none"),
        (damaged(ward.good(92), "redrive-encoding", b"xml"), "none"),
        (damaged(ward.good(93), "redrive-topic", b"no topic!"), "none"),
        (damaged(ward.good(94), "redrive-attempt", b"\xff"), "none"),
        (ward.good(6, timestamp=0, key=b"of 1970"), "published"),
        (ward.of_bytes(None), "published"),
        (ward.good(95, topic=ward.refunds), "none"),
        (ward.good(96, topic="of-nobody"), "none"),
        (ward.of_value({"id": object()}), "none"),
        (ward.of_value({"id": "x"}), "rejected invalid-value"),
        (ward.good(7), "published"),
    ]
    ward.letters(*(letter for letter, _ in letters))
    ward.triage_all()

    state = run(rules=None)

    assert word(state) == "proved", state.message
    assert ward.told() == {str(offset): fate for offset, (_, fate) in enumerate(letters)}
    assert ward.ids() == [1, 5, 6, 7]
    assert sum(message.value() is None for message in ward.read(ward.orders)) == 1
    ward.check_sums()


def test_a_schema_that_was_deleted_makes_its_letters_unreadable_and_no_others(ward: Ward) -> None:
    lost = f"lost-{ward.group}"
    schema = ORDER | {"name": "Lost", "doc": lost}
    writer = Writer(ward.orders, ward.register(lost, schema), 1, parse(json.dumps(schema)))
    ward.letters(ward.good(1), ward.of_bytes(writer.encode({"id": 2})), ward.good(3))
    ward.triage_all()
    registry = ward.client()
    registry.delete_subject(lost)
    registry.delete_subject(lost, permanent=True)

    state = run(rules=None)

    assert word(state) == "proved", state.message
    assert ward.told() == {"0": "published", "1": "none", "2": "published"}
    ward.check_sums()


def test_a_main_topic_that_lost_its_schema_or_is_gone_keeps_only_its_own_letters(ward: Ward) -> None:
    ward.letters(ward.good(1), ward.good(2, topic=ward.returns), ward.good(3))
    ward.triage_all()
    subject, registry = f"{ward.returns}-value", ward.client()
    registry.delete_subject(subject)

    assert word(run(rules=None)) == "proved"

    assert ward.told() == {"0": "published", "1": "none", "2": "published"}
    assert "no-schema" in str((ward.operation().evidence or {})["reasons"])
    ward.register(subject, ORDER)
    ward.delete(ward.returns)
    ward.letters(ward.good(4))
    ward.triage_all()

    assert word(run(rules=None)) == "proved"

    assert ward.told() == {"0": "published", "1": "none", "2": "published", "3": "published"}
    assert "main-topic-gone" in str((ward.operation().evidence or {})["reasons"])
    assert ward.ids() == [1, 3, 4]
    ward.check_sums()


def test_a_main_topic_that_went_with_the_letters_of_a_dead_run_is_found_out_once(ward: Ward) -> None:
    """What the dead run had published there can't be proved any more; it does not stand in the way for ever."""
    ward.letters(ward.good(1), ward.good(2, topic=ward.returns))
    ward.triage_all()
    with Ledger.open(ward.config.ledger_url()) as ledger:
        dead = ledger.begin("dlq-correction", "run", cluster="one", resources=[], who="anna", parameters={})
        upto = ledger.letters.last_entry()
        (unit,) = Batch(ledger.letters.subjects(Selection(), upto=upto, also_of=dead.id)).units
        targets: Any = {topic: ward.registry.writer(topic) for topic in (ward.orders, ward.returns)}
        judge = Judge(None, targets, ward.registry.reader(), attempts=3)
        done = correct(
            ward.config, unit, judge, OrderGuard({}), "hold", operation=dead.id, seen=None, record_fates=print
        )
        assert done.outcome.published == 2
        dead.finish("failed")
    ward.delete(ward.returns)
    ward.letters(ward.good(3))
    ward.triage_all()

    state = run(rules=None)

    assert word(state) == "failed"
    assert f"{ward.returns}: 1 events are missing" in str(state.message)
    assert ward.told() == {"0": "published", "1": "doubtful not-read-back", "2": "published"}
    ward.letters(ward.good(4))
    ward.triage_all()
    assert word(run(rules=None)) == "proved"
    assert ward.ids() == [1, 3, 4]
    ward.check_sums()


def test_a_letter_of_a_megabyte_goes_through_and_one_that_its_topic_does_not_take_is_parked(ward: Ward) -> None:
    ward.set(ward.dead_letters, max_message_bytes="4000000")
    ward.set(ward.orders, max_message_bytes="1200000")
    ward.letters(
        ward.good(1),
        ward.of_bytes(ward.writer.encode({"id": 2, "note": os.urandom(500_000).hex()})),
        ward.of_bytes(
            ward.writer.encode({"id": 3, "note": os.urandom(1_500_000).hex()}),
            headers=[("ce_id", ward.group.encode())],
        ),
        ward.good(4),
    )
    ward.triage_all()

    state = run(rules=None)

    assert word(state) == "proved", state.message
    assert ward.told() == {"0": "published", "1": "published", "2": "parked refused", "3": "published"}
    assert ward.ids() == [1, 2, 4]
    (parked,) = [m for m in ward.read(PARKING_TOPIC) if header(m, "ce_id") == ward.group.encode()]
    assert header(parked, "redrive-topic") == ward.orders.encode()
    assert b"MSG_SIZE_TOO_LARGE" in (header(parked, "redrive-reason") or b"")
    ward.check_sums()


def test_a_rule_that_raises_fails_its_letters_alone(ward: Ward) -> None:
    (ward.file.parent / "faulty.yaml").write_text("""\
match: first
rules:
  - {name: faulty, match: {reason: handler-failed}, function: "tests.unit.rule_functions:fail"}
  - {name: fine, match: {}, do: [{op: convert, path: /id, to: integer}]}
""")
    ward.letters(ward.good(1), ward.good(2, reason="handler-failed"), ward.of_value({"id": "3"}))
    ward.triage_all()

    state = run(rules="faulty.yaml")

    assert word(state) == "proved", state.message
    assert ward.told() == {"0": "published", "1": "rejected rule-failed", "2": "published"}
    assert header(ward.read(ward.dead_letters)[-1], "redrive-detail") == b"it raised KeyError"
    assert ward.rules_of("1") == ("faulty",)
    ward.check_sums()


def test_letters_of_other_systems_go_to_their_main_topic_without_what_those_have_added(ward: Ward) -> None:
    connect: Headers = [
        ("trace", b"1"),
        ("__connect.errors.topic", ward.orders.encode()),
        ("__connect.errors.connector.name", b"warehouse"),
        ("__connect.errors.exception.message", b"secret"),
    ]
    spring: Headers = [
        ("trace", b"2"),
        ("kafka_dlt-original-topic", ward.orders.encode()),
        ("kafka_dlt-original-timestamp", struct.pack(">q", NOW - 5_000)),
        ("kafka_dlt-exception-fqcn", b"java.lang.IllegalStateException"),
        ("kafka_dlt-exception-message", b"secret"),
    ]
    values = ward.orders_of([1, 2])
    ward.put(
        ward.foreign,
        {"value": values[0], "key": b"a", "headers": connect, "timestamp": NOW - 9_000},
        {"value": values[1], "key": None, "headers": spring, "timestamp": NOW},
        {"value": b"not avro", "key": b"c", "headers": connect},
        {"value": values[0], "key": b"d", "headers": [("who", b"knows")]},
    )
    ward.triage_all(ward.foreign)

    state = run(rules=None)

    assert word(state) == "proved", state.message
    assert sorted(ward.told().values()) == ["none", "none", "published", "published"]
    first, second = sorted(ward.read(ward.orders), key=lambda message: header(message, "trace") or b"")
    assert (first.key(), first.value(), first.timestamp()[1]) == (b"a", values[0], NOW - 9_000)
    assert (second.key(), second.value(), second.timestamp()[1]) == (None, values[1], NOW - 5_000)
    for message in (first, second):
        names = [name for name, _ in message.headers() or []]
        expected = ["trace", "redrive-attempt", "redrive-correction", "redrive-operation", "redrive-source"]
        assert names == expected
    ward.check_sums()


def test_letters_that_retention_took_after_the_plan_are_given_up_and_the_others_get_through(ward: Ward) -> None:
    ward.letters(*(ward.good(number) for number in range(6)))
    ward.triage_all()
    assert "6 of 6 letters would be published" in str(run("plan", rules=None).message)
    place = TopicPartition(ward.dead_letters, 0, 3)
    ward.admin.delete_records([place])[place].result()

    state = run(rules=None)

    assert word(state) == "proved", state.message
    assert ward.told() == {str(n): "skipped gone" if n < 3 else "published" for n in range(6)}
    assert ward.ids() == [3, 4, 5]
    ward.check_sums()


@pytest.mark.parametrize("anew", [False, True], ids=["deleted", "made anew"])
def test_a_dead_letter_topic_that_is_gone_does_not_keep_others_from_being_corrected(ward: Ward, anew: bool) -> None:
    connect: Headers = [("__connect.errors.topic", ward.orders.encode())]
    ward.put(ward.foreign, {"value": ward.orders_of([1])[0], "headers": connect})
    ward.letters(ward.good(2), ward.good(3))
    ward.triage_all(ward.foreign, ward.dead_letters)
    ward.delete(ward.dead_letters)
    if anew:
        apply_topics(ward.config)

    state = run(rules=None)

    assert word(state) == "proved", state.message
    assert sorted(ward.told().values()) == ["published", "skipped gone", "skipped gone"]
    assert ward.ids() == [1]
    ward.check_sums()
