"""What a consumer makes of events that will not heal: a dead letter each, and the rest goes on."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from deployments.local.stack import Stack
from redrive.consumer import EventConsumer
from redrive.errors import ConfigError, UnavailableError
from redrive.events import Headers
from redrive.wire import frame
from tests.stack.consuming import Handled, consume, letters, of
from tests.stack.platform import ORDER, Platform, wait_until


@pytest.fixture
def platform(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    return Platform(stack, tmp_path, monkeypatch)


@pytest.fixture
def narrow(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """One whose dead-letter topic takes 100 KB."""
    return Platform(stack, tmp_path, monkeypatch, dlq='config = { "max.message.bytes" = 100000 }')


def test_what_can_t_be_decoded_is_dead_lettered_and_the_rest_goes_on(platform: Platform) -> None:
    good = platform.orders_of(range(8))
    other = platform.register(f"other-{platform.orders}", "string")
    bad = [
        (b"", "bad-frame", None),
        (b"\x01junk", "bad-frame", None),
        (b'{"id": 1}', "bad-frame", None),
        (good[0][:-1], "bad-frame", platform.writer.schema_id),
        (good[0] + b"\x00", "bad-frame", platform.writer.schema_id),
        (frame(2_147_480_000, b"x"), "unknown-schema", 2_147_480_000),
        (frame(other, b"\x02a"), "incompatible-schema", other),
    ]
    mixed = [value for pair in zip(good, [data for data, _, _ in bad] + [good[0]], strict=True) for value in pair]
    platform.send(platform.orders, mixed, headers=[("trace", b"t")])
    handled = Handled()
    schemas = {platform.orders: json.dumps(ORDER)}
    counts = consume(platform, handled, until=lambda: len(handled.events) >= 9, schemas=schemas)
    assert handled.ids == [*range(8), 0]
    assert counts["dead_lettered"] == len(bad)
    found = letters(platform)
    assert [(letter.value, letter.reason, letter.schema_id) for letter in found] == bad
    assert [(letter.topic, letter.partition, letter.offset) for letter in found] == [
        (platform.orders, 0, 2 * number + 1) for number in range(len(bad))
    ]
    assert {(letter.key, tuple(letter.headers), letter.producer) for letter in found} == {
        (b"k", (("trace", b"t"),), platform.group)
    }
    assert platform.committed(platform.orders) == len(mixed)


def test_a_dead_letter_too_large_for_its_topic_goes_without_its_value(narrow: Platform) -> None:
    """The lane must not get stuck; the value is still where it was read."""
    narrow.send(narrow.orders, [b"\x01" + os.urandom(499_999), *narrow.orders_of([1])])
    handled = Handled()
    consume(narrow, handled, until=lambda: bool(handled.events))
    (letter,) = letters(narrow)
    assert (letter.value, letter.lossless, letter.offset) == (None, False, 0)
    assert "500,000 bytes" in letter.detail


@pytest.mark.parametrize(
    ("key", "more", "kept"),
    [
        (b"k", [("trace", os.urandom(200_000))], b"k"),
        (b"k", [("trace", os.urandom(8)) for _ in range(20_000)], b"k"),
        (os.urandom(200_000), [("trace", b"x")], None),
    ],
    ids=["header", "20,000 headers", "key"],
)
def test_a_dead_letter_too_large_even_without_its_value_says_where_its_event_is(
    narrow: Platform, key: bytes, more: Headers, kept: bytes | None
) -> None:
    narrow.send(narrow.orders, [b"\x01junk"], key=key, headers=[*of("e-1"), *more])
    narrow.send(narrow.orders, narrow.orders_of([1]))
    handled = Handled()
    consume(narrow, handled, until=lambda: bool(handled.events))
    (letter,) = letters(narrow)
    assert (letter.id, letter.key, letter.value, letter.lossless) == ("e-1", kept, None, False)
    assert (letter.topic, letter.partition, letter.offset) == (narrow.orders, 0, 0)
    assert "trace" not in dict(letter.headers)
    assert f"its key of {len(key):,} bytes" in letter.detail
    assert narrow.committed(narrow.orders) == 2


def test_dead_letters_that_fit_their_topic_one_by_one_are_whole_when_many_come_at_once(narrow: Platform) -> None:
    bad = [b"\x01" + os.urandom(40_000) for _ in range(30)]
    narrow.send(narrow.orders, [*bad, *narrow.orders_of([1])])
    handled = Handled()
    consume(narrow, handled, until=lambda: bool(handled.events))
    assert [(letter.value, letter.lossless) for letter in letters(narrow)] == [(value, True) for value in bad]


def test_while_dead_letters_can_t_be_written_nothing_is_committed(platform: Platform) -> None:
    admin = AdminClient({"bootstrap.servers": platform.bootstrap})
    admin.delete_topics([platform.dead_letters])[platform.dead_letters].result()
    wait_until(lambda: platform.dead_letters not in admin.list_topics(timeout=10).topics)
    platform.send(platform.orders, [b"junk"])
    with pytest.raises(UnavailableError, match=f"dead-letter topic {platform.dead_letters}"):
        consume(platform, Handled(), until=None)
    assert platform.committed(platform.orders) == 0


def test_a_group_without_a_dead_letter_topic_is_refused_at_the_start(platform: Platform) -> None:
    with pytest.raises(ConfigError, match=r"dlq\.nobody"):
        EventConsumer("nobody", platform.config, [platform.orders])
