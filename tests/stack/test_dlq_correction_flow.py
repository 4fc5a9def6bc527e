"""The job `dlq-correction` on real dead letters, as a flow run on a real Prefect server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from confluent_kafka import Message
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from deployments.follow import artifacts_of
from deployments.local.stack import Stack
from flows.dlq_correction import Correction, dlq_correction
from redrive.config import Config
from redrive.deadletters.letter import read_letter
from redrive.deadletters.selection import Selection
from redrive.deadletters.triage import triage
from redrive.ledger import Ledger, OperationRow
from redrive.producer import EventProducer
from redrive.pump.parking import PARKING_TOPIC
from tasks.ending import plan_key, report_key
from tests.stack.backlog import word
from tests.stack.platform import Platform

pytestmark = pytest.mark.timeout(240)

RULES = """\
match: first
rules:
  - name: numbers as text
    match: {reason: invalid-value, field: id, when: "type(value.id) == string && value.id.matches('^[0-9]+$')"}
    do:
      - {op: convert, path: /id, to: integer}
  - name: no number at all
    match: {reason: invalid-value, field: id, when: "type(value.id) == string && value.id == 'none'"}
    do:
      - {op: replace, path: /id, value: still no number}
  - name: tests
    match: {reason: invalid-value, field: id, when: "value.note == 'test'"}
    skip: it was a test
"""


class Clinic(Platform):
    """A platform with dead letters of its own, and rules that put some of them right."""

    def __init__(self, stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(stack, folder, monkeypatch)
        self.settings()
        (folder / "rules.yaml").write_text(RULES)

    def settings(self, corrections: str = 'approval = "none"') -> None:
        text = self.file.read_text().partition("[ledger]")[0]
        self.file.write_text(f'{text}[ledger]\nurl = "sqlite:///ledger.db"\n[corrections]\n{corrections}\n')
        self.config = Config.load(self.file)

    def publish(self, *values: Any, key: str = "k") -> None:
        """Publish values with the SDK; those that do not fit become letters."""
        with EventProducer(self.group, self.config, topics=[self.orders]) as producer:
            for value in values:
                producer.publish(self.orders, key, value)

    def triage(self) -> None:
        with Ledger.open(self.config.ledger_url()) as ledger:
            operation = ledger.begin("dlq-triage", "run", cluster="one", resources=[], who="anna", parameters={})
            triage(self.config.cluster("one").client_config(), "one", self.dead_letters, ledger.letters, operation)
            operation.finish("done")

    def fates(self) -> dict[int, str]:
        """Offset → fate of each letter."""
        with Ledger.open(self.config.ledger_url()) as ledger:
            letters = ledger.letters.find(Selection(fates=[]), limit=10_000)
        return {letter.sighting.offset: letter.fate for letter in letters}

    def operation(self) -> OperationRow:
        with Ledger.open(self.config.ledger_url()) as ledger:
            return ledger.operations()[0]

    def values(self) -> list[Any]:
        """What consumers find on the main topic, by offset."""
        reader = self.registry.reader()
        return [reader.decode(message.value() or b"") for message in self.read(self.orders)]

    def shown(self, key: str) -> str:
        """The plan or the report of the latest run."""
        with get_client(sync_client=True) as client:
            return str(artifacts_of(client, UUID(self.operation().id))[key].data)


@pytest.fixture
def clinic(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clinic]:
    clinic = Clinic(stack, tmp_path, monkeypatch)
    monkeypatch.setenv("REDRIVE_CONFIG", str(clinic.file))
    settings = {PREFECT_API_URL: stack.environment()["PREFECT_API_URL"], PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with temporary_settings(updates=settings):
        yield clinic


def run(mode: str = "run", **parameters: Any) -> State[Any]:
    return dlq_correction(Correction(**({"mode": mode, "rules": "rules.yaml"} | parameters)), return_state=True)


def header(message: Message, name: str) -> bytes | None:
    return dict(message.headers() or []).get(name)


def test_corrected_letters_are_on_their_main_topic_once_with_what_they_had(clinic: Clinic) -> None:
    before = time.time_ns() // 1_000_000
    clinic.publish({"id": "1"}, {"id": "2", "note": "fragile"}, key="anna")
    clinic.triage()
    (first, _) = letters = clinic.read(clinic.dead_letters)

    state = run()

    assert word(state) == "proved", state.message
    corrected = clinic.read(clinic.orders)
    assert clinic.values() == [{"id": 1, "note": None}, {"id": 2, "note": "fragile"}]
    assert [message.key() for message in corrected] == [b"anna", b"anna"]
    assert before <= corrected[0].timestamp()[1] == read_letter(first.headers(), b"", first.value()).timestamp
    assert [header(m, "ce_id") for m in corrected] == [header(letter, "ce_id") for letter in letters]
    assert header(corrected[0], "redrive-operation") == clinic.operation().id.encode()
    assert header(corrected[0], "redrive-attempt") == b"1"
    assert b"numbers as text" in (header(corrected[0], "redrive-correction") or b"")
    assert header(corrected[0], "redrive-reason") is None
    assert clinic.fates() == {0: "published", 1: "published"}


def test_a_second_run_finds_nothing_left(clinic: Clinic) -> None:
    clinic.publish({"id": "1"})
    clinic.triage()
    assert word(run()) == "proved"

    assert word(run()) == "nothing to correct"

    assert len(clinic.read(clinic.orders)) == 1


def test_a_plan_says_what_would_become_of_each_letter_and_writes_nothing(clinic: Clinic) -> None:
    clinic.publish({"id": "1"}, {"id": "none"}, {"id": None, "note": "test"}, {"id": "what?", "note": "now"})
    clinic.triage()

    state = run("plan")

    assert word(state) == "planned"
    assert "1 of 4 letters would be published, 1 rejected, 1 skipped, 1 left open" in (state.message or "")
    plan = clinic.shown(plan_key("dlq-correction"))
    assert "numbers as text" in plan
    assert "no-rule" in plan
    assert "| '1' | 1 |" in plan
    assert not clinic.read(clinic.orders)
    assert len(clinic.read(clinic.dead_letters)) == 4
    assert set(clinic.fates().values()) == {"none"}


def test_each_letter_ends_in_exactly_one_way_and_the_sums_agree(clinic: Clinic) -> None:
    clinic.publish({"id": "1"}, {"id": "none"}, {"id": None, "note": "test"}, {"id": "what?", "note": "now"})
    clinic.triage()

    state = run()

    assert word(state) == "proved", state.message
    assert clinic.fates() == {0: "published", 1: "rejected", 2: "skipped", 3: "none"}
    operation = clinic.operation()
    expected = {"letters": 4, "published": 1, "held": 0, "skipped": 1, "rejected": 1, "parked": 0, "left": 1}
    assert operation.counts == expected
    assert "Proved: 1 letter published again" in clinic.shown(report_key("dlq-correction"))


def test_a_letter_that_can_not_be_put_right_comes_back_once_with_one_attempt_more(clinic: Clinic) -> None:
    clinic.publish({"id": "none"})
    clinic.triage()

    assert word(run()) == "proved"

    (_, again) = clinic.read(clinic.dead_letters)
    letter = read_letter(again.headers(), again.key(), again.value())
    assert (letter.attempt, letter.reason, letter.field, letter.value) == (2, "invalid-value", "id", {"id": "none"})


def test_a_letter_that_fails_for_the_last_time_is_parked(clinic: Clinic) -> None:
    clinic.settings('approval = "none"\nattempts = 2')
    clinic.publish({"id": "none"})
    for _ in range(3):
        clinic.triage()
        run()

    assert clinic.fates() == {0: "rejected", 1: "parked"}
    assert header(clinic.read(PARKING_TOPIC)[-1], "redrive-topic") == clinic.orders.encode()


@pytest.mark.parametrize(
    ("order", "fate", "published"), [("hold", "held", 1), ("publish", "published", 2), ("skip", "skipped", 1)]
)
def test_a_letter_whose_key_has_a_newer_event_goes_by_the_policy(
    clinic: Clinic, order: str, fate: str, published: int
) -> None:
    clinic.publish({"id": "1"}, key="anna")
    time.sleep(0.01)
    clinic.publish({"id": 2}, key="anna")
    clinic.triage()

    assert word(run(order=order)) == "proved"

    assert clinic.fates() == {0: fate}
    assert len(clinic.read(clinic.orders)) == published
