"""The job `dlq-triage` on real dead-letter topics, as a flow run on a real Prefect server."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from deployments.follow import artifacts_of
from deployments.local.stack import Stack
from flows.dlq_triage import Triage, dlq_triage
from redrive.config import Config
from redrive.deadletters.selection import Selection
from redrive.ledger import Ledger
from redrive.ledger.letter_queries import Group, KnownLetter
from redrive.producer import EventProducer
from tasks.ending import report_key
from tests.stack.backlog import word
from tests.stack.platform import Platform

pytestmark = pytest.mark.timeout(300)
HOUR = 3_600_000


class Office(Platform):
    """A platform whose own dead letters stand beside those of other systems."""

    def __init__(self, stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(stack, folder, monkeypatch)
        self.foreign = f"connect-failures-{self.group}"
        text = self.file.read_text() + (
            f'[topics."{self.foreign}"]\ndomain = "sales"\npartitions = 2\nreplication = 1\ndead_letters = true\n'
            '[ledger]\nurl = "sqlite:///ledger.db"\n'
        )
        self.file.write_text(text)
        self.config = Config.load(self.file)
        self._admin = AdminClient({"bootstrap.servers": self.bootstrap})
        self.create_foreign()

    def create_foreign(self) -> None:
        topic = NewTopic(self.foreign, 2, 1, config={"retention.ms": str(24 * HOUR)})
        self._admin.create_topics([topic])[self.foreign].result()

    def delete_foreign(self) -> None:
        self._admin.delete_topics([self.foreign])[self.foreign].result()
        while self.foreign in self._admin.list_topics(timeout=10).topics:
            time.sleep(0.1)

    def publish_bad(self, notes: int) -> None:
        """Publish events that do not fit their schema."""
        with EventProducer(self.group, self.config, topics=[self.orders]) as producer:
            for number in range(notes):
                producer.publish(self.orders, f"order-{number}", {"id": "not a number", "note": "secret"})

    def fail_elsewhere(self, letters: int, age: int = 0) -> None:
        """Write dead letters as Kafka Connect and Spring do, some milliseconds old."""
        producer = Producer({"bootstrap.servers": self.bootstrap})
        at = time.time_ns() // 1_000_000 - age
        for number in range(letters):
            headers: list[tuple[str, bytes]] = [
                ("__connect.errors.topic", self.refunds.encode()),
                ("__connect.errors.connector.name", b"warehouse"),
                ("__connect.errors.exception.class.name", b"org.apache.kafka.connect.errors.DataException"),
                ("__connect.errors.exception.message", b"secret"),
            ]
            if number % 2:
                headers = [
                    ("kafka_dlt-original-topic", self.refunds.encode()),
                    ("kafka_dlt-original-partition", struct.pack(">i", 0)),
                    ("kafka_dlt-original-offset", struct.pack(">q", number)),
                    ("kafka_dlt-original-consumer-group", b"billing"),
                    ("kafka_dlt-exception-fqcn", b"com.shop.PaymentException"),
                ]
            producer.produce(self.foreign, b"secret", b"k", number % 2, headers=headers, timestamp=at)
        assert producer.flush(30) == 0

    def groups(self) -> list[Group]:
        with Ledger.open(self.config.ledger_url()) as ledger:
            return ledger.letters.groups(Selection())

    def letters(self) -> list[KnownLetter]:
        with Ledger.open(self.config.ledger_url()) as ledger:
            return ledger.letters.find(Selection(), limit=1_000)

    def report(self) -> str:
        """The report of the latest run."""
        with Ledger.open(self.config.ledger_url()) as ledger:
            (operation, *_) = ledger.operations()
        with get_client(sync_client=True) as client:
            return str(artifacts_of(client, UUID(operation.id))[report_key("dlq-triage")].data)


@pytest.fixture
def office(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    office = Office(stack, tmp_path, monkeypatch)
    monkeypatch.setenv("REDRIVE_CONFIG", str(office.file))
    settings = {PREFECT_API_URL: stack.environment()["PREFECT_API_URL"], PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with temporary_settings(updates=settings):
        yield office


def run(**parameters: Any) -> State[Any]:
    return dlq_triage(Triage(**parameters), return_state=True)


def test_letters_of_all_systems_are_in_the_ledger_by_reason_producer_and_topic(office: Office) -> None:
    office.publish_bad(7)
    office.fail_elsewhere(10)

    state = run()

    assert (word(state), state.is_completed()) == ("triaged", True)
    found = {(group.reason, group.producer, group.topic): group.letters for group in office.groups()}
    assert found.pop(("invalid-value", office.group, office.orders)) == 7
    assert sorted((producer, topic, letters) for (_, producer, topic), letters in found.items()) == [
        ("billing", office.refunds, 5),
        ("warehouse", office.refunds, 5),
    ]
    report = office.report()
    assert report.startswith("## 17 open dead letters")
    assert "secret" not in report
    assert "secret" not in (office.file.parent / "ledger.db").read_bytes().decode(errors="replace")


def test_triage_goes_on_where_the_last_one_stopped_and_counts_nothing_twice(office: Office) -> None:
    office.fail_elsewhere(10)
    assert word(run()) == "triaged"
    office.fail_elsewhere(4)
    state = run()
    assert "14 open letters, 4 of them new" in str(state.message)
    assert "14 open letters, 0 of them new" in str(run().message)
    assert len(office.letters()) == 14


def test_a_plan_records_nothing(office: Office) -> None:
    office.fail_elsewhere(6)
    state = run(mode="plan")
    assert (word(state), str(state.message)) == ("planned", "planned: about 6 letters in 2 topics to triage")
    assert office.letters() == []
    assert "6 of them new" in str(run().message)


def test_letters_that_retention_takes_within_a_day_are_named_before_it_does(office: Office) -> None:
    office.fail_elsewhere(6, age=23 * HOUR)
    state = run()
    assert "6 may be deleted within a day" in str(state.message)
    report = office.report()
    assert "**6 letters may be deleted within a day**" in report
    assert f"| {office.foreign} [0] | one | 3 | 0 | 3 | 3 | 3 |" in report.replace("\u00a0", " ")


def test_a_topic_that_is_not_there_stops_no_other(office: Office) -> None:
    office.publish_bad(3)
    office.delete_foreign()
    state = run()
    assert (word(state), state.is_failed()) == ("failed", True)
    assert office.foreign in str(state.message)
    assert [group.letters for group in office.groups()] == [3]


def test_a_topic_made_anew_under_the_same_name_is_left_alone_and_said_so(office: Office) -> None:
    office.fail_elsewhere(10)
    run()
    office.delete_foreign()
    time.sleep(1)
    office.create_foreign()
    office.fail_elsewhere(2)
    state = run()
    assert word(state) == "triaged"
    assert "was deleted and made again under the same name" in office.report()
    assert len(office.letters()) == 10


def test_only_what_is_asked_for_is_read(office: Office) -> None:
    office.publish_bad(2)
    office.fail_elsewhere(4)
    assert "2 open letters" in str(run(topics=[office.dead_letters]).message)
    assert {letter.sighting.topic for letter in office.letters()} == {office.dead_letters}


def test_growth_is_told_to_whoever_listens(office: Office) -> None:
    office.fail_elsewhere(5)
    run()
    with get_client(sync_client=True) as client:
        body = {"filter": {"event": {"name": ["redrive.dead_letters.growing"]}}}
        deadline = time.monotonic() + 120
        while True:
            events = client.request("POST", "/events/filter", json=body).json()["events"]
            mine = [
                event
                for event in events
                if any(group["topic"] == office.refunds for group in event["payload"]["groups"])
            ]
            if mine or time.monotonic() > deadline:
                break
            time.sleep(0.5)
    assert [(event["payload"]["cluster"], event["payload"]["new"]) for event in mine] == [("one", 5)]
