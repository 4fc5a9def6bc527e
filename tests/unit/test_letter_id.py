"""A letter's id, what became of it, and which letters are meant."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from redrive.deadletters.fate import Fate
from redrive.deadletters.letter_id import LetterId, generation, kafka_topic, next_topic
from redrive.deadletters.selection import Selection, key_bytes
from redrive.errors import LetterIdError

LETTER = LetterId("local", "dlq.flights", 2, 4711)


@pytest.mark.parametrize("text", ["dlq.flights/2/4711", "east-1:dlq.flights/2/4711", "a/0/9223372036854775807"])
def test_an_id_is_read_as_it_is_written(text: str) -> None:
    assert str(LetterId.parse(text)) == text


def test_an_id_names_the_cluster_only_where_it_must() -> None:
    assert (str(LETTER), LETTER.short) == ("local:dlq.flights/2/4711", "dlq.flights/2/4711")
    assert LetterId.parse(LETTER.short) == (None, "dlq.flights", 2, 4711)


@pytest.mark.parametrize(
    "text",
    ["", "dlq", "dlq/1", "dlq/1/x", "dlq/-1/1", "d q/1/1", "dlq/1/1/1", "dlq/2147483648/1", f"dlq/1/{2**63}", ":a/1/1"],
)
def test_what_is_no_id_is_refused_by_name(text: str) -> None:
    with pytest.raises(LetterIdError, match="write it like"):
        LetterId.parse(text)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"letter": LetterId(None, "dlq", 0, 0)}, "needs the letter's cluster"),
        ({"name": "lost"}, "is no fate; one of published"),
        ({"reason": "it said: Hello"}, "is a code"),
        ({"name": "published", "topic": "flights", "partition": 0}, "needs topic, partition and offset"),
    ],
)
def test_a_fate_that_says_too_little_or_too_much_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Fate(**({"letter": LETTER, "name": "held"} | changes))


def test_a_selection_takes_the_open_letters_if_nothing_else_is_said() -> None:
    assert Selection().fates == ["none", "held"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"since": datetime(2026, 1, 2, tzinfo=UTC), "until": datetime(2026, 1, 2, tzinfo=UTC)}, "is not before until"),
        ({"since": "2026-01-02T00:00:00"}, "should have timezone info"),
        ({"ids": ["dlq/1"]}, "write it like dlq.flights/2/4711"),
        ({"event_keys": ["hex:0g"]}, "is not hex: and hexadecimal digits"),
        ({"fates": ["lost"]}, "Input should be"),
        ({"dialects": ["klingon"]}, "Input should be"),
        ({"schema_ids": [-1]}, "greater than or equal to 0"),
        ({"reasons": ["a\x00"]}, "should match pattern"),
        ({"topic": ["flights"]}, "Extra inputs are not permitted"),
        ({"ids": ["dlq/1/1"] * 1001}, "at most 1000 items"),
    ],
)
def test_nonsense_in_a_selection_is_refused_before_anything_runs(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Selection(**given)


def test_each_field_of_a_selection_explains_itself() -> None:
    schema = Selection.model_json_schema()
    assert [name for name, field in schema["properties"].items() if not field.get("description")] == []
    assert Selection.model_validate_json(Selection(ids=["dlq/1/1"]).model_dump_json()) == Selection(ids=["dlq/1/1"])


def test_a_key_is_text_or_hexadecimal() -> None:
    assert (key_bytes("anna"), key_bytes("hex:00ff"), key_bytes("ü")) == (b"anna", b"\x00\xff", b"\xc3\xbc")


@pytest.mark.parametrize(("fates", "ended"), [
    (["none", "held", "skipped", "parked"], False), (["published"], True), (["discarded"], True), (["rejected"], True),
])  # fmt: skip
def test_what_has_ended_or_lives_on_as_another_letter_is_told_from_what_can_be_corrected(
    fates: list[Any], ended: bool
) -> None:
    """A rejected letter has gone back to its topic: that one is corrected, not this one, too."""
    assert Selection(fates=fates).takes_ended is ended


def test_a_topic_that_was_made_anew_has_an_id_of_its_own_and_the_same_name_in_kafka() -> None:
    name = next_topic("dlq.flights")
    assert LetterId.parse(f"east:{name}/2/4711") == LetterId("east", "dlq.flights@2", 2, 4711)
    assert [kafka_topic(each) for each in (name, next_topic(name), "dlq.flights")] == ["dlq.flights"] * 3
    assert [generation(each) for each in ("dlq.flights", name, next_topic(name))] == [1, 2, 3]
    for wrong in ("dlq@/0/1", "dlq@0/0/1", "dlq@2@3/0/1", "dlq@x/0/1"):
        with pytest.raises(LetterIdError):
            LetterId.parse(wrong)
