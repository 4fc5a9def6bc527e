"""How dead letters are selected, listed, grouped and counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from redrive.deadletters.selection import Selection
from redrive.ledger import Ledger
from tests.ledger.letters import ANY, HOUR, NOW, begin, fate, fill, offsets, sighting


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        ({}, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        ({"reasons": ["unknown"]}, [1]),
        ({"producers": ["billing"]}, [2]),
        ({"topics": ["orders", "other"]}, [3]),
        ({"topics": [""]}, [8]),
        ({"clusters": ["east"]}, [4]),
        ({"dead_letter_topics": ["dlq.billing"]}, [5]),
        ({"event_keys": ["hex:00ff"]}, [6]),
        ({"schema_ids": [2**32 - 1]}, [7]),
        ({"dialects": ["spring"]}, [8]),
        ({"ids": ["dlq.flights/0/1", "dlq.flights/0/4", "local:dlq.flights/0/6"]}, [1, 4, 6]),
        ({"ids": ["local:dlq.flights/0/4"]}, []),
        ({"since": datetime.fromtimestamp(NOW // 1000, UTC) + timedelta(milliseconds=9)}, [2, 3, 4, 5, 6, 7, 8]),
        ({"until": datetime.fromtimestamp(NOW // 1000, UTC) + timedelta(milliseconds=9)}, [0, 1]),
        ({"since": datetime.fromtimestamp(NOW // 1000, UTC) + timedelta(microseconds=8001)}, [2, 3, 4, 5, 6, 7, 8]),
        ({"reasons": ["unknown"], "producers": ["billing"]}, []),
        ({"reasons": ["unknown", "invalid-value"], "producers": ["billing"]}, [2]),
        ({"fates": ["published"]}, []),
    ],
)
def test_a_selection_is_what_meets_all_of_its_conditions(ledger: Ledger, selection: Any, found: list[int]) -> None:
    fill(
        ledger,
        [
            sighting(0),
            sighting(1, reason="unknown"),
            sighting(2, producer="billing"),
            sighting(3, main_topic="orders"),
            sighting(4, cluster="east"),
            sighting(5, topic="dlq.billing"),
            sighting(6, key=b"\x00\xff"),
            sighting(7, schema_id=2**32 - 1),
            sighting(8, dialect="spring", main_topic=""),
        ],
    )
    assert sorted(offsets(ledger, **selection)) == found
    assert ledger.letters.count(Selection(**selection)) == len(found)


def test_a_selection_is_of_open_letters_unless_it_names_other_fates(ledger: Ledger) -> None:
    fill(ledger, [sighting(offset) for offset in range(7)])
    names = ["published", "held", "skipped", "parked", "rejected", "discarded"]
    ledger.letters.record_fates(begin(ledger), [fate(offset, name) for offset, name in enumerate(names)])
    assert offsets(ledger) == [1, 6]
    assert offsets(ledger, fates=[]) == [0, 1, 2, 3, 4, 5, 6]
    assert offsets(ledger, fates=["none", "parked"]) == [3, 6]


def test_as_many_ids_as_a_selection_takes_are_found(ledger: Ledger) -> None:
    fill(ledger, [sighting(partition, partition=partition) for partition in range(1_001)])
    ids = [f"{'local:' if at % 2 else ''}dlq.flights/{at}/{at}" for at in range(1_000)]
    assert ledger.letters.count(Selection(ids=ids)) == 1_000


def test_letters_come_in_their_order_whatever_the_size_of_pages(ledger: Ledger) -> None:
    names = ["Z", "a", "a-b", "a.b", "a_b", "ab"]
    letters = [
        sighting(offset + place, main_topic=main, topic=topic, partition=partition)
        for place, main in enumerate(names)
        for topic in names[:2]
        for partition in (0, 2, 10)
        for offset in (2**40, 10)
    ]
    fill(ledger, letters)
    expected = sorted((each.cluster, each.main_topic, each.topic, each.partition, each.offset) for each in letters)
    for page in (1, 7, 72, 5_000):
        assert [tuple(place)[:-1] for place in ledger.letters.places(ANY, page=page)] == expected
    listed = ledger.letters.find(ANY, limit=70)
    listed += ledger.letters.find(ANY, limit=70, after=listed[-1].place)
    assert [tuple(known.place)[:-1] for known in listed] == expected


def test_groups_tell_how_many_how_old_and_how_often(ledger: Ledger) -> None:
    first, second = sighting(0, attempts=3), sighting(1, correctable=False)
    fill(ledger, [first, second, sighting(2, producer="billing")])
    big, small = ledger.letters.groups(Selection())
    assert (big.reason, big.producer, big.topic, big.letters, big.correctable, big.attempts) == (
        "invalid-value",
        "flights",
        "flights",
        2,
        1,
        3,
    )
    assert round(big.oldest.timestamp() * 1000) == NOW
    assert round(big.newest.timestamp() * 1000) == NOW + 1
    assert (small.producer, small.letters) == ("billing", 1)


def test_the_trend_counts_letters_by_hour_or_day(ledger: Ledger) -> None:
    midnight = NOW - NOW % (24 * HOUR)
    times = [midnight - 1, midnight, midnight + HOUR - 1, midnight + HOUR, midnight + 3 * HOUR]
    fill(ledger, [sighting(offset, timestamp=time) for offset, time in enumerate(times)])
    day = datetime.fromtimestamp(midnight // 1000, UTC)
    hour = timedelta(hours=1)
    assert ledger.letters.trend(Selection(), "hour") == [
        (day - hour, 1),
        (day, 2),
        (day + hour, 1),
        (day + 3 * hour, 1),
    ]
    assert ledger.letters.trend(Selection(), "day") == [(day - timedelta(days=1), 1), (day, 4)]
