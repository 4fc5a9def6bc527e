"""What is to become of a letter, by its value, the rules, the schema of its main topic, and how often it has failed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from redrive import tagged_json
from redrive.avro.schema import parse
from redrive.coding import Reader, Writer
from redrive.deadletters.correction import Judge, Judgement, Rules
from redrive.deadletters.dialects import Record
from redrive.deadletters.judging import judge as code
from redrive.deadletters.judging import marks
from redrive.deadletters.judging.judge import Decision
from redrive.deadletters.judging.targets import NO_SCHEMA, NO_TOPIC, TOPIC_GONE, Targets
from redrive.deadletters.letter import letter_of_bytes, letter_of_value, read_letter, without_value
from redrive.deadletters.selection import Selection
from redrive.errors import UnavailableError
from redrive.events import Event, Headers
from redrive.pump.names import PARKING_TOPIC
from redrive.rules import load_rules
from redrive.schemas import SchemaRegistry

ORDER = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "note", "type": ["null", "string"], "default": None},
        {"name": "labels", "type": {"type": "map", "values": "int"}, "default": {}},
    ],
}
SCHEMA = parse(json.dumps(ORDER))
WRITER = Writer("orders", 7, 1, SCHEMA)
GOOD = WRITER.encode({"id": 1, "note": None, "labels": {}})
ORIGIN = "dlq/one/dlq.shop/2/letters/5/0"
OWN: Headers = [("ce_id", b"e-1"), ("trace", b"\xff"), ("none", None)]
WHY: dict[str, Any] = {"event_id": "e-1", "key": b"k", "headers": OWN, "topic": "orders", "reason": "invalid-value"}
WHY |= {"detail": "is a string", "producer": "shop", "timestamp": 1_000, "field": "id"}
NUMBERS = """\
match: first
rules:
  - name: numbers
    match: {field: id, when: "type(value.id) == string"}
    do: [{op: convert, path: /id, to: integer}]
  - name: tests
    match: {when: "value.note == 'test'"}
    skip: it was a test
"""

Rule = Callable[[str], Rules]


@pytest.fixture
def rules(tmp_path: Path) -> Rule:
    def load(text: str) -> Rules:
        (tmp_path / "rules.yaml").write_text(text)
        return load_rules(tmp_path / "rules.yaml")

    return load


def reader(*ids: int) -> Reader:
    """A reader that knows the schema by these ids, and whose registry is away."""
    registry = SchemaRegistry({"url": "http://127.0.0.1:1", "timeout": 1, "max.retries": 0})
    registry._schemas |= dict.fromkeys(ids, SCHEMA)
    return registry.reader()


def judge(
    letter: Event | Record,
    rules: Rules | None = None,
    *,
    targets: Targets | None = None,
    attempts: int = 3,
    insisted: bool = False,
) -> Judgement:
    targets = {"orders": WRITER} if targets is None else targets
    record = letter if isinstance(letter, Record) else record_of(letter)
    return Judge(rules, targets, reader(7), attempts=attempts, insisted=insisted).judge(record, ORIGIN)


def record_of(letter: Event, timestamp: int = 2_000) -> Record:
    return Record("one", "dlq.shop", 2, 5, timestamp, letter.headers, letter.key, letter.value)


def of_value(value: Any, **more: Any) -> Event:
    return letter_of_value("dlq.shop", value=value, **WHY | more)


def of_bytes(value: bytes | None, **more: Any) -> Event:
    return letter_of_bytes("dlq.shop", value=value, **WHY | more)


def with_header(letter: Event, name: str, value: bytes) -> Event:
    letter.headers = [(name, value) if each == name else (each, old) for each, old in letter.headers]
    return letter


def but_for_the_time_of_day(decision: Decision) -> tuple[Any, ...]:
    """A decision without what letters that go back say of when they were written."""
    event = decision.event
    if event is not None and decision.kind != "publish":
        headers = [header for header in event.headers if header[0] != "redrive-at"]
        event = msgspec.structs.replace(event, headers=headers, timestamp=0)
    return decision.kind, decision.reason, decision.rules, event


def mark(event: Event | None) -> marks.Mark:
    assert event is not None
    return marks.read(dict(event.headers)[code.CORRECTION_HEADER])


def test_a_corrected_letter_is_an_event_with_all_that_it_was_accepted_with(rules: Rule) -> None:
    by = rules(NUMBERS)
    judgement = judge(of_value({"id": "42", "note": "fragile"}), by)
    assert (judgement.kind, judgement.reason, judgement.rules) == ("publish", "", ("numbers",))
    event = judgement.event
    assert event is not None
    assert (event.id, event.topic, event.key, event.timestamp, event.origin) == ("e-1", "orders", b"k", 1_000, ORIGIN)
    assert reader(7).decode(event.value or b"") == {"id": 42, "note": "fragile", "labels": {}}
    assert event.headers[:3] == OWN
    assert dict(event.headers[3:]).keys() == {"redrive-attempt", "redrive-correction"}
    assert mark(event) == marks.Mark(by.digest[:16], ("numbers",))
    assert (judgement.before["id"], judgement.after["id"]) == ("42", 42)


def test_without_rules_bytes_go_on_as_they_are_and_values_if_they_fit() -> None:
    raw = judge(of_bytes(GOOD))
    assert (raw.kind, raw.event and raw.event.value, raw.rules) == ("publish", GOOD, ())
    assert judge(of_value({"id": 1})).kind == "publish"
    assert (judge(of_value({"id": "1"})).kind, judge(of_value({"id": "1"})).reason) == ("reject", code.INVALID)


def test_a_tombstone_stays_one() -> None:
    judgement = judge(of_bytes(None))
    assert judgement.kind == "publish"
    assert judgement.event is not None
    assert judgement.event.value is None


@pytest.mark.parametrize("own", [True, False], ids=["own", "foreign"])
def test_a_letter_without_a_time_or_of_1970_gets_one_that_kafka_keeps(own: bool) -> None:
    """A time of 0 is none to librdkafka, which would put the time of day in its place."""
    connect: Headers = [("__connect.errors.topic", b"orders")]
    record = record_of(of_bytes(GOOD, timestamp=0)) if own else Record("one", "dlq", 0, 0, 0, connect, None, GOOD)
    event = judge(record).event
    assert event is not None
    assert event.timestamp == 1


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        (b"", "WireFormatError"),
        (b"\x01\x00\x00\x00\x07\x02", "WireFormatError"),
        (b'{"id": 7}', "WireFormatError"),
        (GOOD[:-1], "WireFormatError"),
        (GOOD + b"\x00", "WireFormatError"),
    ],
    ids=["empty", "no magic byte", "plain JSON", "truncated", "trailing bytes"],
)
def test_what_is_not_one_value_in_a_frame_is_left(value: bytes, detail: str) -> None:
    judgement = judge(of_bytes(value))
    assert (judgement.kind, judgement.reason, judgement.event) == ("leave", code.UNREADABLE, None)
    assert judgement.detail == detail


def test_a_schema_that_can_not_be_asked_for_now_stops_the_work() -> None:
    with pytest.raises(UnavailableError, match="registry"):
        judge(of_bytes(b"\x00\x00\x00\x00\x09\x02"))


@pytest.mark.parametrize(
    ("targets", "reason"),
    [({}, NO_TOPIC), ({"orders": TOPIC_GONE}, TOPIC_GONE), ({"orders": NO_SCHEMA}, NO_SCHEMA)],
)
def test_a_letter_that_can_go_nowhere_is_left_whatever_it_is(targets: Targets, reason: str) -> None:
    for letter in (of_bytes(GOOD), of_bytes(b"?"), of_value(1)):
        judgement = judge(letter, targets=targets)
        assert (judgement.kind, judgement.reason) == ("leave", reason)


def test_a_letter_that_lost_parts_of_its_value_is_left() -> None:
    for letter in (of_value({"id": object()}), without_value(of_bytes(GOOD))):
        assert judge(letter).reason == code.LOSSY


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("redrive-encoding", b"protobuf"),
        ("redrive-timestamp", b"yesterday"),
        ("redrive-timestamp", b"-5"),
        ("redrive-timestamp", b"9223372036854775808"),
        ("redrive-timestamp", b"1" * 5_000),
        ("redrive-timestamp", "\u0661".encode()),
        ("redrive-attempt", b"-1"),
        ("redrive-attempt", b"1_000"),
    ],
)
def test_an_own_letter_that_is_damaged_is_left(header: str, value: bytes) -> None:
    judgement = judge(with_header(of_value({"id": 1}), header, value))
    assert (judgement.kind, judgement.reason) == ("leave", code.DAMAGED)


def test_an_own_value_that_is_no_json_is_damaged() -> None:
    letter = of_value({"id": 1})
    letter.value = b"{"
    assert judge(letter).reason == code.DAMAGED


def test_no_rule_is_for_it_so_it_is_left(rules: Rule) -> None:
    judgement = judge(of_value({"id": 1, "note": "x"}), rules(NUMBERS))
    assert (judgement.kind, judgement.reason, judgement.event) == ("leave", code.NO_RULE, None)


def test_a_rule_says_that_it_need_not_go_on(rules: Rule) -> None:
    judgement = judge(of_value({"id": 1, "note": "test"}), rules(NUMBERS))
    assert (judgement.kind, judgement.reason, judgement.rules) == ("skip", code.SKIPPED_BY_RULE, ("tests",))
    assert judgement.detail == "it was a test"


@pytest.mark.parametrize(
    ("value", "reason", "detail"),
    [
        ({"id": "x"}, code.RULE_FAILED, "is a string that is not an integer"),
        ({"id": str(2**63)}, code.INVALID, "id "),
        ({"id": "1", "labels": {"secret": "x"}}, code.INVALID, "labels[…]"),
    ],
)
def test_what_can_not_be_put_right_goes_back_with_one_attempt_more(
    rules: Rule, value: Any, reason: str, detail: str
) -> None:
    by = rules(NUMBERS)
    letter = of_value(value)
    judgement = judge(letter, by)
    assert (judgement.kind, judgement.reason, judgement.rules) == ("reject", reason, ("numbers",))
    event = judgement.event
    assert event is not None
    assert (event.topic, event.key, event.value, event.origin) == ("dlq.shop", b"k", letter.value, ORIGIN)
    assert mark(event) == marks.Mark(by.digest[:16], ("numbers",), reason)
    again = read_letter(event.headers, event.key, event.value)
    before = read_letter(letter.headers, letter.key, letter.value)
    for same in ("id", "key", "value", "reason", "topic", "field", "timestamp", "encoding", "producer"):
        assert getattr(again, same) == getattr(before, same)
    assert again.attempt == before.attempt + 1 == 2
    assert detail in judgement.detail
    assert "secret" not in judgement.detail


@pytest.mark.parametrize(("attempt", "kind"), [(1, "reject"), (2, "reject"), (3, "park"), (10**18, "park")])
def test_a_letter_is_parked_when_it_has_come_back_as_often_as_is_allowed(attempt: int, kind: str) -> None:
    judgement = judge(with_header(of_value({"id": "x"}), "redrive-attempt", b"%d" % attempt))
    assert judgement.kind == kind
    assert judgement.event is not None
    if kind == "park":
        assert (judgement.reason, judgement.event.topic) == (code.ATTEMPTS, PARKING_TOPIC)
        assert mark(judgement.event).refused == code.ATTEMPTS


OLDER = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "int"}]}
OTHER = {"type": "record", "name": "Refund", "fields": [{"name": "why", "type": "string"}]}
CHOICE = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": ["long", "string"]}]}


@pytest.mark.parametrize(
    ("schema", "value", "kind"),
    [
        (OLDER, {"id": 1}, "publish"),
        (OTHER, {"why": "x"}, "leave"),
        (CHOICE, {"id": 1}, "publish"),
        (CHOICE, {"id": "1"}, "leave"),
    ],
)
@pytest.mark.parametrize("reason", ["handler-failed", "incompatible-schema"])
def test_without_rules_only_what_the_main_topics_latest_schema_can_take_is_published(
    schema: Any, value: Any, kind: str, reason: str
) -> None:
    parsed = parse(json.dumps(schema))
    registry = SchemaRegistry({"url": "http://127.0.0.1:1", "timeout": 1, "max.retries": 0})
    registry._schemas |= {7: SCHEMA, 8: parsed}
    body = Writer("refunds", 8, 1, parsed).encode(value)
    letter = record_of(of_bytes(body, reason=reason))
    judgement = Judge(None, {"orders": WRITER}, registry.reader(), attempts=3).judge(letter, ORIGIN)
    assert judgement.kind == kind
    if kind == "publish":
        assert judgement.event is not None
        assert judgement.event.value == body
    else:
        assert (judgement.reason, judgement.detail) == (code.UNRESOLVABLE, "written with schema id 8")


@pytest.mark.parametrize(("attempt", "kind"), [(1, "publish"), (3, "publish"), (4, "park"), (10**18, "park")])
@pytest.mark.parametrize("by_rules", [True, False])
def test_nor_is_one_that_could_be_published_tried_more_often(
    rules: Rule, attempt: int, kind: str, by_rules: bool
) -> None:
    """Such as an event that no consumer can handle: else it would go round for ever."""
    letter = of_value({"id": "1"}) if by_rules else of_bytes(GOOD, reason="handler-failed")
    letter = with_header(letter, "redrive-attempt", b"%d" % attempt)
    judgement = judge(letter, rules(NUMBERS) if by_rules else None)
    assert judgement.kind == kind
    assert judgement.event is not None
    if kind == "park":
        assert (judgement.reason, judgement.event.topic) == (code.ATTEMPTS, PARKING_TOPIC)
        assert judgement.event.value == letter.value
        assert judge(letter, rules(NUMBERS) if by_rules else None, insisted=True).kind == "publish"


def test_what_a_rule_skips_or_none_is_for_is_not_parked(rules: Rule) -> None:
    for value, kind in (({"id": 1, "note": "test"}, "skip"), ({"id": 1, "note": "x"}, "leave")):
        assert judge(with_header(of_value(value), "redrive-attempt", b"50"), rules(NUMBERS)).kind == kind


def test_who_selects_parked_letters_has_them_tried_however_often_they_have_failed() -> None:
    assert Selection(fates=["none", "parked"]).insists
    assert not Selection().insists


KEYS = ["secret", "se'cr\"et", "secret" * 50, "secret]", "secret\nkey", "…secret) that", "ключ secret"]


@pytest.mark.parametrize("key", KEYS, ids=ascii)
@pytest.mark.parametrize("value", ["x", {"secret": 1}, 2**40], ids=str)
def test_no_detail_quotes_the_value_or_a_key_of_its_maps(key: str, value: Any) -> None:
    judgement = judge(of_value({"id": 1, "labels": {key: value}}))
    assert judgement.kind == "reject"
    assert "secret" not in judgement.detail


def test_a_key_that_does_not_fit_is_not_quoted() -> None:
    judgement = judge(of_value({"id": 1, "labels": {b"secret": 1}}))
    assert judgement.kind == "reject"
    assert judgement.detail == "labels has a key that is bytes, not a string"


FUNCTION = """\
match: first
rules:
  - {{name: by hand, match: {{}}, function: "tests.unit.rule_functions:{name}"}}
"""


@pytest.mark.parametrize(
    ("name", "kind", "detail"),
    [("fail", "reject", "it raised KeyError"), ("reject", "reject", "not possible"), ("skip", "skip", "not needed")],
)
def test_a_function_that_raises_concerns_its_letter_alone(rules: Rule, name: str, kind: str, detail: str) -> None:
    judgement = judge(of_value({"id": 1}), rules(FUNCTION.format(name=name)))
    assert (judgement.kind, judgement.detail) == (kind, detail)


@pytest.mark.parametrize("name", ["cycle", "anything", "nothing_sensible"])
def test_whatever_a_function_returns_is_checked(rules: Rule, name: str) -> None:
    judgement = judge(of_value({"id": 1}), rules(FUNCTION.format(name=name)))
    assert (judgement.kind, judgement.reason) == ("reject", code.INVALID)


def test_nothing_in_the_place_of_a_value_is_no_deletion(rules: Rule) -> None:
    """A function that forgets to return gives the same."""
    judgement = judge(of_value({"id": 1}), rules(FUNCTION.format(name="tombstone")))
    assert (judgement.kind, judgement.reason) == ("reject", code.RULE_FAILED)


def test_a_rule_that_says_so_makes_a_tombstone(rules: Rule) -> None:
    text = "match: first\nrules: [{name: r, match: {}, do: [{op: replace, path: '', value: null}]}]"
    judgement = judge(of_value({"id": 1}), rules(text))
    assert judgement.kind == "publish"
    assert judgement.event is not None
    assert judgement.event.value is None


@pytest.mark.parametrize("own", [True, False], ids=["own", "foreign"])
def test_headers_of_systems_that_wrote_or_corrected_it_are_gone(own: bool) -> None:
    jobs: Headers = [("redrive-operation", b"op"), ("redrive-source", b"s"), ("redrive-correction", b"{}")]
    foreign: Headers = [("__connect.errors.topic", b"orders"), ("__connect.errors.exception.message", b"secret")]
    if own:
        letter = of_bytes(GOOD, headers=[*OWN, *jobs])
        record = record_of(letter)
    else:
        record = Record("one", "dlq.connect", 0, 0, 77, [*OWN, *foreign, *jobs], b"k", GOOD)
    event = judge(record).event
    assert event is not None
    names = [name for name, _ in event.headers]
    assert names == ["ce_id", "trace", "none", "redrive-attempt", "redrive-correction"]
    assert (event.id, event.topic, event.key) == ("e-1", "orders", b"k")


def test_a_foreign_letter_without_an_id_is_named_by_its_place() -> None:
    connect: Headers = [("__connect.errors.topic", b"orders")]
    event = judge(Record("one", "dlq.connect", 0, 0, 77, connect, None, GOOD)).event
    assert event is not None
    assert (event.id, event.key, event.timestamp) == (ORIGIN, None, 77)


def test_a_foreign_letter_that_fails_becomes_one_of_ours(rules: Rule) -> None:
    connect: Headers = [("__connect.errors.topic", b"orders"), ("__connect.errors.connector.name", b"s3")]
    judgement = judge(Record("one", "dlq.connect", 0, 0, 77, connect, b"k", GOOD), rules(FUNCTION.format(name="fail")))
    assert judgement.kind == "reject"
    event = judgement.event
    assert event is not None
    again = read_letter(event.headers, event.key, event.value)
    assert (again.topic, again.timestamp, again.producer, again.value) == ("orders", 77, "s3", GOOD)
    assert again.attempt > 1


def test_a_judgement_is_the_same_each_time_but_for_the_time_of_day(rules: Rule) -> None:
    by = rules(NUMBERS)
    for value in ({"id": "1"}, {"id": 1, "note": "test"}, {"id": 1, "note": "x"}):
        record = record_of(of_value(value))
        first, second = (msgspec.structs.asdict(judge(record, by)) for _ in range(2))
        assert first == second


def test_a_value_nested_as_deeply_as_json_takes_is_judged() -> None:
    value: Any = 1
    for _ in range(150):
        value = [value]
    letter = of_value({"id": 1})
    letter.value = json.dumps({"id": value}).encode()
    assert judge(letter).kind == "reject"
    letter.value = b'{"id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert judge(letter).reason == code.DAMAGED
    assert tagged_json.decode(b"[[1]]") == [[1]]
