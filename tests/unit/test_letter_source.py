"""What a correction publishes of a partition's letters: in which order, at which pace, where, and what not again."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from redrive.avro.schema import parse
from redrive.coding import Writer
from redrive.deadletters.correction import Context, Judge, OrderGuard, Policy, Terms, Unit, make_plan, plan, source
from redrive.deadletters.correction.batch import Batch, Wanted
from redrive.deadletters.correction.correct import _LookingSink
from redrive.deadletters.correction.diverted import DivertedLanes
from redrive.deadletters.correction.doubles import ANOTHER_FIRST, SAME_EVENT, give_way
from redrive.deadletters.correction.order_guard import CORRECTED, LOOK_EVERY, MainTopic
from redrive.deadletters.correction.source import LEFT, LetterSource
from redrive.deadletters.dialects import Record
from redrive.deadletters.fate import Fate
from redrive.deadletters.letter import Letter, letter_of_bytes, letter_of_value
from redrive.deadletters.letter_id import LetterId
from redrive.events import Event
from redrive.pump import readback
from redrive.pump.governor import Governor
from redrive.pump.limits import Limits
from redrive.pump.pump import Pump
from redrive.rules import Corrected, Outcome, Rejected, Unmatched
from redrive.schemas import SchemaRegistry
from tests.unit.mock_kafka import MockKafka

FIELDS = [{"name": "id", "type": "long"}, {"name": "v", "type": "long"}]
SCHEMA = parse(json.dumps({"type": "record", "name": "R", "fields": FIELDS}))
WRITER = Writer("orders", 7, 1, SCHEMA)
REGISTRY = SchemaRegistry({"url": "http://127.0.0.1:1", "timeout": 1, "max.retries": 0})
REGISTRY._schemas[7] = SCHEMA
ABOUT: dict[str, Any] = {"reason": "invalid-value", "detail": "", "producer": "p", "topic": "orders", "key": b"k"}


class OnlyTheFirst:
    digest = "ab" * 32

    def apply(self, letter: Letter, value: Any) -> Outcome:
        return Rejected("r", "no") if value["v"] == 1 else Unmatched()


class FromTheFourthOn:
    digest = "ef" * 32

    def apply(self, letter: Letter, value: Any) -> Outcome:
        return All().apply(letter, value) if value["v"] > 2 else Unmatched()


class All:
    digest = "cd" * 32

    def apply(self, letter: Letter, value: Any) -> Outcome:
        return Corrected({"id": 1, "v": value["v"]}, ("r",))


def letter(v: int, when: int, offset: int, **more: Any) -> Record:
    """A letter of the event of id v."""
    given = {"event_id": f"e{v}", "value": {"id": "x", "v": v}, "headers": [("ce_id", b"e%d" % v)], "timestamp": when}
    return record(letter_of_value("dlq", **ABOUT | given | more), offset)


def record(event: Event, offset: int) -> Record:
    return Record("one", "dlq", 0, offset, event.timestamp, event.headers, event.key, event.value)


def unit_of(records: list[Record]) -> Unit:
    return Unit("one", "dlq", 0, array("q", [each.offset for each in records]))


def main(**newest: tuple[int, int]) -> MainTopic:
    topic = MainTopic({}, "orders", Wanted())
    topic.newest |= {key.encode(): seen for key, seen in newest.items()}
    topic.partitions = 12
    return topic


class Work:
    """The source of some letters; reads them, but for main topics, as Kafka would give them."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        records: list[Record],
        rules: Any = None,
        *,
        topic: MainTopic | None = None,
        policy: Policy = "hold",
        share: Callable[[], float] = lambda: float("inf"),
        unit: Unit | None = None,
        lanes: DivertedLanes | None = None,
    ) -> None:
        for module in (source, plan):
            monkeypatch.setattr(module, "read_letters", lambda *_: iter(records))
        self.fates: list[Fate] = []
        self.topic = topic or main()
        self.unit = unit or unit_of(records)
        self.guard = OrderGuard({"orders": self.topic}, lanes)
        self.judge = Judge(rules or All(), {"orders": WRITER}, REGISTRY.reader(), attempts=5)
        self.source = LetterSource(
            {}, self.unit, self.judge, self.guard, policy,
            operation="op", record_fates=self.fates.extend, share=share,
        )  # fmt: skip

    def events(self) -> list[Event]:
        return [event for chunk in self.source.chunks(None) for event in chunk.events]

    def plan(self, several: frozenset[str] = frozenset(), **limits: Limits) -> plan.Plan:
        batch = Batch([])
        batch.units = [self.unit]
        context = Context({}, {"orders": WRITER}, self.judge, self.guard, limits, several)
        return make_plan(Terms("", "hold", 5, {}, 1), batch, {"one": context})


def test_of_a_key_no_event_is_published_behind_a_newer_one_of_the_same_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A letter that was rejected stands behind those of newer events."""
    older, newer = letter(1, 1_000, 0), letter(2, 2_000, 1)
    (again,) = Work(monkeypatch, [older, newer], OnlyTheFirst()).events()
    work = Work(monkeypatch, [newer, record(again, 2)])
    assert [event.id for event in work.events()] == ["e2"]
    assert [(fate.letter.offset, fate.name, fate.reason) for fate in work.fates] == [(2, "held", "newer-event")]
    assert (work.plan().overtaken, work.plan().publishes) == (1, 1)


def test_a_letter_that_is_left_and_that_others_of_its_event_stand_behind_is_told_by_the_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For one of them there may be a rule."""
    work = Work(monkeypatch, [letter(1, 1_000, 0), letter(2, 2_000, 1), letter(3, 3_000, 2)], OnlyTheFirst())
    other = LetterId("one", "dlq.b", 0, 0)
    work.unit.behind = {0: [other], 1: [other]}
    assert work.plan().stuck == {LetterId("one", "dlq", 0, 1): "no-rule"}, "the first one is rejected"
    work.topic.corrected[work.unit.name] = {1: ("op", Fate(other, "held"))}
    assert work.plan().stuck == {}, "an event of it is there"


def test_of_an_event_s_letters_that_are_left_or_gone_all_are_told_by_one_plan_and_the_next_one_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A consumer in a crash loop writes the same letter at each start, and retention takes the oldest ones first."""
    letters: list[Any] = [0, *(letter(at, 1_000, at) for at in (1, 2, 3, 4))]
    work = Work(monkeypatch, letters, FromTheFourthOn(), unit=Unit("one", "dlq", 0, array("q", range(5))))
    work.unit.behind = {0: [LetterId("one", "dlq", 0, at) for at in (1, 2, 3, 4)]}
    work.unit.doubles = dict.fromkeys((1, 2, 3, 4), ANOTHER_FIRST)
    batch = Batch([])
    batch.units = [work.unit]
    first = work.plan()
    assert {each.offset: why for each, why in first.stuck.items()} == {0: "gone", 1: "no-rule", 2: "no-rule"}
    assert give_way(batch, first.stuck)
    assert work.unit.doubles == {0: "gone", 1: "no-rule", 2: "no-rule", 4: ANOTHER_FIRST}
    second = work.plan()
    assert (second.counts["gone"], second.publishes, give_way(batch, second.stuck)) == (1, 1, False)


def test_what_the_operation_itself_has_published_before_a_crash_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    topic = main()
    topic.ours[b"k"] = 2_000
    work = Work(monkeypatch, [letter(1, 1_000, 5)], topic=topic)
    assert (work.events(), [fate.name for fate in work.fates]) == ([], ["held"])
    assert work.plan().overtaken == 0  # the plan is the one that was approved


def test_a_unit_that_follows_another_one_of_its_partition_looks_at_what_that_has_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topic = main()
    monkeypatch.setattr(topic, "read_on", lambda **_: topic.ours.update({b"k": 2_000}))
    work = Work(monkeypatch, [letter(1, 1_000, 5)], topic=topic)
    assert [event.id for event in work.events()] == ["e1"]
    work.unit.follows = True
    assert (work.events(), [fate.name for fate in work.fates]) == ([], ["held"])


def test_the_plan_of_a_unit_that_follows_another_one_of_its_partition_counts_what_that_will_have_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work = Work(monkeypatch, [])
    letters = {"dlq": letter(2, 2_000, 1), "dlq@2": letter(1, 1_000, 2)}
    monkeypatch.setattr(plan, "read_letters", lambda _client, unit: iter([letters[unit.topic]]))
    batch = Batch([])
    context = Context({}, {"orders": WRITER}, work.judge, work.guard, {}, frozenset())
    for follows in (True, False):
        batch.units = [Unit("one", "dlq", 0), Unit("one", "dlq@2", 0, follows=follows)]
        assert make_plan(Terms("", "hold", 5, {}, 1), batch, {"one": context}).overtaken == follows


def test_other_keys_and_those_that_are_to_be_published_all_the_same_are_not_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    letters = [letter(2, 2_000, 0), letter(1, 1_000, 1, key=b"other"), letter(3, 500, 2)]
    assert [event.id for event in Work(monkeypatch, letters).events()] == ["e2", "e1"]
    assert [event.id for event in Work(monkeypatch, letters, policy="publish").events()] == ["e2", "e1", "e3"]


def test_the_rate_holds_from_the_first_letters_on(monkeypatch: pytest.MonkeyPatch) -> None:
    committed: list[int] = []
    clock = [0.0]

    class Sink:
        def commit(self, events: list[Event], cursor: bytes) -> None:
            committed.append(len(events))

    governor = Governor(50.0, clock=lambda: clock[0])
    monkeypatch.setattr(governor._condition, "wait", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    letters = [letter(2, 2_000, offset) for offset in range(160)]
    work = Work(monkeypatch, letters, share=lambda: governor.share(1.0))
    pump = Pump(work.source, Sink(), parking_topic="p", operation="op", governor=governor)  # type: ignore[arg-type]
    pump.run(None)
    assert committed == [50, 50, 50, 10]
    assert clock[0] == pytest.approx(3.0)


def test_an_event_goes_to_the_partition_where_its_key_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients of librdkafka put keys elsewhere than Kafka's own, unless they are told otherwise."""
    (event,) = Work(monkeypatch, [letter(2, 2_000, 0)], topic=main(k=(1_000, 9))).events()
    assert event.partition == 9


@pytest.mark.parametrize(("came_from", "goes_to"), [(3, 3), (12, None), (None, None)])
def test_or_to_the_one_that_it_was_read_from_if_that_is_there(
    monkeypatch: pytest.MonkeyPatch, came_from: int | None, goes_to: int | None
) -> None:
    body = WRITER.encode({"id": 1, "v": 2})
    given = {"event_id": "e", "headers": [], "timestamp": 1, "partition": came_from}
    read = record(letter_of_bytes("dlq", value=body, **ABOUT | given), 0)
    (event,) = Work(monkeypatch, [read]).events()
    assert event.partition == goes_to


def test_letters_of_which_an_event_is_there_already_are_left_and_the_plan_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topic = main()
    work = Work(monkeypatch, [letter(2, 2_000, 0), letter(3, 3_000, 1)], topic=topic)
    topic.corrected[work.unit.name][0] = ("earlier", Fate(LetterId("one", "dlq", 0, 0), "published", "", (), "o", 1, 2))
    work = Work(monkeypatch, [letter(2, 2_000, 0), letter(3, 3_000, 1)], topic=topic)
    (chunk,) = work.source.chunks(None)
    assert [event.id for event in chunk.events] == ["e3"]
    assert chunk.skipped == {LEFT + CORRECTED: 1}
    assert work.plan().reasons == {("leave", CORRECTED): 1}


def test_of_an_event_with_several_letters_one_goes_and_the_others_wait_or_are_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    letters = [letter(2, 2_000, offset) for offset in range(3)]
    unit = unit_of(letters)
    unit.doubles |= {1: ANOTHER_FIRST, 2: SAME_EVENT}
    work = Work(monkeypatch, letters, unit=unit)
    (chunk,) = work.source.chunks(None)
    assert [event.origin for event in chunk.events] == ["dlq/one/dlq/0/letters/0/0"]
    assert chunk.skipped == {LEFT + ANOTHER_FIRST: 1, f"skipped: {SAME_EVENT}": 1}
    assert [(fate.letter.offset, fate.name, fate.reason) for fate in work.fates] == [(2, "skipped", "same-event")]
    made = work.plan()
    assert made.reasons == {("leave", ANOTHER_FIRST): 1, ("skip", SAME_EVENT): 1}
    assert (made.publishes, made.writes, made.doubles) == (1, 2, 2)


def test_the_plan_counts_deletions_and_what_topics_do_not_keep_or_take(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"event_id": "e", "headers": [], "timestamp": 1_000}
    tombstone = record(letter_of_bytes("dlq", value=None, **ABOUT | given), 0)
    work = Work(monkeypatch, [tombstone, letter(2, 2_000, 1, key=None)], rules=_As())
    made = work.plan(orders=Limits(keyed=True, retention_ms=60_000))
    assert (made.deletions, made.fading) == (1, 2)
    assert list(made.refused.items()) == [("INVALID_RECORD: it has no key, and the topic is compacted", 1)]


class _As(All):
    def apply(self, letter: Letter, value: Any) -> Outcome:
        return Corrected(value and {"id": 1, "v": 1}, ("r",))


def test_newer_events_that_come_while_the_run_is_held_up_are_seen_before_anything_is_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topic = main()
    work = Work(monkeypatch, [letter(2, 2_000, 7), letter(3, 3_000, 8, key=b"other")], topic=topic)
    events = work.events()
    assert work.source.overtaken_meanwhile(events) == {}

    def night(*, if_older_than: float) -> None:
        assert if_older_than == LOOK_EVERY
        topic.newest[b"k"] = (9_000, 0)
        topic.looks += 1

    monkeypatch.setattr(MainTopic, "read_on", lambda _, **given: night(**given))
    assert {index: skipped.reason for index, skipped in work.source.overtaken_meanwhile(events).items()} == {
        0: "held: newer-event"
    }
    assert [(fate.letter.offset, fate.name, fate.reason) for fate in work.fates] == [(7, "held", "newer-event")]


def test_what_was_overtaken_meanwhile_is_left_out_of_its_transaction_and_the_rest_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topic = main()
    work = Work(monkeypatch, [letter(2, 2_000, 7), letter(3, 3_000, 8, key=b"other")], topic=topic)
    committed: list[str] = []

    def night(_: MainTopic, *, if_older_than: float) -> None:
        topic.newest[b"k"] = (9_000, 0)
        topic.looks += 1

    monkeypatch.setattr(MainTopic, "read_on", night)
    commit = lambda events, cursor: committed.extend(event.id for event in events)  # noqa: E731
    sink: Any = SimpleNamespace(commit=commit, start=None, close=None)
    pump = Pump(work.source, _LookingSink(sink, work.source), parking_topic="p", operation="op")
    outcome = pump.run(None)
    assert committed == ["e3"]
    assert (outcome.read, outcome.published, outcome.skipped) == (2, 1, {"held: newer-event": 1})
    assert outcome.evidence["orders"].count == 1


def test_a_main_topic_is_read_on_from_where_it_was_read_to(mock_kafka: MockKafka) -> None:
    def write(key: bytes, operation: bytes = b"", source: bytes = b"") -> None:
        by_job = [(b"redrive-operation", operation), (b"redrive-source", source)] if source else []
        mock_kafka.produce("orders", key, b"v", *by_job)

    unit = Unit("one", "dlq", 0, array("q", [4, 5]))
    wanted = Wanted({b"k", b"mine", b"theirs"}, readback.EARLIEST)
    topic = MainTopic({"bootstrap.servers": mock_kafka.bootstrap}, "orders", wanted, [unit], operation="op")
    write(b"k")
    mock_kafka.produce("orders", b"k", b"v", (b"redrive-source", b"alone"))
    write(b"mine", b"op", b"dlq/one/dlq/0/letters/5/0")
    topic.read_on()
    assert (topic.newest.keys(), topic.ours.keys(), topic.looks) == ({b"k"}, {b"mine"}, 1)
    assert OrderGuard({"orders": topic}).corrected(unit.name) == frozenset()
    for offset in (4, 6):  # one is no letter of the batch
        write(b"theirs", b"other", b"dlq/one/dlq/0/letters/%d/0" % offset)
    write(b"unasked for")
    topic.read_on(if_older_than=60.0)
    assert topic.looks == 1
    heard: list[tuple[int, int]] = []
    topic.read_on(on_progress=lambda *seen: heard.append(seen))
    assert heard[-1] == (3, 3)
    assert topic.newest.keys() == {b"k", b"theirs"}
    assert OrderGuard({"orders": topic}).corrected(unit.name) == {4}
    (fate,) = OrderGuard({"orders": topic}).found["other"]
    assert (str(fate.letter), fate.name, fate.topic, fate.offset) == ("one:dlq/0/4", "published", "orders", 3)


def test_a_plan_counts_what_goes_to_topics_on_several_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(monkeypatch, [letter(1, 1_000, 0), letter(2, 2_000, 1)])
    assert +work.plan().several == {}
    assert work.plan(frozenset({"orders"})).several == {"orders": 2}
