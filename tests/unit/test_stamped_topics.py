"""The order of events on a topic whose brokers give events their time: that of a corrected one says nothing of its age.

`Message` stands for a record as confluent-kafka gives it, since its mock cluster has no such topics.
"""

from __future__ import annotations

from typing import Any, cast

import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME

from redrive.deadletters.correction.batch import Wanted
from redrive.deadletters.correction.order_guard import MainTopic
from redrive.envelope import accepted, rfc3339
from redrive.events import Headers
from redrive.pump.limits import Limits
from redrive.pump.names import OPERATION_HEADER, SOURCE_HEADER
from tests.unit.test_letter_source import Work, letter

NOW = 1_793_500_000_000


class Message:
    def __init__(self, came: int, *headers: tuple[str, bytes], by: bytes = b"") -> None:
        self._came = came
        job = [(OPERATION_HEADER, by), (SOURCE_HEADER, b"dlq/one/other/0/letters/9/0")] if by else []
        self._headers = [*headers, *job]

    def key(self) -> bytes:
        return b"k"

    def timestamp(self) -> tuple[int, int]:
        return TIMESTAMP_LOG_APPEND_TIME, self._came

    def headers(self) -> Headers:
        return list(self._headers)

    def partition(self) -> int:
        return 0


def dated(when: int) -> tuple[str, bytes]:
    return "ce_time", rfc3339(when)


def heard(*messages: Message) -> MainTopic:
    topic = MainTopic({}, "orders", Wanted({b"k"}), operation="op", stamped=True)
    topic.partitions = 12
    topic._hear(cast(Any, messages))
    return topic


def dead(v: int, when: int, *, named: bool = True) -> Any:
    return letter(v, when, v, headers=[("ce_id", b"e%d" % v), *([dated(when)] if named else [])])


@pytest.mark.parametrize("named", [True, False])
def test_what_the_run_has_published_itself_overtakes_none_that_is_newer(
    monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    own = Message(NOW, *([dated(1_000)] if named else []), by=b"op")
    work = Work(monkeypatch, [dead(2, 2_000, named=named)], topic=heard(own), policy="skip")
    assert [event.id for event in work.events()] == ["e2"]
    assert work.fates == []


@pytest.mark.parametrize("named", [True, False])
def test_nor_does_what_another_operation_has_brought(monkeypatch: pytest.MonkeyPatch, named: bool) -> None:
    other = Message(NOW, *([dated(1_000)] if named else []), by=b"another")
    assert [event.id for event in Work(monkeypatch, [dead(2, 2_000)], topic=heard(other)).events()] == ["e2"]


def test_what_was_accepted_later_overtakes_whoever_has_brought_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for by in (b"", b"op", b"another"):
        work = Work(monkeypatch, [dead(2, 2_000)], topic=heard(Message(NOW, dated(3_000), by=by)))
        assert (work.events(), [fate.name for fate in work.fates]) == ([], ["held"])


def test_an_event_that_does_not_say_when_it_was_accepted_counts_by_when_it_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not Work(monkeypatch, [dead(2, 2_000)], topic=heard(Message(NOW))).events()


def test_an_event_that_was_read_from_there_is_compared_by_when_it_was_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It came at 9,000, and the newer one, which was quicker, before."""
    late = letter(2, 9_000, 0, headers=[("ce_id", b"e2"), dated(2_000)])
    assert not Work(monkeypatch, [late], topic=heard(Message(8_000, dated(3_000)))).events()


def test_letters_of_one_batch_are_compared_so_too(monkeypatch: pytest.MonkeyPatch) -> None:
    newer = letter(2, 1_000, 0, headers=[("ce_id", b"e2"), dated(2_000)])
    older = letter(1, 5_000, 1, headers=[("ce_id", b"e1"), dated(1_000)])
    work = Work(monkeypatch, [newer, older], topic=heard())
    assert [event.id for event in work.events()] == ["e2"]
    assert work.plan().overtaken == 1


def test_the_plan_says_so_and_warns_of_no_retention_that_goes_by_other_times(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Work(monkeypatch, [dead(2, 2_000)], topic=heard()).plan(orders=Limits(retention_ms=60_000, stamped=True))
    assert (made.stamped, made.fading) == ({"orders": 1}, 0)


@pytest.mark.parametrize(
    ("text", "when"),
    [
        (rfc3339(NOW + 7), NOW + 7),
        (b"1970-01-01T01:00:00.001+01:00", 1),
        (b"0001-01-01T00:00:00", -62_135_596_800_000),
        (b"yesterday", None),
        (b"\xff", None),
        (b"", None),
        (None, None),
    ],
)
def test_the_time_of_acceptance_is_read_if_it_is_one(text: bytes | None, when: int | None) -> None:
    assert accepted([("ce_id", b"e"), ("ce_time", text)]) == when
