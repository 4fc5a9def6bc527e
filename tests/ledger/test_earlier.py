"""When an operation passes for one that has entered all it did: taken for that too early, letters go out twice."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from redrive.deadletters.correction import Unit, earlier, settle_earlier, settling
from redrive.deadletters.correction.earlier import _is_settled
from redrive.deadletters.correction.source import Cursor
from redrive.deadletters.letter_id import LetterId
from redrive.deadletters.selection import Selection
from redrive.ledger import Ledger, Operation, Status, Verdict
from redrive.pump.checkpoint import Checkpoint
from redrive.pump.evidence import Evidence
from redrive.pump.names import PARKING_TOPIC
from redrive.pump.proof import Proof
from tests.ledger.letters import begin, fate, fill, sighting


@pytest.mark.parametrize(
    ("status", "verdict", "settled"),
    [
        ("done", "proved", True),
        ("done", "counted", True),
        ("failed", "failed", False),
        ("paused", None, False),
        ("cancelled", None, False),
    ],
)
def test_only_a_verdict_without_findings_settles_an_operation(
    ledger: Ledger, status: Status, verdict: Verdict | None, settled: bool
) -> None:
    dead, looking = begin(ledger, "dlq-correction"), begin(ledger, "dlq-correction")
    dead.finish(status, verdict)
    assert _is_settled(ledger, looking, dead.id) is settled


def test_an_operation_is_no_earlier_one_to_itself_and_one_that_nobody_knows_is(ledger: Ledger) -> None:
    looking = begin(ledger, "dlq-correction")
    assert _is_settled(ledger, looking, looking.id)
    assert not _is_settled(ledger, looking, "of a ledger that was lost")


class Record:
    """What was written of a letter, as it is read back."""

    def __init__(self, letter: int, offset: int = 0, topic: str = "flights") -> None:
        self.letter, self._offset, self._topic = letter, offset, topic

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def headers(self) -> None:
        return None


Settle = Callable[..., earlier.Earlier]


@pytest.fixture
def settle(monkeypatch: pytest.MonkeyPatch, ledger: Ledger) -> Settle:
    """Settle what an operation has left that wrote three letters of a partition and had come up to offset 5."""
    cluster = SimpleNamespace(client_config=dict)
    config: Any = SimpleNamespace(clusters={"local": cluster}, cluster=lambda _: cluster)

    def settle(
        dead: Operation,
        there: Sequence[Record],
        by: Operation,
        *,
        record: bool = True,
        batch: Sequence[int] = (0, 1, 2, 3, 9),
    ) -> earlier.Earlier:
        unit = Unit("local", "dlq.flights", 0, array("q", batch))
        cursor = msgspec.msgpack.encode(Cursor(dead.id, 5))
        topics = {"flights": Evidence(2), PARKING_TOPIC: Evidence(1)}
        saved = Checkpoint(operation=dead.id, source=cursor, topics=topics).encode()

        def prove(client: Any, evidence: Any, *, on_found: Any, **_: Any) -> Proof:
            for each in there:
                on_found(each, f"{unit.name}/letters/{each.letter}/0".encode())
            missing = max(0, 3 - len(there))
            found = [f"{missing} events are missing"] if missing else ["what a read-back finds"]
            return Proof("failed", found, {unit.name: len(there)}, 0, 0.0, missing=missing)

        monkeypatch.setattr(earlier, "checkpoints", lambda *_: {unit.name: saved})
        monkeypatch.setattr(settling, "prove", prove)
        return settle_earlier(config, ledger, [unit], by, record=record)

    return settle


def fates(ledger: Ledger) -> dict[int, str]:
    ids = [LetterId("local", "dlq.flights", 0, offset) for offset in (0, 1, 2, 3, 9)]
    return {letter.offset: ledger.letters.story(letter).letter.fate for letter in ids}


@pytest.fixture
def dead(ledger: Ledger) -> Operation:
    """An operation that has held letter 3, and was killed."""
    fill(ledger, [sighting(offset) for offset in (0, 1, 2, 3, 9)])
    operation = begin(ledger, "dlq-correction")
    ledger.letters.record_fates(operation, [fate(3)])
    return operation


ALL = [Record(0, 10), Record(1, 11), Record(2, 12, PARKING_TOPIC)]


def test_what_may_have_been_written_and_can_t_be_read_back_is_in_doubt(
    ledger: Ledger, dead: Operation, settle: Settle
) -> None:
    """Kafka deletes by the events' own times: what was published a minute ago may be gone."""
    found = settle(dead, ALL[:1], begin(ledger), record=False)
    assert {letter.offset for letter in found.letters} == {0, 1, 2}
    assert fates(ledger) == {0: "none", 1: "none", 2: "none", 3: "held", 9: "none"}
    settle(dead, ALL[:1], begin(ledger))
    assert fates(ledger) == {0: "published", 1: "doubtful", 2: "doubtful", 3: "held", 9: "none"}


def test_what_the_dead_operation_had_not_selected_is_in_no_doubt(
    ledger: Ledger, dead: Operation, settle: Settle
) -> None:
    selection = Selection(ids=[f"dlq.flights/0/{offset}" for offset in (0, 1, 3)]).model_dump(mode="json")
    dead.plan({"selection": selection, "upto": ledger.letters.last_entry()})
    settle(dead, ALL[:1], begin(ledger))
    assert fates(ledger) == {0: "published", 1: "doubtful", 2: "none", 3: "held", 9: "none"}


def test_what_waited_for_a_person_and_the_dead_operation_was_not_told_to_take_is_in_no_doubt(
    ledger: Ledger, dead: Operation, settle: Settle
) -> None:
    ledger.letters.record_fates(begin(ledger), [fate(1, "parked")])
    dead.plan({"selection": Selection().model_dump(mode="json"), "upto": ledger.letters.last_entry()})
    settle(dead, ALL[:1], begin(ledger))
    assert fates(ledger) == {0: "published", 1: "parked", 2: "doubtful", 3: "held", 9: "none"}
    told = Selection(fates=["none", "parked"]).model_dump(mode="json")
    dead.plan({"selection": told, "upto": ledger.letters.last_entry()})
    settle(dead, ALL[:1], begin(ledger))
    assert fates(ledger)[1] == "doubtful"


@pytest.mark.parametrize("planned", [True, False])
def test_who_takes_other_letters_of_the_partition_leaves_none_of_the_dead_operation_s_to_look_open(
    ledger: Ledger, dead: Operation, settle: Settle, planned: bool
) -> None:
    """It puts its cursor in the place of the only one that tells of them."""
    if planned:
        selection = Selection(ids=[f"dlq.flights/0/{offset}" for offset in (0, 1, 2)]).model_dump(mode="json")
        dead.plan({"selection": selection, "upto": ledger.letters.last_entry()})
    found = settle(dead, [], begin(ledger), record=False, batch=[9])
    assert {letter.offset for letter in found.letters} == {0, 1, 2}
    settle(dead, [], begin(ledger), batch=[9])
    assert fates(ledger) == {0: "doubtful", 1: "doubtful", 2: "doubtful", 3: "held", 9: "none"}


@pytest.mark.parametrize("planned", [True, False])
def test_letters_that_have_ended_or_were_given_up_meanwhile_are_in_no_doubt(
    ledger: Ledger, dead: Operation, settle: Settle, planned: bool
) -> None:
    if planned:
        dead.plan({"selection": Selection().model_dump(mode="json"), "upto": ledger.letters.last_entry()})
    ledger.letters.record_fates(begin(ledger), [fate(0, "discarded"), fate(1, "skipped")])
    settle(dead, [], begin(ledger), batch=[9])
    assert fates(ledger) == {0: "discarded", 1: "skipped", 2: "doubtful", 3: "held", 9: "none"}


def test_what_is_missing_of_an_operation_is_a_finding_of_the_run_that_enters_it_and_of_no_later_one(
    ledger: Ledger, dead: Operation, settle: Settle
) -> None:
    """Nobody may work there again, to put another cursor in the place of its."""
    first = settle(dead, ALL[:1], begin(ledger))
    assert first.proofs[dead.id].findings == ["2 events are missing"]
    assert settle(dead, ALL[:1], begin(ledger)).proofs == {}
    doubled = settle(dead, [*ALL, Record(0, 13)], begin(ledger))
    assert doubled.proofs[dead.id].findings == ["what a read-back finds"]


def test_letters_that_a_new_ledger_does_not_have_keep_no_others_from_being_entered(
    ledger: Ledger, dead: Operation, settle: Settle
) -> None:
    """Their topic has deleted them before the new ledger's first triage; what was made of them is still in Kafka."""
    gone = [Record(7, 20), Record(8, 21)]
    found = settle(dead, [*gone, *ALL], begin(ledger))
    assert found.unknown == 2
    assert fates(ledger) == {0: "published", 1: "published", 2: "parked", 3: "held", 9: "none"}


def test_nothing_is_in_doubt_once_all_was_entered_even_if_it_is_deleted_later(
    ledger: Ledger, dead: Operation, settle: Settle
) -> None:
    settle(dead, ALL, begin(ledger))
    settle(dead, [], begin(ledger))
    assert fates(ledger) == {0: "published", 1: "published", 2: "parked", 3: "held", 9: "none"}


def test_what_somebody_has_decided_since_is_not_undone_by_settling_again(
    ledger: Ledger, dead: Operation, settle: Settle
) -> None:
    settle(dead, ALL, begin(ledger))
    ledger.letters.record_fates(begin(ledger), [fate(2, "discarded")])
    settle(dead, ALL, begin(ledger))
    assert fates(ledger)[2] == "discarded"


def test_a_letter_that_was_written_twice_is_left_for_the_proof_to_find(
    ledger: Ledger, dead: Operation, settle: Settle
) -> None:
    found = settle(dead, [*ALL, Record(0, 13)], begin(ledger))
    assert found.proofs[dead.id].findings == ["what a read-back finds"]
    assert ledger.letters.story(LetterId("local", "dlq.flights", 0, 0)).decisions[-1].fate.offset == 10
