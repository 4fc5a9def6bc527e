"""Letters of a topic whose producers were switched to another one: they go where events of that name go."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from flows.dlq_correction import Correction, governed
from redrive.aliases.alias import Alias, Aliases
from redrive.aliases.destination import Moved
from redrive.avro.schema import parse
from redrive.coding import Reader, Writer
from redrive.config import Config
from redrive.deadletters.correction import Terms, context, make_plan
from redrive.deadletters.correction.batch import Batch
from redrive.deadletters.correction.by_hand import LetterInHand
from redrive.deadletters.correction.context import Context, topics_of
from redrive.deadletters.correction.diverted import DivertedLanes
from redrive.deadletters.correction.order_guard import MainTopic, OrderGuard
from redrive.deadletters.dialects import Record
from redrive.deadletters.judging import elsewhere, finding
from redrive.deadletters.judging.elsewhere import JudgeElsewhere
from redrive.deadletters.judging.finding import find_targets, see_that_names_stand
from redrive.deadletters.judging.judge import NOT_MIGRATED, SKIPPED_BY_MIGRATION, Judge, Judgement
from redrive.deadletters.judging.targets import (
    MOVED_BACK,
    MOVING,
    NO_MIGRATION,
    ODD_ALIAS,
    TOPIC_GONE,
    MovedWriter,
    Targets,
    goes_to,
)
from redrive.deadletters.letter import letter_of_bytes, letter_of_value
from redrive.errors import InvalidEventError, StalePlanError, UnknownTopicError
from redrive.events import Event
from redrive.migrations.unit import Unit as Way
from redrive.murmur2 import partition_of
from redrive.pump.lag import LeftTopic, still_to_go
from redrive.pump.workers import Workers
from redrive.rules import load_rules
from redrive.schemas import SchemaRegistry
from redrive.standby.lanes import DIVERT, OPEN, Gate, Lane, LaneLog, Topics
from redrive.standby.log import SEAL
from redrive.standby.store import Store
from tasks import protection
from tasks.dlq_correction.plan import approval_text, plan_text
from tasks.protection import Protect
from tests.unit.test_correction_batch import config, subject  # noqa: F401 (a fixture)
from tests.unit.test_diverted_lanes import Table
from tests.unit.test_letter_source import unit_of

NOTE = {"name": "note", "type": "string"}
OLD = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "long"}, NOTE]}
NEW = {"type": "record", "name": "Order", "fields": [{"name": "number", "type": "long"}, NOTE]}
RULES = """\
topic: moved
up:
  match: first
  rules:
    - name: bad
      match: {when: "value.note == 'bad'"}
      do: [{op: test, path: /note, value: good}]
    - name: tests
      match: {when: "value.note == 'test'"}
      skip: a test
    - name: all
      match: {}
      do: [{op: rename, path: /id, to: number}]
"""
NUMBERS = """\
match: first
rules:
  - name: numbers
    match: {when: "type(value.id) == string"}
    do: [{op: convert, path: /id, to: integer}]
"""
SCHEMAS = {7: parse(json.dumps(OLD)), 9: parse(json.dumps(NEW))}
REGISTRY = SchemaRegistry({"url": "http://127.0.0.1:1", "timeout": 1, "max.retries": 0})
REGISTRY._schemas |= SCHEMAS
WRITER = Writer("moved", 7, 1, SCHEMAS[7])
ALIAS = Alias("moved", "moved.v2", "moved.v2", 5, 9, json.dumps(NEW), RULES, "flights.yaml", {0: (4, 4)})
WHY: dict[str, Any] = {"event_id": "e-1", "key": b"k", "headers": [("ce_id", b"e-1")], "topic": "moved"}
WHY |= {"reason": "invalid-value", "detail": "", "producer": "shop", "timestamp": 1_000}
LANES = 4


def moved(alias: Alias = ALIAS) -> MovedWriter:
    return MovedWriter(WRITER, alias, Moved(alias, REGISTRY.schema, {}))


def record(letter: Event, offset: int = 5) -> Record:
    return Record("one", "dlq.shop", 0, offset, 2_000, letter.headers, letter.key, letter.value)


def of_value(value: Any) -> Record:
    return record(letter_of_value("dlq.shop", value=value, **WHY))


def of_bytes(value: bytes | None) -> Record:
    return record(letter_of_bytes("dlq.shop", value=value, **WHY))


def judge(letter: Record, rules: Any = None) -> Judgement:
    return Judge(rules, {"moved": moved()}, REGISTRY.reader(), attempts=3).judge(
        letter, "dlq/one/dlq.shop/0/letters/5/0"
    )


def event_of(judgement: Judgement) -> Event:
    assert judgement.kind == "publish", judgement
    assert judgement.event is not None
    return judgement.event


def decoded(event: Event) -> Any:
    return Reader(REGISTRY, None).decode(event.value or b"")


@pytest.fixture
def numbers(tmp_path: Path) -> Any:
    (tmp_path / "numbers.yaml").write_text(NUMBERS)
    return load_rules(tmp_path / "numbers.yaml")


@pytest.fixture
def known(config: Config, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Targets]:  # noqa: F811
    monkeypatch.setattr(finding, "partition_count", lambda *_: 3)
    registry: Any = SimpleNamespace(
        writer=lambda name: Writer(name, 7, 1, SCHEMAS[7]), schema=REGISTRY.schema, reader=REGISTRY.reader
    )

    def known(*aliases: Alias, **odd: str) -> Targets:
        return find_targets(config, registry, "one", ["moved", "orders", "unknown"], aliases_of(*aliases, **odd))

    return known


def aliases_of(*aliases: Alias, **odd: str) -> Aliases:
    return Aliases({alias.name: alias for alias in aliases}, odd)


def test_a_letter_is_put_right_as_one_of_its_topic_and_then_goes_the_way_of_its_producers(numbers: Any) -> None:
    event = event_of(judge(of_value({"id": "42", "note": "fragile"}), numbers))
    assert (event.topic, event.id, event.key, event.timestamp) == ("moved.v2", "e-1", b"k", 1_000)
    assert decoded(event) == {"number": 42, "note": "fragile"}
    assert dict(event.headers)["redrive-correction"]
    assert event.origin == "dlq/one/dlq.shop/0/letters/5/0"


def test_an_event_that_was_good_and_a_deletion_go_there_as_well() -> None:
    good = event_of(judge(of_bytes(WRITER.encode({"id": 1, "note": "a"}))))
    assert (good.topic, decoded(good)) == ("moved.v2", {"number": 1, "note": "a"})
    deletion = event_of(judge(of_bytes(None)))
    assert (deletion.topic, deletion.value) == ("moved.v2", None)


def test_what_can_not_be_taken_there_stays_open_and_what_need_not_go_on_is_given_up() -> None:
    bad = judge(of_value({"id": 1, "note": "bad"}))
    assert (bad.kind, bad.reason, bad.event) == ("leave", NOT_MIGRATED, None)
    assert "'bad'" in bad.detail, "which rule says so"
    test = judge(of_value({"id": 1, "note": "test"}))
    assert (test.kind, test.reason, test.detail) == ("skip", SKIPPED_BY_MIGRATION, "a test")


def test_other_processes_judge_the_same(monkeypatch: pytest.MonkeyPatch, numbers: Any) -> None:
    monkeypatch.setattr(elsewhere, "_LateRegistry", lambda _: REGISTRY)
    letters = [of_value({"id": "42", "note": note}) for note in ("a", "bad", "test")]
    there = JudgeElsewhere(Workers(0), numbers, {"moved": moved()}, {}, attempts=3)
    ((_, decisions),) = there.judged([letters], "dlq/one/dlq.shop/%d/letters/5/0")
    here = [judge(letter, numbers) for letter in letters]
    assert [(made.kind, made.reason) for made in decisions] == [(made.kind, made.reason) for made in here]


def test_a_topic_that_is_switched_and_consumers_know_it_is_no_end_of_its_letters(known: Callable[..., Targets]) -> None:
    orders = Alias("orders", "orders.v2", "orders", 2, 7, "{}")  # they are back
    targets = known(ALIAS, orders, unknown="it is malformed")
    assert {name: each if isinstance(each, str) else goes_to(each) for name, each in targets.items()} == {
        "moved": "moved.v2", "orders": "orders", "unknown": ODD_ALIAS,
    }  # fmt: skip


def test_letters_wait_while_it_is_not_known_where_consumers_go_over(known: Callable[..., Targets]) -> None:
    """Nobody would read what is published there, and where they begin would lie behind it."""
    assert known(msgspec.structs.replace(ALIAS, places={}))["moved"] == MOVING
    again = msgspec.structs.replace(ALIAS, places={}, unmoved=True)  # consumers are there already
    assert isinstance(known(again)["moved"], MovedWriter)


def test_letters_of_the_new_topic_stay_open_once_producers_and_consumers_have_gone_back(
    known: Callable[..., Targets],
) -> None:
    """Consumers name the topic that they have read: the new one, which nobody reads any more."""
    there = Alias("unknown", "orders", "orders", 2, 7, "{}")
    assert goes_to(cast(Writer, known(there)["orders"])) == "orders"
    for back in (
        msgspec.structs.replace(there, generation=3, current="unknown"),
        msgspec.structs.replace(there, generation=3, current="unknown", places={0: (4, 4)}),
    ):
        targets = known(back)
        assert targets["orders"] == MOVED_BACK
        assert goes_to(cast(Writer, targets["unknown"])) == "unknown"


def test_letters_of_the_new_topic_go_there_if_the_switch_was_taken_back_before_consumers_followed(
    known: Callable[..., Targets],
) -> None:
    """Whoever reads it was moved there by hand, and reads it still."""
    back = Alias("unknown", "orders", "unknown", 3, 7, "{}", unmoved=True)
    assert goes_to(cast(Writer, known(back)["orders"])) == "orders"
    again = msgspec.structs.replace(back, places={0: (4, 4)})  # consumers had been there, and gone back, before
    assert known(again)["orders"] == MOVED_BACK


def test_letters_of_a_topic_stay_open_once_producers_have_gone_on_from_there_to_a_third_one(
    known: Callable[..., Targets],
) -> None:
    third = Alias("unknown", "moved", "moved", 4, 7, json.dumps(OLD), places={0: (4, 4)}, past=("orders",))
    targets = known(third)
    assert targets["orders"] == MOVED_BACK
    assert (goes_to(cast(Writer, targets["unknown"])), goes_to(cast(Writer, targets["moved"]))) == ("moved", "moved")
    others = Alias("shop", "orders", "orders", 1, 7, json.dumps(OLD), places={0: (4, 4)})
    assert goes_to(cast(Writer, known(third, others)["orders"])) == "orders", "producers of another name are there"


def test_letters_are_left_if_the_rules_that_take_events_there_can_not_be_used_or_it_is_gone(
    known: Callable[..., Targets], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert known(msgspec.structs.replace(ALIAS, rules="up: 7"))["moved"] == NO_MIGRATION

    def only_the_old_one(_: Any, topic: str) -> int:
        if topic == "moved.v2":
            raise UnknownTopicError(topic, "one")
        return 3

    monkeypatch.setattr(finding, "partition_count", only_the_old_one)
    assert known(ALIAS)["moved"] == TOPIC_GONE


def test_a_run_that_has_planned_for_one_topic_does_not_publish_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"moved": ALIAS}
    monkeypatch.setattr(finding, "read_aliases", lambda _: aliases_of(*now.values()))
    see_that_names_stand({}, {"moved": moved(), "gone": TOPIC_GONE})
    for other in (
        msgspec.structs.replace(ALIAS, generation=6),
        msgspec.structs.replace(ALIAS, generation=6, current="moved"),
    ):
        now["moved"] = other
        with pytest.raises(StalePlanError, match="producers of moved were switched"):
            see_that_names_stand({}, {"moved": moved()})
    now["moved"] = ALIAS
    with pytest.raises(StalePlanError, match="producers of moved were switched"):
        see_that_names_stand({}, {"moved": WRITER})
    now["moved"] = msgspec.structs.replace(ALIAS, generation=6, current="moved")
    with pytest.raises(StalePlanError, match=r"producers of moved were taken away from moved\.v2"):
        see_that_names_stand({}, {"moved.v2": Writer("moved.v2", 9, 1, SCHEMAS[9])})
    now.clear()
    see_that_names_stand({}, {"moved": WRITER})
    monkeypatch.setattr(finding, "read_aliases", lambda _: aliases_of(moved="it is malformed"))
    with pytest.raises(StalePlanError, match="not known any more: it is malformed"):
        see_that_names_stand({}, {"moved": WRITER})


def test_nobody_else_may_touch_either_topic_meanwhile(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(context, "read_aliases", lambda _: aliases_of(ALIAS))
    batch = Batch([subject(1, main_topic="moved"), subject(2, main_topic="orders")])
    assert topics_of(config, batch) == [
        ("one", "dlq.shop"), ("one", "moved"), ("one", "moved.v2"), ("one", "orders"),
    ]  # fmt: skip


def test_newer_events_are_looked_for_where_letters_go_for_both_names_of_it() -> None:
    batch = Batch([subject(5, main_topic="moved", key=b"a"), subject(3, main_topic="moved.v2", key=b"b")])
    there = Writer("moved.v2", 9, 1, SCHEMAS[9])
    (wanted,) = context._wanted(batch, "one", {"moved": moved(), "moved.v2": there, "gone": TOPIC_GONE}).items()
    assert wanted[0] == "moved.v2"
    assert (wanted[1].keys, wanted[1].since) == ({b"a", b"b"}, 1_003)


def test_an_event_that_was_made_of_a_letter_before_the_switch_is_found_in_the_copy_of_it() -> None:
    topic = MainTopic({}, "moved.v2", Batch([subject(5)]).wanted["one", "orders"], [unit_of([of_value({})])])
    copy = Way("one", "moved", "moved.v2", 0).origins % 3
    headers = [
        ("redrive-correction", b'{"applied":["numbers"]}'),
        ("redrive-operation", b"op-1"), ("redrive-source", b"dlq/one/dlq/0/letters/5/0"),
        ("redrive-operation", b"a backfill"), ("redrive-source", copy.encode()),
    ]  # fmt: skip
    message: Any = SimpleNamespace(topic=lambda: "moved.v2", partition=lambda: 0, offset=lambda: 8)
    topic._note(message, headers[:1] + headers[3:])
    assert not topic.corrected
    topic._note(message, cast(Any, headers))
    ((operation, fate),) = topic.corrected["dlq/one/dlq/0"].values()
    assert (operation, fate.topic, fate.offset, fate.rules) == ("op-1", "moved.v2", 8, ("numbers",))


class Lanes:
    """Lanes of the name `moved`, whose events go to `moved.v2`."""

    def __init__(self) -> None:
        self.store = cast(Store, Table())
        Topics(self.store, "one").lanes("moved", LANES)
        leading = dict.fromkeys(aliases_of(ALIAS).leading_to("moved.v2"), "moved.v2")
        self.seen = DivertedLanes(self.store, "one", leading)

    def become(self, kind: str, target: str = "") -> bool:
        """Append an entry to the lane of the key; say whether letters of it have to wait then."""
        log = LaneLog(self.store, Lane("one", "moved", partition_of(b"k", LANES)))
        assert log.extend(log.state(), kind, 1, "somebody", target)
        Gate(self.store, "one").bump()
        self.seen.look()
        return self.seen.has("moved.v2", b"k")


def test_letters_wait_until_the_lane_of_the_name_is_open_to_where_they_go() -> None:
    lanes = Lanes()
    lanes.seen.look()
    assert lanes.seen.has("moved.v2", b"k"), "its producers still publish to the topic of the name"
    assert lanes.become(DIVERT)
    assert lanes.become(SEAL)
    assert lanes.become(OPEN), "a replay that had begun before the switch has opened it to the topic of the name"
    assert lanes.become(DIVERT)
    assert lanes.become(SEAL)
    assert not lanes.become(OPEN, "moved.v2")
    assert not lanes.seen.has("moved.v2", None)


def test_letters_of_the_new_topic_wait_for_stored_events_of_the_name_that_leads_there() -> None:
    assert aliases_of(ALIAS).leading_to("moved.v2") == ["moved.v2", "moved"]
    assert aliases_of(ALIAS).leading_to("moved") == []
    back = msgspec.structs.replace(ALIAS, current="moved")
    assert aliases_of(back).leading_to("moved") == ["moved"]
    assert aliases_of(back).leading_to("moved.v2") == ["moved.v2"]


def plan_by(alias: Alias, monkeypatch: pytest.MonkeyPatch) -> Any:
    letters = [of_value({"id": 1, "note": "a"})]
    monkeypatch.setattr("redrive.deadletters.correction.plan.read_letters", lambda *_: iter(letters))
    batch = Batch([subject(5, main_topic="moved")])
    targets: Targets = {"moved": moved(alias)}
    of = Context({}, targets, Judge(None, targets, REGISTRY.reader(), attempts=3), OrderGuard({}))
    return make_plan(Terms("", "hold", 5, {}, 1), batch, {"one": of})


def test_the_plan_says_where_they_go_and_holds_for_that_alias_only(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_by(ALIAS, monkeypatch)
    assert plan.topics == {"moved.v2": 1}
    text = plan_text(plan, "ab" * 32, mode="plan", rate=None)
    assert "Letters of `moved` go to `moved.v2`" in text
    assert "the rules of flights.yaml" in text
    assert "| moved.v2 | 9 | 1 |" in text
    assert "Letters of `moved` go to `moved.v2`" in approval_text(plan, "ab" * 32)
    other = plan_by(msgspec.structs.replace(ALIAS, generation=6), monkeypatch)
    assert other.digest != plan.digest
    assert other.content == plan.content


LEFT = {"moved": LeftTopic("moved.v2", {0: (100, 90), 1: (200, 180)})}


def test_a_protected_group_that_has_gone_over_is_not_held_for_by_what_it_will_never_read() -> None:
    """A `feed_back` fills the topic that was left: the group's lag there only rises."""
    over = {("moved", 0): 100, ("moved", 1): 200, ("moved.v2", 0): 90, ("moved.v2", 1): 182}
    assert still_to_go(over, LEFT) == {("moved", 0): 0, ("moved", 1): 0}
    moved_by_hand = over | {("moved", 0): 40}
    assert still_to_go(moved_by_hand, LEFT) == {("moved", 0): 0, ("moved", 1): 0}
    never_over = {("moved", 0): 100, ("orders", 0): 7}
    assert still_to_go(never_over, LEFT) == {}, "it may not follow, so its lag is that of any topic"


def test_a_protected_group_that_goes_over_is_held_for_by_what_it_has_still_to_read() -> None:
    """It goes over partition by partition; in the other topic it may have been before, too."""
    on_its_way = {("moved", 0): 100, ("moved", 1): 20, ("moved.v2", 0): 95}
    assert still_to_go(on_its_way, LEFT) == {("moved", 0): 0, ("moved", 1): 180}
    for_the_second_time = on_its_way | {("moved.v2", 1): 150}
    assert still_to_go(for_the_second_time, LEFT) == {("moved", 0): 0, ("moved", 1): 180}


def test_letters_of_one_name_may_go_to_the_topic_that_those_of_another_have_left() -> None:
    first = moved(Alias("first", "moved", "moved", 5, 7, json.dumps(OLD)))
    of = Context({}, {"moved": moved(), "first": first}, cast(Any, None), OrderGuard({}))
    assert of.left == {"first": LeftTopic("moved", {})}


def test_a_run_says_to_its_protection_which_topics_were_left(
    config: Config,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[Any, ...]] = []

    class Lag:
        def __init__(self, *given: Any) -> None:
            asked.append(given[1:])

        def check(self) -> None:
            return None

    monkeypatch.setattr(protection, "ConsumerLag", Lag)
    targets: Targets = {"moved": moved(), "orders": Writer("orders", 7, 1, SCHEMAS[7]), "unknown": ODD_ALIAS}
    of = Context({}, targets, Judge(None, targets, REGISTRY.reader(), attempts=3), OrderGuard({}))
    correction = Correction(mode="run", protect=Protect(group="billing", max_lag=5))
    assert "moved.v2" not in config.topics, "the group is protected there all the same"
    with governed(config, correction, {"one": of}) as governor:
        governor.check()
    assert asked == [("billing", ["moved", "moved.v2", "orders"], 5, {"moved": LeftTopic("moved.v2", ALIAS.places)})]


def test_who_edits_a_letter_by_hand_hears_at_once_that_it_could_not_be_taken_there() -> None:
    letter: Any = SimpleNamespace(id="e-1", topic="moved", key=b"k", headers=[])
    in_hand = LetterInHand(*cast(Any, (None, None, None, None)), letter, {"id": "x"}, moved())
    assert in_hand.goes_to == "moved.v2"
    in_hand.check({"id": 1, "note": "a"})
    with pytest.raises(InvalidEventError, match=r"can't go to moved\.v2: rule-failed: 'bad'"):
        in_hand.check({"id": 1, "note": "bad"})
