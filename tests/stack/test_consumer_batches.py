"""Batches of events, and when they are committed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.local.stack import Stack
from redrive.consumer import EventConsumer
from tests.stack.consuming import QUICK, letters
from tests.stack.platform import Platform, wait_until


@pytest.fixture
def platform(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    return Platform(stack, tmp_path, monkeypatch)


def test_a_batch_is_committed_when_the_next_is_asked_for(platform: Platform) -> None:
    platform.send(platform.orders, [*platform.orders_of(range(10)), b"junk", *platform.orders_of(range(11, 30))])

    def batches() -> Iterator[list[int]]:
        with EventConsumer(platform.group, platform.config, [platform.orders], settings=QUICK) as consumer:
            for batch in consumer.batches(max_events=10, idle=4):
                yield [event.value["id"] for event in batch]

    reading = batches()
    assert next(reading) == list(range(10))
    assert platform.committed(platform.orders) == 0
    assert next(reading) == list(range(11, 20))
    assert platform.committed(platform.orders) == 10
    wait_until(lambda: [letter.offset for letter in letters(platform)] == [10])  # before its offset is committed
    reading.close()
    assert platform.committed(platform.orders) == 10, "the second batch was not handled"
    rest = list(batches())
    assert [number for batch in rest for number in batch] == list(range(11, 30))
    assert all(rest), "no batch is empty"
    assert platform.committed(platform.orders) == 30


def test_who_leaves_the_loop_may_commit_the_batch_in_hand(platform: Platform) -> None:
    platform.send(platform.orders, platform.orders_of(range(5)))
    with EventConsumer(platform.group, platform.config, [platform.orders], settings=QUICK) as consumer:
        for batch in consumer.batches(max_events=5, max_wait=5):
            assert len(batch) == 5
            consumer.commit()
            break
    assert platform.committed(platform.orders) == 5
