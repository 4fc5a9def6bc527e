"""Which letters are of the same event, and which of them goes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from redrive.aliases.alias import Alias, Aliases
from redrive.avro.schema import parse
from redrive.coding import Writer
from redrive.deadletters.correction import Batch, context, give_way, mark_doubles, twins_of
from redrive.deadletters.correction.doubles import ANOTHER_FIRST, OTHER_READERS, SAME_EVENT
from redrive.deadletters.dialects import Sighting
from redrive.deadletters.fate import Fate, FateName
from redrive.deadletters.judging import finding
from redrive.deadletters.judging.targets import MOVED_BACK, NO_MIGRATION, NO_TOPIC, MovedWriter
from redrive.deadletters.letter_id import LetterId
from redrive.deadletters.selection import Selection
from redrive.ledger import Ledger
from tests.ledger.letters import NOW, begin, fate, fill, sighting

HERE = [("local", "flights")]
SCHEMA = parse('"string"')
PLACE: dict[str, Any] = {"main_partition": 3, "main_offset": 17, "event_id": "e17"}


def twins(ledger: Ledger) -> list[list[int]]:
    return [sorted(twin.letter.offset for twin in group) for group in ledger.letters.twins(HERE)]


def doubles(ledger: Ledger, settled: frozenset[LetterId] = frozenset(), **selection: Any) -> dict[int, str]:
    """What a batch does not publish, in the only partition."""
    selected = Selection(**selection)
    batch = Batch(ledger.letters.subjects(selected, upto=ledger.letters.last_entry(), also_of=""))
    mark_doubles(batch, ledger.letters.twins(batch.wanted), settled)
    (unit,) = batch.units
    return unit.doubles


@pytest.mark.parametrize(
    ("first", "second"),
    [
        # Of a consumer that died before it had committed; of two groups; of two systems, which count their own way.
        (PLACE, PLACE),
        (PLACE | {"producer": "billing"}, PLACE | {"producer": "shipping"}),
        (PLACE | {"dialect": "connect"}, PLACE | {"dialect": "spring", "main_timestamp": NOW + 1, "attempts": 2}),
        (PLACE | {"event_id": None}, PLACE | {"event_id": None}),
        # One that does not say all that another one says.
        (PLACE, PLACE | {"main_timestamp": None}),
        (PLACE, PLACE | {"key": None}),
        # A producer's, which was read from nowhere.
        ({"event_id": "e"}, {"event_id": "e"}),
    ],
)
def test_letters_of_one_event_are_known(ledger: Ledger, first: dict[str, Any], second: dict[str, Any]) -> None:
    fill(ledger, [sighting(0, **first), sighting(1), sighting(2, **second)])
    assert twins(ledger) == [[0, 2]]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        # It has come back, after it was published again; the topic was made anew; or it has no id.
        (PLACE, PLACE | {"main_offset": 900, "attempts": 2}),
        (PLACE, PLACE | {"event_id": "e1"}),
        (PLACE, PLACE | {"main_timestamp": NOW + 86_400_000}),
        (PLACE, PLACE | {"key": b"DL"}),
        (PLACE | {"event_id": None}, PLACE | {"event_id": None, "main_timestamp": NOW + 1}),
        (PLACE, PLACE | {"main_topic": "other"}),
        (PLACE, PLACE | {"cluster": "east"}),
        # Whoever counts from 1 uses an id again.
        ({"event_id": "1"}, {"event_id": "1", "main_timestamp": NOW + 1}),
        ({"event_id": "1"}, {"event_id": "1", "producer": "another"}),
        ({"event_id": "1"}, {"event_id": "1", "key": b"DL"}),
        ({"event_id": None}, {"event_id": None}),
        # Nothing is known of where it comes from, and how often.
        ({"event_id": "e", "dialect": "confluent"}, {"event_id": "e", "dialect": "confluent"}),
    ],
)
def test_letters_of_several_events_are_no_twins(ledger: Ledger, first: dict[str, Any], second: dict[str, Any]) -> None:
    fill(ledger, [sighting(0, **first), sighting(2, **second)])
    assert twins(ledger) == []


def test_letters_of_one_place_are_of_several_events_if_its_topic_was_made_anew_and_a_producer_counts_from_1(
    ledger: Ledger,
) -> None:
    anew: dict[str, Any] = PLACE | {"main_timestamp": NOW + 86_400_000}
    fill(
        ledger,
        [
            *(sighting(at, **PLACE) for at in (0, 1)),
            *(sighting(at, **anew) for at in (2, 3)),
            sighting(4, **anew | {"key": b"DL"}),
            sighting(5, **PLACE | {"main_timestamp": None, "key": b"DL"}),
        ],
    )
    ledger.letters.record_fates(begin(ledger), [fate(0, "published")])
    assert twins(ledger) == [[0, 1], [2, 3], [4, 5]]
    assert doubles(ledger) == {1: SAME_EVENT, 3: ANOTHER_FIRST, 5: ANOTHER_FIRST}


def test_of_the_letters_of_one_event_one_goes(ledger: Ledger) -> None:
    fill(ledger, [sighting(0, **PLACE), sighting(1, **PLACE), sighting(2), sighting(3, **PLACE)])
    assert doubles(ledger) == {1: ANOTHER_FIRST, 3: ANOTHER_FIRST}


def test_it_is_one_that_has_all_of_its_value(ledger: Ledger) -> None:
    fill(ledger, [sighting(0, **PLACE, correctable=False), sighting(1, **PLACE)])
    assert doubles(ledger) == {0: ANOTHER_FIRST}


def test_the_next_one_goes_in_the_place_of_one_that_is_left(ledger: Ledger) -> None:
    fill(ledger, [sighting(0, **PLACE), sighting(1, **PLACE), sighting(2, event_id="e9"), sighting(3, **PLACE)])
    batch = Batch(ledger.letters.subjects(Selection(), upto=ledger.letters.last_entry(), also_of=""))
    mark_doubles(batch, ledger.letters.twins(batch.wanted))
    (unit,) = batch.units
    first, second, third = (LetterId("local", "dlq.flights", 0, offset) for offset in (0, 1, 3))
    assert unit.behind == {0: [second, third]}
    assert give_way(batch, {first: "no-rule"})
    assert (unit.doubles, unit.behind) == ({0: "no-rule", 3: ANOTHER_FIRST}, {1: [third]})
    assert give_way(batch, {second: "unreadable"})
    assert (unit.doubles, unit.behind) == ({0: "no-rule", 1: "unreadable"}, {})
    assert not give_way(batch, {})


def test_if_nothing_can_go_of_any_the_last_one_says_itself_why(ledger: Ledger) -> None:
    fill(ledger, [sighting(at, **PLACE) for at in range(3)])
    batch = Batch(ledger.letters.subjects(Selection(), upto=ledger.letters.last_entry(), also_of=""))
    mark_doubles(batch, ledger.letters.twins(batch.wanted))
    (unit,) = batch.units
    assert give_way(batch, {LetterId("local", "dlq.flights", 0, at): "no-rule" for at in range(3)})
    assert (unit.doubles, unit.behind) == ({0: "no-rule", 1: "no-rule"}, {})


def test_once_it_is_published_the_others_are_given_up_whoever_selects_them(ledger: Ledger) -> None:
    operation = fill(ledger, [sighting(0, **PLACE, producer="billing"), sighting(1, **PLACE, producer="shipping")])
    assert doubles(ledger, producers=["shipping"]) == {}  # the other one may never go
    ledger.letters.record_fates(operation, [fate(0, "published")])
    assert doubles(ledger) == {1: SAME_EVENT}
    assert doubles(ledger, producers=["shipping"]) == {1: SAME_EVENT}


@pytest.mark.parametrize("ended", ["rejected", "discarded", "skipped"])
def test_another_goes_in_the_place_of_one_that_did_not(ledger: Ledger, ended: FateName) -> None:
    operation = fill(ledger, [sighting(0, **PLACE), sighting(1, **PLACE)])
    ledger.letters.record_fates(operation, [fate(0, ended)])
    assert doubles(ledger) == {}


def test_while_nobody_knows_whether_it_was_published_none_goes(ledger: Ledger) -> None:
    first: list[Sighting] = [sighting(0, **PLACE), sighting(1, **PLACE)]
    operation = fill(ledger, first)
    unentered = frozenset([LetterId("local", "dlq.flights", 0, 0)])
    assert doubles(ledger, unentered, ids=["dlq.flights/0/1"]) == {1: ANOTHER_FIRST}
    ledger.letters.record_fates(operation, [fate(0, "doubtful")])
    assert doubles(ledger) == {1: ANOTHER_FIRST}
    assert doubles(ledger, fates=["doubtful", "none"]) == {1: ANOTHER_FIRST}
    ledger.letters.record_fates(operation, [fate(0, "published")])
    assert doubles(ledger) == {1: SAME_EVENT}


def test_an_operation_that_goes_on_finds_what_it_had_planned(ledger: Ledger) -> None:
    operation = fill(ledger, [sighting(0, **PLACE), sighting(1, **PLACE)])
    ledger.letters.record_fates(operation, [fate(0, "published")])
    upto = ledger.letters.last_entry()
    batch = Batch(ledger.letters.subjects(Selection(), upto=upto, also_of=operation.id))
    mark_doubles(batch, ledger.letters.twins(batch.wanted))
    (unit,) = batch.units
    assert (list(unit.offsets), unit.doubles) == ([0, 1], {1: ANOTHER_FIRST})


def test_letters_of_events_that_have_a_letter_on_another_cluster_are_counted(ledger: Ledger) -> None:
    east: dict[str, Any] = {"cluster": "east"}
    fill(
        ledger,
        [
            *(sighting(at) for at in range(5)),
            sighting(0, event_id="e-0", **east),
            sighting(1, event_id="e-1", main_timestamp=NOW + 1, **east),  # somebody counts from 1 again
            sighting(2, event_id="e-2", main_topic="other", **east),
            sighting(3, event_id="e-3", **east),
            sighting(4, event_id=None, **east),
        ],
    )
    upto = ledger.letters.last_entry()
    assert ledger.letters.on_two_clusters(Selection(), upto=upto) == 4
    assert ledger.letters.on_two_clusters(Selection(clusters=["local"]), upto=upto) == 2
    assert ledger.letters.on_two_clusters(Selection(), upto=upto - 1) == 0
    given_up = Fate(LetterId("east", "dlq.flights", 0, 3), "discarded")
    ledger.letters.record_fates(begin(ledger), [given_up])
    assert ledger.letters.on_two_clusters(Selection(), upto=upto) == 2


THERE: dict[str, Any] = {"main_topic": "flights.v2", "main_partition": 3, "main_offset": 40, "event_id": "e17"}
"""The copy of the event that `PLACE` names."""
AGAIN: dict[str, Any] = {"main_offset": 900, "attempts": 2}
"""That it was published again, and has failed again."""
FORTH = Alias("flights", "flights.v2", "flights.v2", 1, 7, "{}", places={3: (50, 60)})
BACK = Alias("flights", "flights.v2", "flights", 2, 7, "{}", places={3: (70, 80)})
ON = Alias("flights", "flights.v3", "flights.v3", 3, 7, "{}", places={3: (90, 90)}, past=("flights.v2",))
NO_TARGETS: dict[str, Any] = {}
FOREIGN: dict[str, Any] = {"dialect": "connect", "main_timestamp": NOW + 5}
"""Read from a topic that stamps its own time."""


def published(offset: int, topic: str, at: int) -> Fate:
    """The fate of a letter whose event was published there."""
    return Fate(LetterId("local", "dlq.flights", 0, offset), "published", "", (), topic, 3, at)


def naming(monkeypatch: pytest.MonkeyPatch, alias: Alias, targets: dict[str, Any] = NO_TARGETS) -> Any:
    """Settings of a cluster on which a name stands for something."""
    aliases = Aliases({alias.name: alias}, {})

    def find_targets(_config: Any, _registry: Any, _cluster: str, topics: list[str], _aliases: Any) -> dict[str, Any]:
        found = {}
        for topic in topics:
            writer = Writer(topic, 7, 1, SCHEMA)
            other = finding.moved(aliases, topic)
            moved: Any = None if other is None else MovedWriter(writer, other, cast(Any, None))
            found[topic] = targets.get(topic) or finding._waits(aliases, topic) or moved or writer
        return found

    monkeypatch.setattr(context, "read_aliases", lambda _: aliases)
    monkeypatch.setattr(context, "find_targets", find_targets)
    return SimpleNamespace(cluster=lambda _: SimpleNamespace(client_config=dict))


def with_names(
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    alias: Alias,
    targets: dict[str, Any] = NO_TARGETS,
    **selection: Any,
) -> dict[int, str]:
    """What a batch does not publish while a name stands for something, in the only partition."""
    config = naming(monkeypatch, alias, targets)
    batch = Batch(ledger.letters.subjects(Selection(**selection), upto=ledger.letters.last_entry(), also_of=""))
    mark_doubles(batch, twins_of(config, cast(Any, None), ledger.letters, batch))
    (unit,) = batch.units
    return unit.doubles


def test_letters_that_name_an_event_by_the_old_and_the_new_topic_go_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = [sighting(0, **PLACE), sighting(1, **PLACE, producer="more"), sighting(2), sighting(3, **THERE)]
    operation = fill(ledger, letters)
    first = {0: ANOTHER_FIRST, 1: ANOTHER_FIRST}
    assert with_names(ledger, monkeypatch, FORTH) == first, "no rules have to take what is there already"
    old = ["flights"]
    assert with_names(ledger, monkeypatch, FORTH, topics=old) == {1: ANOTHER_FIRST}
    ledger.letters.record_fates(operation, [published(3, "flights.v2", 60)])
    assert with_names(ledger, monkeypatch, FORTH, topics=old) == {0: SAME_EVENT, 1: SAME_EVENT}


def test_whichever_of_both_has_gone(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    operation = fill(ledger, [sighting(0, **PLACE), sighting(1, **THERE)])
    ledger.letters.record_fates(operation, [published(0, "flights", 30)])  # before the switch, and copied
    assert with_names(ledger, monkeypatch, FORTH) == {1: SAME_EVENT}


@pytest.mark.parametrize("alias", [FORTH, BACK, ON])
def test_what_readers_of_the_old_topic_may_not_have_got_is_for_a_person_to_decide(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, alias: Alias
) -> None:
    """Published in the new topic before they came there; or they have left it since, and who knows when they came."""
    letters = [sighting(0, **PLACE), sighting(1, **PLACE, producer="more"), sighting(2, **THERE), sighting(3, **THERE)]
    operation = fill(ledger, letters)
    ledger.letters.record_fates(operation, [published(2, "flights.v2", 59), *([] if alias is FORTH else [fate(3)])])
    open_ones = {0: OTHER_READERS, 1: OTHER_READERS, 3: SAME_EVENT}
    assert with_names(ledger, monkeypatch, alias) == open_ones
    ledger.letters.record_fates(operation, [published(0, alias.current, 95)])
    assert with_names(ledger, monkeypatch, alias) == {1: SAME_EVENT, 3: SAME_EVENT}, "once a person has decided"


def test_what_was_published_by_its_own_name_is_published_wherever_that_led(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = fill(ledger, [sighting(0, **PLACE), sighting(1, **PLACE), sighting(2, **THERE)])
    ledger.letters.record_fates(operation, [published(0, "flights.v2", 65)])
    assert with_names(ledger, monkeypatch, BACK) == {1: SAME_EVENT, 2: SAME_EVENT}


def test_a_letter_that_nothing_can_be_published_of_says_why_and_no_other_one_waits_for_it(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(ledger, [sighting(0, **PLACE), sighting(1, **THERE)])
    assert with_names(ledger, monkeypatch, FORTH) == {0: ANOTHER_FIRST}
    assert with_names(ledger, monkeypatch, FORTH, {"flights.v2": NO_TOPIC}) == {1: NO_TOPIC}
    both = {"flights": NO_MIGRATION, "flights.v2": NO_TOPIC}
    assert with_names(ledger, monkeypatch, FORTH, both) == {0: NO_MIGRATION, 1: NO_TOPIC}


def test_a_letter_of_another_time_is_one_with_those_of_the_other_topic_by_the_place_that_it_names(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = [
        sighting(0, **PLACE),
        sighting(1, **PLACE | FOREIGN),
        sighting(2, **THERE),
        sighting(3, **THERE | FOREIGN),
    ]
    operation = fill(ledger, letters)
    assert with_names(ledger, monkeypatch, FORTH) == {0: ANOTHER_FIRST, 1: ANOTHER_FIRST, 3: ANOTHER_FIRST}
    ledger.letters.record_fates(operation, [published(3, "flights.v2", 60)])
    assert with_names(ledger, monkeypatch, FORTH, topics=["flights"]) == {0: SAME_EVENT, 1: SAME_EVENT}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        # It was published again before or after the switch, and has failed again.
        (PLACE, THERE | AGAIN),
        (PLACE | AGAIN, THERE),
        (PLACE, THERE | {"main_timestamp": NOW + 1}),
        (PLACE, THERE | {"event_id": "e1"}),
        (PLACE, THERE | {"key": b"DL"}),
        (PLACE | {"event_id": None}, THERE | {"event_id": None}),
        (PLACE, THERE | {"main_topic": "another"}),
        # A producer's own letter, which never was in a topic, and one of a consumer.
        ({"event_id": "e17"}, THERE),
    ],
)
def test_other_letters_of_the_two_topics_are_no_twins(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, first: dict[str, Any], second: dict[str, Any]
) -> None:
    operation = fill(ledger, [sighting(0, **first), sighting(1, **second)])
    assert with_names(ledger, monkeypatch, FORTH) == {}
    ledger.letters.record_fates(operation, [published(0, "flights.v2", 60)])
    assert with_names(ledger, monkeypatch, FORTH) == {}


def test_what_has_failed_again_in_both_topics_is_one_event_even_if_its_letter_went_back_before(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The letter of a place that was written first says how often the event had failed before it came there."""
    operation = fill(
        ledger,
        [
            sighting(0, **PLACE),
            sighting(1, **PLACE | {"attempts": 2}),  # the same letter, which rules could not put right
            sighting(2, **THERE),
            sighting(3, **PLACE | AGAIN),
            sighting(4, **THERE | {"main_offset": 950, "attempts": 2}),
        ],
    )
    ledger.letters.record_fates(operation, [fate(0, "rejected")])
    assert with_names(ledger, monkeypatch, FORTH) == {1: ANOTHER_FIRST, 3: ANOTHER_FIRST}


def test_a_letter_is_not_given_up_for_one_of_a_topic_whose_letters_wait(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(ledger, [sighting(0, **THERE), sighting(1, **PLACE)])
    assert with_names(ledger, monkeypatch, BACK) == {0: MOVED_BACK}, "nobody reads the new topic any more"


def test_a_producer_s_own_letters_of_one_event_by_both_names_go_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {"main_topic": "flights.v2"}
    fill(ledger, [sighting(0, event_id="e"), sighting(1, event_id="e", **there)])
    assert with_names(ledger, monkeypatch, FORTH) == {0: ANOTHER_FIRST}
    fill(
        ledger,
        [sighting(0, event_id="f", topic="dlq.b"), sighting(1, event_id="f", topic="dlq.b", producer="x", **there)],
    )
    assert with_names(ledger, monkeypatch, FORTH, dead_letter_topics=["dlq.b"]) == {}
