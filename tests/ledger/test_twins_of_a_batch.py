"""A batch asks the ledger for the twins of its own letters: it finds the same ones as by looking at all letters."""

from __future__ import annotations

import random
from typing import Any, cast

import pytest
from sqlalchemy import event

from redrive.deadletters.correction import Batch, context, mark_doubles, to_settle, twins_of
from redrive.deadletters.dialects import Sighting
from redrive.deadletters.fate import Fate
from redrive.deadletters.letter_id import LetterId
from redrive.deadletters.selection import Selection
from redrive.ledger import Ledger, letter_twins
from tests.ledger.letters import NOW, begin, fill, sighting
from tests.ledger.test_twins import BACK, FORTH, NO_TARGETS, ON, naming

LETTERS = 120
ANY = Selection(fates=[])


def letter(offset: int, rnd: random.Random) -> Sighting:
    """One that has much in common with others."""
    is_placed, any_of = rnd.random() < 0.7, rnd.choice
    return sighting(
        offset,
        cluster=any_of(["local", "local", "east"]),
        partition=any_of([0, 1]),
        event_id=any_of([None, "1", "e1", "e2", "e3", "e4"]),
        main_topic=any_of(["flights", "flights.v2", "flights.v3", "others"]),
        main_partition=any_of([0, 1]) if is_placed else None,
        main_offset=any_of([17, 18, 19]) if is_placed else None,
        main_timestamp=any_of([NOW, NOW, NOW, 0, NOW + 1, None]),
        key=any_of([b"UA", b"UA", b"DL", b"", None]),
        producer=any_of(["flights", "billing"]),
        dialect=any_of(["own", "own", "own", "connect"]),
        attempts=any_of([1, 1, 2]),
        correctable=rnd.random() < 0.9,
    )


def some_fates(letters: list[Sighting], rnd: random.Random) -> list[Fate]:
    fates = []
    for each in rnd.sample(letters, LETTERS // 4):
        place = LetterId(each.cluster, each.topic, each.partition, each.offset)
        name: Any = rnd.choice(["published", "published", "skipped", "doubtful", "parked", "rejected"])
        there = (each.main_topic, 1, rnd.randrange(100)) if name == "published" else (None, None, None)
        fates.append(Fate(place, name, "", (), *there))
    return fates


def batch_of(ledger: Ledger, rnd: random.Random, size: int) -> Batch:
    subjects = list(ledger.letters.subjects(ANY, upto=ledger.letters.last_entry(), also_of=""))
    return Batch(rnd.sample(subjects, size))


def what_comes_of(ledger: Ledger, config: Any, batch: Batch) -> tuple[Any, ...]:
    """The twins of a batch's letters, and what it makes of them."""
    inside = {LetterId(*unit.kafka_partition, offset) for unit in batch.units for offset in unit.offsets}
    groups = list(twins_of(config, cast(Any, None), ledger.letters, batch))
    letters = [twin.letter for group in groups for twin in group]
    assert len(set(letters)) == len(letters), "no letter is in two groups"
    of_batch = [group for group in groups if any(twin.letter in inside for twin in group)]
    known = sorted(sorted(tuple(twin)[:6] for twin in group) for group in of_batch)
    for unit in batch.units:
        unit.doubles, unit.behind = {}, {}
    mark_doubles(batch, groups)
    marked = [(unit.name, sorted(unit.doubles.items()), sorted(unit.behind.items())) for unit in batch.units]
    return known, marked, [(unit.name, list(unit.offsets)) for unit in to_settle(batch, groups)]


@pytest.mark.parametrize("seed", range(6))
def test_they_are_the_same_twins_as_those_found_among_all_letters(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(letter_twins, "_AT_ONCE", 3)
    rnd = random.Random(seed)
    letters = [letter(offset, rnd) for offset in range(LETTERS)]
    fill(ledger, letters)
    ledger.letters.record_fates(begin(ledger), some_fates(letters, rnd))
    with_twins = 0
    for size in (1, 1, 1, 1, 2, 3, 5, 10, LETTERS // 2, LETTERS):
        batch = batch_of(ledger, rnd, size)
        for alias in (FORTH, BACK, ON):
            config = naming(monkeypatch, alias, NO_TARGETS)
            monkeypatch.setattr(context, "FEW", LETTERS)
            found = what_comes_of(ledger, config, batch)
            monkeypatch.setattr(context, "FEW", 0)
            assert found == what_comes_of(ledger, config, batch)
            with_twins += bool(found[0])
    assert with_twins > 9, "there is something to find"


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", ["e-7", "e-no", None])
def test_what_that_takes_does_not_grow_with_the_letters_of_other_events(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    """But for letters without an event id, of which each is looked at; nothing is sorted or grouped, though."""
    work = [0]

    def works() -> None:
        work[0] += 1

    @event.listens_for(ledger.letters._database._engine, "checkout")
    def count(connection: Any, *_: Any) -> None:
        connection.set_progress_handler(works, 10)  # instructions of SQLite's

    def asked() -> int:
        batch = Batch(ledger.letters.subjects(Selection(ids=["dlq.flights/0/7"]), upto=99, also_of=""))
        work[0] = 0
        assert [len(group) for group in twins_of(config, cast(Any, None), ledger.letters, batch)] == [2]
        return work[0]

    config = naming(monkeypatch, FORTH)
    place: dict[str, Any] = {"main_partition": 3, "event_id": name}
    fill(ledger, [sighting(7, main_offset=7, **place), sighting(8, main_offset=7, **place)])
    few = asked()
    others = (
        sighting(at, topic="dlq.a", main_partition=3, main_offset=at, event_id=name and f"e-{at}")
        for at in range(100, 3_100)
    )
    fill(ledger, others)
    many = asked()
    assert many < few * 3 + (0 if name else 3_000 * 5), (few, many)
