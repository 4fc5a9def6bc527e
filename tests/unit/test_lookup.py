"""Which events in doubt count as being in the topic, also when their own records are gone since."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from redrive.envelope import Identity, headers
from redrive.standby.batches import Stored
from redrive.standby.lookup import Doubtful, followed, identity_of, places


def doubtful(
    name: str, key: bytes | None, *, producer: str = "a-1", at: int = 1_000, partition: int | None = None
) -> Doubtful:
    own = headers(name, source=producer.partition("-")[0], type="orders", time_ms=at)
    return Doubtful.of(producer, Stored(name, key, b"", own, at, partition, True))


def found(*events: Doubtful) -> dict[Identity, set[bytes | None]]:
    there: dict[Identity, set[bytes | None]] = {}
    for event in events:
        there.setdefault(event.identity, set()).add(event.time)
    return there


def test_an_event_is_known_by_its_source_and_id_and_one_without_headers_by_its_id() -> None:
    own = headers("17", source="shop", type="orders", time_ms=0)
    assert identity_of(Stored("17", None, None, own, 0)) == (b"shop", b"17")
    assert identity_of(Stored("17", None, None, [], 0)) == (None, b"17")


def test_what_a_stream_holds_of_a_key_before_an_event_that_is_there_was_there() -> None:
    """The cleaner of a compacted topic has left x3; x1 and x2 after it would bring back an older value."""
    x1, x2, x3, x4 = (doubtful(f"x{n}", b"k", at=n) for n in (1, 2, 3, 4))
    assert followed([x1, x2, x3, x4], found(x3)) == {x1.identity, x2.identity}


def test_an_event_that_is_there_says_nothing_about_other_keys_or_streams_or_what_has_no_key() -> None:
    others = [doubtful("y", b"other"), doubtful("z", b"k", producer="a-2"), doubtful("w", None)]
    last = doubtful("x", b"k")
    assert followed([*others, last], found(last)) == set()


def test_what_was_sent_again_elsewhere_says_nothing_about_what_came_before_it_here() -> None:
    """A partner has sent o-17 again, to another gateway, and that is in Kafka; nothing of this stream need be."""
    before, mine = doubtful("o-16", b"k", at=1), doubtful("o-17", b"k", at=2)
    again = doubtful("o-17", b"k", producer="a-2", at=9)
    assert followed([before, mine], found(again)) == set()


streams = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from((b"k", b"l", b"m"))), max_size=12)


@given(streams, st.tuples(st.integers(0, 12), st.integers(0, 12)), st.sets(st.integers(0, 11)))
def test_whatever_brokers_took_and_cleaned_nothing_that_they_did_not_take_counts_as_there(
    sent: list[tuple[str, bytes]], took: tuple[int, int], kept: set[int]
) -> None:
    """Of each producer, brokers took a beginning; and some of that is left."""
    events = [doubtful(f"{n}", key, producer=f"{name}-1", at=n) for n, (name, key) in enumerate(sent)]
    landed = [
        event
        for name, most in zip("ab", took, strict=True)
        for event in [each for each in events if each.producer == f"{name}-1"][:most]
    ]
    left = found(*(event for n, event in enumerate(landed) if n in kept))
    assert followed(events, left) <= {event.identity for event in landed}


@given(streams, st.tuples(st.integers(0, 12), st.integers(0, 12)))
def test_after_a_cleaner_nothing_older_is_published_over_what_it_has_left_of_a_stream(
    sent: list[tuple[str, bytes]], took: tuple[int, int]
) -> None:
    events = [doubtful(f"{n}", key, producer=f"{name}-1", at=n) for n, (name, key) in enumerate(sent)]
    for name, most in zip("ab", took, strict=True):
        own = [each for each in events if each.producer == f"{name}-1"]
        newest = {event.key: event for event in own[:most]}
        left = found(*newest.values())
        there = left.keys() | followed(own, left)
        published = [event for event in own if event.identity not in there]
        assert published == own[most:]


def test_keys_are_looked_for_in_their_partitions_and_everywhere_if_some_may_have_been_added_since() -> None:
    events = [doubtful("1", b"k"), doubtful("2", b"x", partition=3)]
    assert len(places(events, [5, 5, 5, 5], [0, 0, 0, 0])) == 2
    assert list(places(events, [5, 5, 5, 0], [0, 0, 0, 0])) == [0, 1, 2, 3]
    assert list(places([doubtful("3", None)], [5, 5], [0, 0])) == [0, 1]
    assert list(places([doubtful("4", b"k", partition=9)], [5, 5], [0, 0])) == []
