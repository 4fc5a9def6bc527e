"""What a correction leaves for the sake of order, and what it does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from deployments.local.stack import Stack
from flows.dlq_correction import Correction, dlq_correction
from redrive.deadletters.correction.by_hand import LetterInHand
from redrive.deadletters.correction.order_guard import MainTopic
from redrive.deadletters.letter import letter_of_value
from redrive.deadletters.selection import Selection
from redrive.errors import UncorrectableLetterError
from redrive.ledger import Ledger
from redrive.murmur2 import partition_of
from redrive.standby.drain import open_store
from redrive.standby.lanes import DIVERT, OPEN, Gate, Lane, LaneLog, Topics
from redrive.standby.log import SEAL
from tasks.ending import plan_key
from tests.stack.backlog import word
from tests.stack.clinic import Clinic

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def clinic(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clinic]:
    clinic = Clinic(stack, tmp_path, monkeypatch)
    monkeypatch.setenv("REDRIVE_CONFIG", str(clinic.file))
    settings = {PREFECT_API_URL: stack.environment()["PREFECT_API_URL"], PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with temporary_settings(updates=settings):
        yield clinic


def run(**parameters: Any) -> State[Any]:
    return dlq_correction(Correction(mode="run", rules="rules.yaml", **parameters), return_state=True)


def test_a_letter_waits_until_the_lane_of_its_key_is_open(clinic: Clinic) -> None:
    clinic.publish({"id": "1"}, key="anna")
    clinic.publish({"id": "2"}, key="berta")
    clinic.triage()
    store = open_store(clinic.config)
    lanes = Topics(store, "one").lanes(clinic.orders, 8)
    number = partition_of(b"anna", lanes)
    assert number != partition_of(b"berta", lanes)
    log = LaneLog(store, Lane("one", clinic.orders, number))
    log.extend(log.state(), DIVERT, 1, "somebody")
    Gate(store, "one").bump()

    assert word(run()) == "proved"

    assert clinic.values() == [{"id": 2, "note": None}]
    assert clinic.fates() == {0: "none", 1: "published"}
    assert (clinic.operation().counts or {})["left"] == 1
    with Ledger.open(clinic.config.ledger_url()) as ledger:
        (anna,) = [each for each in ledger.letters.find(Selection()) if each.sighting.key == b"anna"]
        with pytest.raises(UncorrectableLetterError, match="standby-replay"):
            LetterInHand.take(clinic.config, ledger, clinic.registry, anna.id)

    log.extend(log.state(), SEAL, 1, "a replay")
    log.extend(log.state(), OPEN, 1, "a replay")
    Gate(store, "one").bump()

    assert word(run()) == "proved"

    assert sorted(value["id"] for value in clinic.values()) == [1, 2]
    assert clinic.fates() == {0: "published", 1: "published"}


def test_an_event_of_which_there_are_two_letters_is_published_once(clinic: Clinic) -> None:
    """As a consumer leaves it that dies between its letter and the commit of its offsets."""
    letter = letter_of_value(
        clinic.dead_letters, event_id="e17", key=b"k", value={"id": "1"}, headers=[("ce_id", b"e17")],
        topic=clinic.orders, reason="invalid-value", detail="", producer=clinic.group, timestamp=1_793_500_000_000,
        field="id",
    )  # fmt: skip
    letter.headers += [("redrive-partition", b"1"), ("redrive-offset", b"17")]
    clinic.send(clinic.dead_letters, [letter.value] * 2, key=letter.key, headers=letter.headers)
    clinic.triage()

    assert word(run()) == "proved"

    assert clinic.fates() == {0: "published", 1: "none"}
    assert "of events that have another letter, too" in clinic.shown(plan_key("dlq-correction"))
    with Ledger.open(clinic.config.ledger_url()) as ledger:
        (second,) = ledger.letters.find(Selection())
        with pytest.raises(UncorrectableLetterError, match="published again already, from another letter"):
            LetterInHand.take(clinic.config, ledger, clinic.registry, second.id)

    assert word(run()) == "proved"

    assert clinic.fates() == {0: "published", 1: "skipped"}
    assert clinic.values() == [{"id": 1, "note": None}]


def test_of_an_event_s_letters_one_goes_that_a_rule_is_for_even_if_another_one_came_first(clinic: Clinic) -> None:
    """As of two consumer groups that fail at it in their own ways."""
    for reason in ("handler-failed", "invalid-value"):
        letter = letter_of_value(
            clinic.dead_letters, event_id="e17", key=b"k", value={"id": "1"}, headers=[("ce_id", b"e17")],
            topic=clinic.orders, reason=reason, detail="", producer=clinic.group, timestamp=1_793_500_000_000,
            field="id",
        )  # fmt: skip
        letter.headers += [("redrive-partition", b"1"), ("redrive-offset", b"17")]
        clinic.send(clinic.dead_letters, [letter.value], key=letter.key, headers=letter.headers)
    clinic.triage()

    assert word(run()) == "proved"

    assert clinic.fates() == {0: "none", 1: "published"}
    assert "no rule matches it" in clinic.shown(plan_key("dlq-correction"))

    assert word(run()) == "proved"

    assert clinic.fates() == {0: "skipped", 1: "published"}
    assert clinic.values() == [{"id": 1, "note": None}]


def test_letters_of_a_key_all_go_in_their_order_where_brokers_give_events_their_time(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamped = ConfigResource(
        ResourceType.TOPIC,
        clinic.orders,
        incremental_configs=[
            ConfigEntry("message.timestamp.type", "LogAppendTime", incremental_operation=AlterConfigOpType.SET)
        ],
    )
    admin = AdminClient({"bootstrap.servers": clinic.bootstrap})
    admin.incremental_alter_configs([stamped])[stamped].result(10)
    clinic.publish({"id": "1"}, {"id": "2"})
    clinic.triage()
    read_on = MainTopic.read_on
    monkeypatch.setattr(MainTopic, "read_on", lambda self, **_: read_on(self))  # it looks before each transaction

    assert word(run(order="skip", rate=2)) == "proved"

    assert clinic.values() == [{"id": 1, "note": None}, {"id": 2, "note": None}]
    assert clinic.fates() == {0: "published", 1: "published"}
    assert "LogAppendTime" in clinic.shown(plan_key("dlq-correction"))
