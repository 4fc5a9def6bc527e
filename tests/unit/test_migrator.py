"""Migrating single events: what passes, what is rejected and in which words, what keeps its branch, what comes back."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest

from deployments.demo.flights import flights
from redrive.avro.codec import Decoder, Encoder
from redrive.avro.schema import AvroSchema, parse
from redrive.errors import RulesError, SchemaError, UnavailableError, UnknownSchemaError
from redrive.events import UNREADABLE, Event
from redrive.migrations.migrator import Direction, Migrator, Recipe
from redrive.migrations.round_trip import Returned, RoundTrip
from redrive.pump.model import Rejected, Skipped
from redrive.wire import prefix

ROOT = Path(__file__).parents[2]
V1, V2 = 1, 2


def schema(*fields: Any, name: str = "Order") -> AvroSchema:
    return parse(json.dumps({"type": "record", "name": name, "fields": list(fields)}), name=name)


def field(name: str, type_: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, **more}


OLD = schema(field("id", "int"), field("note", "string"), field("labels", {"type": "map", "values": "string"}))
NEW = schema(
    field("id", "long"), field("text", "string", aliases=["note"]), field("source", "string", default="shop"),
    field("labels", {"type": "map", "values": "string"}),
)  # fmt: skip
ORDER = {"id": 7, "note": "secret", "labels": {"secret": "secret"}}


def unasked(schema_id: int) -> AvroSchema:
    raise AssertionError(schema_id)


def migrator(
    old: AvroSchema = OLD, new: AvroSchema = NEW, rules: str = "", ask: Callable[[int], AvroSchema] = unasked
) -> Migrator:
    return Migrator(Recipe(V2, {V1: old, V2: new}, rules), ask)


def event(value: Any, written: AvroSchema = OLD, schema_id: int = V1) -> Event:
    return carrying(Encoder(written).encode(value, prefix(schema_id)))


def carrying(body: bytes) -> Event:
    return Event("e-1", "orders", b"k", body, [("h", b"v")], 5, 3, "o")


def values(migrated: Any, wanted: AvroSchema = NEW) -> Any:
    assert isinstance(migrated, Event), migrated
    assert migrated.value is not None
    return Decoder(wanted).decode(migrated.value, 5)


def up(do: str) -> str:
    return f"topic: orders\nup: {{match: first, rules: [{{name: r, match: {{}}, {do}}}]}}"


def test_aliases_defaults_and_promotions_need_no_rule() -> None:
    assert values(migrator().migrate(event(ORDER))) == {
        "id": 7, "text": "secret", "labels": {"secret": "secret"}, "source": "shop",
    }  # fmt: skip


def test_all_but_the_value_stays() -> None:
    given = event(ORDER)
    migrated = migrator().migrate(given)
    assert isinstance(migrated, Event)
    assert migrated.value is not None
    assert migrated.value[:5] == prefix(V2)
    for name in ("id", "topic", "key", "headers", "timestamp", "partition", "origin"):
        assert getattr(migrated, name) == getattr(given, name)


def test_tombstones_and_events_that_are_there_already_pass_as_they_are() -> None:
    tombstone = Event("e", "t", b"k", None, [], 0)
    there = Event("e", "t", b"k", prefix(V2) + b"whatever", [], 0)
    assert migrator().migrate(tombstone) is tombstone
    assert migrator().migrate(there) is there


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "bad-frame: 0 bytes are too few"),
        (b"{}json", "bad-frame: the first byte is 123, not the magic byte 0"),
        (prefix(V1), "bad-frame: the body ends within the value"),
        (prefix(V1) + Encoder(OLD).encode(ORDER) + b"x", "bad-frame: 1 bytes are left after the value"),
    ],
)
@pytest.mark.parametrize("rules", ["", up("do: [{op: drop, path: /none}]")])
def test_what_is_not_one_framed_value_is_rejected(value: bytes, reason: str, rules: str) -> None:
    rejected = migrator(rules=rules).migrate(Event("e", "t", None, value, [], 0))
    assert isinstance(rejected, Rejected)
    assert rejected.reason.startswith(reason)


def test_an_event_whose_headers_can_t_be_read_is_rejected_wherever_it_stands() -> None:
    """Its copy would not have them."""
    events = [event(ORDER) for _ in range(200)]
    events[3].headers = events[4].headers = [UNREADABLE]
    events[4].value = None
    migrated = migrator().migrate_batch(events)
    assert [at for at, one in enumerate(migrated) if isinstance(one, Rejected)] == [3, 4]


def test_an_id_that_is_new_is_asked_for_once() -> None:
    asked = []

    def ask(schema_id: int) -> AvroSchema:
        asked.append(schema_id)
        return OLD

    migrating = migrator(ask=ask)
    for _ in range(3):
        assert isinstance(migrating.migrate(event(ORDER, schema_id=9)), Event)
    assert asked == [9]


def test_an_id_that_nobody_knows_is_rejected_and_one_that_nobody_can_be_asked_for_is_not() -> None:
    """A registry that is down is no reason to park events."""

    def unknown(schema_id: int) -> AvroSchema:
        raise UnknownSchemaError(schema_id, "http://registry")

    def down(schema_id: int) -> AvroSchema:
        raise UnavailableError("registry", "it does not answer")

    stray = event(ORDER, schema_id=9)
    assert migrator(ask=unknown).migrate(stray) == Rejected("unknown-schema: schema id 9 is not in the registry")
    with pytest.raises(UnavailableError):
        migrator(ask=down).migrate(stray)


def test_what_avro_can_t_resolve_is_rejected() -> None:
    new = schema(field("id", "boolean"))
    assert migrator(new=new).migrate(event(ORDER)) == Rejected(
        "incompatible-schema: Avro can't resolve it to the target's schema"
    )


@pytest.mark.parametrize("rules", ["", up("do: [{op: drop, path: /none}]")])
def test_a_number_that_would_be_rounded_is_rejected(rules: str) -> None:
    old, new = schema(field("n", "long")), schema(field("n", "double"))
    migrating = migrator(old, new, rules)
    assert values(migrating.migrate(event({"n": 2**53}, old)), new) == {"n": 2.0**53}
    rejected = migrating.migrate(event({"n": 2**53 + 1}, old))
    assert isinstance(rejected, Rejected)
    assert rejected.reason.startswith("invalid-value: n has more digits than double can keep")


RECORDS = [
    {"type": "record", "name": "Created", "fields": [field("id", "int")]},
    {"type": "record", "name": "Deleted", "fields": [field("id", "int")]},
    {"type": "enum", "name": "Word", "symbols": ["a", "b"]},
    "string",
    "null",
]


@pytest.mark.parametrize(
    "branch", [("Created", {"id": 1}), ("Deleted", {"id": 1}), ("Word", "b"), ("string", "b"), ("null", None)]
)
def test_a_value_keeps_its_branch_where_decoded_values_don_t_tell_it(branch: Any) -> None:
    old = schema(field("what", RECORDS))
    new = schema(field("since", "int", default=0), field("was", RECORDS[::-1], aliases=["what"]))
    stream = BytesIO()
    fastavro.schemaless_writer(stream, old.record, {"what": branch})
    given = Event("e", "t", None, prefix(V1) + stream.getvalue(), [], 0)
    migrated = migrator(old, new).migrate(given)
    assert isinstance(migrated, Event)
    assert migrated.value is not None
    body = BytesIO()
    fastavro.schemaless_writer(body, new.record, {"since": 0, "was": branch})
    assert migrated.value[5:] == body.getvalue()


@pytest.mark.parametrize(
    ("branches", "migrates"), [(["null", "Created"], True), (["null", "Created", "Deleted"], False)]
)
def test_a_record_that_comes_into_a_union_is_migrated_if_there_is_one_branch_for_it(
    branches: list[str], migrates: bool
) -> None:
    """Also where another union of the schema does not tell its branches."""
    old = schema(field("all", RECORDS), field("one", "Created"))
    new = schema(field("all", RECORDS), field("one", branches))
    migrated = migrator(old, new).migrate(event({"all": None, "one": {"id": 1}}, old))
    assert isinstance(migrated, Event if migrates else Rejected)


@pytest.mark.parametrize("rules", ["", up("do: [{op: drop, path: /none}]")])
def test_a_value_that_is_nested_deeply_is_no_trouble(rules: str) -> None:
    """Each level takes a byte; more than Python goes down is rejected."""
    chain = schema(field("next", ["null", "Order"]))
    other = schema(field("then", ["null", "Order"], aliases=["next"]), field("n", "int", default=0))
    for levels in (10, 400, 5_000):
        given = Event("e", "t", None, prefix(V1) + b"\2" * levels + b"\0", [], 0)
        migrated = migrator(chain, other, rules).migrate(given)
        assert isinstance(migrated, Event if levels == 10 else Event | Rejected)


def test_rules_can_t_migrate_a_value_that_fits_two_branches_alike() -> None:
    old = schema(field("what", RECORDS))
    migrating = migrator(old, old, up("do: [{op: drop, path: /none}]"))
    rejected = migrating.migrate(event({"what": {"id": 1}}, old))
    assert rejected == Rejected("invalid-value: what fits Created and Deleted alike, which rules can't keep apart")
    assert isinstance(migrating.migrate(event({"what": None}, old)), Event)


IDLE = "topic: orders\nup: {match: all, rules: [{name: idle, match: {when: event.topic == 'other'}, skip: never}]}"


def test_rules_can_t_migrate_an_object_that_could_become_a_record_or_a_map() -> None:
    was = {"type": "record", "name": "Part", "fields": [field("a", "int", default=7)]}
    old = schema(field("part", [was, {"type": "map", "values": "int"}]))
    new = schema(field("part", [was | {"fields": []}, {"type": "map", "values": "long"}]))
    assert migrator(old, new, IDLE).migrate(event({"part": {}}, old)) == Rejected(
        "invalid-value: part fits Part and map alike, which rules can't keep apart"
    )
    assert values(migrator(old, new, IDLE).migrate(event({"part": {"b": 1}}, old)), new) == {"part": {"b": 1}}


def test_what_is_wrong_with_a_record_in_a_union_is_said_of_that_record() -> None:
    old = schema(field("part", [{"type": "record", "name": "Part", "fields": [field("count", "long")]}, "boolean"]))
    part = {"type": "record", "name": "Part", "fields": [field("number", "float", aliases=["count"])]}
    new = schema(field("part", [part, "boolean"]))
    rejected = migrator(old, new).migrate(event({"part": {"count": 16_777_217}}, old))
    assert isinstance(rejected, Rejected)
    assert "part.number" in rejected.reason
    assert "more digits" in rejected.reason


def test_rules_come_first_and_avro_resolves_what_they_leave() -> None:
    rules = up(
        "do: [{op: add, path: /source, expression: 'string(event.key) + value.note'}, {op: drop, path: /labels}, "
        "{op: default, path: /labels, value: {}}]"
    )
    migrated = migrator(rules=rules).migrate(event(ORDER))
    assert values(migrated) == {"id": 7, "text": "secret", "labels": {}, "source": "ksecret"}


@pytest.mark.parametrize(
    ("do", "outcome"),
    [
        ("skip: a test order", Skipped("a test order")),
        (
            "do: [{op: convert, path: /note, to: integer}]",
            Rejected(
                "rule-failed: 'r': operation 1, convert /note: is a string that is not an integer"
            ),
        ),
        ("do: [{op: add, path: /s, value: x}]", Rejected("invalid-value: s is in neither schema: a rule made it")),
        ("do: [{op: drop, path: /note}]", Rejected("invalid-value: text is missing and has no default")),
        ("do: [{op: add, path: /note, value: 7}]", Rejected("invalid-value: text is an integer, not a string")),
        (
            "do: [{op: replace, path: /labels/secret, value: 7}]",
            Rejected("invalid-value: labels[…] is an integer, not a string"),
        ),
    ],
)  # fmt: skip
def test_what_rules_do_not_bring_to_the_target_is_told_without_the_value(do: str, outcome: Any) -> None:
    assert migrator(rules=up(do)).migrate(event(ORDER)) == outcome


def test_a_target_that_is_missing_and_rules_with_mistakes_are_told_at_once() -> None:
    with pytest.raises(SchemaError, match="id 3"):
        Migrator(Recipe(3, {}), unasked)
    with pytest.raises(RulesError, match=r"m\.yaml:1:1: topic: is missing"):
        Migrator(Recipe(V2, {V2: NEW}, "up: null", "m.yaml"), unasked)


def _migrate(recipe: Recipe, given: Event) -> Any:
    return Migrator(recipe, unasked).migrate(given)


def test_a_recipe_goes_to_another_process() -> None:
    recipe = Recipe(V2, {V1: OLD, V2: NEW}, up("do: [{op: add, path: /note, value: other}]"))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        migrated = pool.apply(_migrate, (recipe, event(ORDER)))
    assert values(migrated)["text"] == "other"


FLIGHT_V1 = parse((ROOT / "schemas" / "flight_departed.avsc").read_text(), name="v1")
FLIGHT_V2 = parse((ROOT / "schemas" / "flight_departed_v2.avsc").read_text(), name="v2")


def flight_recipe(target: int, direction: Direction) -> Recipe:
    rules = (ROOT / "rules" / "flights_v2.yaml").read_text()
    return Recipe(target, {V1: FLIGHT_V1, V2: FLIGHT_V2}, rules, direction=direction)


def test_the_demo_s_flights_go_up_and_come_back_to_the_byte() -> None:
    up_, down = (Migrator(flight_recipe(target, way), unasked) for target, way in ((V2, "up"), (V1, "down")))  # type: ignore[arg-type]
    departed = (value for _, _, value in flights() if value["dep_time"] is not None)
    chosen = [value for number, value in enumerate(departed) if number % 150 == 0 or value["dep_time"] == 2400]
    chosen.append({**chosen[0], "dep_time": -1, "dep_delay": 0, "arr_time": None, "arr_delay": None, "air_time": None})
    encode = Encoder(FLIGHT_V1).encode  # compiled once
    for value in chosen:
        given = carrying(encode(value, prefix(V1)))
        there = up_.migrate(given)
        assert isinstance(there, Event), there
        assert down.migrate(there) == given
    assert len(chosen) > 2_000
    assert values(there, FLIGHT_V2)["cancelled"] is True


def test_a_round_trip_names_the_fields_that_do_not_come_back() -> None:
    """A departure time that contradicts the delay is made anew from that, on the way back."""
    trip = RoundTrip(flight_recipe(V2, "up"), unasked)
    value = next(value for _, _, value in flights() if value["dep_time"] is not None)
    assert trip.round_trip(event(value, FLIGHT_V1)) == Returned(())
    assert trip.round_trip(event({**value, "dep_time": 1, "minute": 59}, FLIGHT_V1)) == Returned(
        ("dep_time", "sched_dep_time")
    )


def test_a_round_trip_tells_which_way_an_event_was_rejected() -> None:
    lost = RoundTrip(Recipe(V2, {V1: OLD, V2: NEW}), unasked).round_trip(event(ORDER))
    assert lost == Rejected("down: incompatible-schema: Avro can't resolve it to the target's schema")
    assert RoundTrip(Recipe(V2, {V1: OLD, V2: NEW}, up("skip: s")), unasked).round_trip(event(ORDER)) == Skipped(
        "up: s"
    )


def test_keys_of_maps_are_not_told_by_a_round_trip() -> None:
    rules = up("do: [{op: replace, path: /labels/secret, value: x}]")
    trip = RoundTrip(Recipe(V2, {V1: OLD, V2: OLD}, rules), unasked)
    assert trip.round_trip(event(ORDER)) == Returned(("labels[*]",))
