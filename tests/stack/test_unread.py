"""Dead letters that no triage has read: a look at their cluster tells of them, whatever the schedule of triage is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from prefect.events.schemas.events import Event
from prefect.logging import disable_run_logger

from deployments.local.stack import Stack
from redrive.deadletters.unread import unread_letters
from redrive.health.facts import Books
from redrive.health.judging import judge
from redrive.ledger import Ledger
from tasks.cluster_health import unread
from tasks.cluster_health.unread import UNREAD, tell_unread
from tests.stack.clinic import Clinic
from tests.unit.health.test_health import AWAY, GOOD, NOW, run


class Looks:
    """Looks at the cluster one, and what Prefect's server was sent of each."""

    def __init__(self, clinic: Clinic, sent: list[Event]) -> None:
        self._clinic, self._sent = clinic, sent

    def told(self, **parts: Any) -> list[Event]:
        self._sent.clear()
        tell_unread(self._clinic.config, [judge(replace(GOOD, cluster="one", **parts))])
        return list(self._sent)


@pytest.fixture
def clinic(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    return Clinic(stack, tmp_path, monkeypatch)


@pytest.fixture
def looks(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> Iterator[Looks]:
    sent: list[Event] = []
    monkeypatch.setattr(unread, "send", sent.extend)
    with disable_run_logger():
        yield Looks(clinic, sent)


def test_letters_are_told_of_with_each_look_until_a_triage_has_read_them(clinic: Clinic, looks: Looks) -> None:
    assert looks.told() == []
    clinic.publish({"id": "1"}, {"id": "2"})
    for _ in range(2):
        (event,) = looks.told()
        assert (event.event, event.resource.id) == (UNREAD, "redrive.cluster.one")
        assert event.payload == {"cluster": "one", "letters": 2, "topics": {clinic.dead_letters: 2}}
    clinic.triage()
    assert looks.told() == []
    clinic.publish({"id": "3"})
    assert [event.payload["letters"] for event in looks.told()] == [1]


def test_nothing_is_told_that_would_start_a_triage_for_nothing(clinic: Clinic, looks: Looks) -> None:
    clinic.publish({"id": "1"})
    for status in ("running", "failed"):
        assert looks.told(books=Books({}, {}, (), (run(status, "dlq-triage"),)), at=NOW) == [], status
    assert looks.told(state=AWAY) == [], "it could not be read"
    assert len(looks.told(books=Books({}, {}, (), (run("done", "dlq-triage"),)))) == 1


def test_what_retention_has_taken_and_topics_that_are_not_there_are_not_counted(clinic: Clinic) -> None:
    clinic.publish({"id": "1"}, {"id": "2"}, {"id": "3"})
    client = clinic.config.cluster("one").client_config()
    admin = AdminClient(client)  # kept, or nobody would hear the answer
    (deleted,) = admin.delete_records([TopicPartition(clinic.dead_letters, 0, 2)]).values()
    deleted.result(30)
    with Ledger.open(clinic.config.ledger_url()) as ledger:
        found = unread_letters(client, "one", [clinic.dead_letters, "dlq.nobody"], ledger.letters, 10)
    assert found == {clinic.dead_letters: 1}
