"""A dead-letter topic that was deleted and made again: its letters have ids that others have already."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import tasks.dlq_triage.steps
from redrive.config import Config
from redrive.deadletters.accepting import Accept
from redrive.deadletters.correction.settling import REFUSED
from redrive.deadletters.fate import Fate
from redrive.deadletters.letter_id import LetterId
from redrive.deadletters.retention import Keeps
from redrive.deadletters.selection import Selection
from redrive.deadletters.triage import Triaged, triage
from redrive.deadletters.unread import unread_letters
from redrive.ledger import Ledger
from redrive.pump import readback
from redrive.pump.names import PARKING_TOPIC, SOURCE_HEADER
from tasks.dlq_triage.steps import look
from tests.ledger.letters import begin
from tests.unit.mock_kafka import PARTITIONS, MockKafka


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as opened:
        yield opened


@pytest.fixture(autouse=True)
def _mock_clusters_describe_no_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readback, "_partition_count", lambda *_: PARTITIONS)


def triaged(kafka: MockKafka, ledger: Ledger) -> Triaged:
    return triage({"bootstrap.servers": kafka.bootstrap}, "local", "dlq.x", ledger.letters, begin(ledger))


def write(kafka: MockKafka, letters: int, size: int, *, timestamp: int = 0) -> None:
    for _ in range(letters):
        kafka.produce("dlq.x", b"k", b"v" * size, timestamp=timestamp)


@pytest.fixture
def losing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., MockKafka]]:
    """Make what is there after a loss: so many letters of each of the times that are given, and all others gone."""
    monkeypatch.setattr("redrive.deadletters.accepting.settle_earlier", lambda *_, **__: None)
    made: list[MockKafka] = []

    def standing(**letters: int) -> MockKafka:
        made.append(MockKafka())
        for name, number in letters.items():
            write(made[-1], number, size=10, timestamp=TIMES[name])
        return made[-1]

    yield standing
    for kafka in made:
        kafka.close()


TIMES = {"first": 1_000, "second": 2_000, "third": 3_000}
Losing = Callable[..., MockKafka]


def test_is_known_by_its_letters_even_if_it_has_grown_beyond_where_the_old_one_was_read_to(ledger: Ledger) -> None:
    old, new = MockKafka(), MockKafka()
    try:
        write(old, 3, size=10)
        assert (triaged(old, ledger).new, triaged(old, ledger).new) == (3, 0)
        write(old, 1, size=10)
        assert (triaged(old, ledger).new, triaged(old, ledger).made_anew) == (1, ())
        write(new, 5, size=20)
        assert (triaged(new, ledger).new, triaged(new, ledger).made_anew) == (0, (0,))
        assert ledger.letters.count(Selection()) == 4
    finally:
        old.close()
        new.close()


def park(kafka: MockKafka, *offsets: int) -> None:
    """Write the copies of these letters of the partition 0."""
    for offset in offsets:
        kafka.produce(PARKING_TOPIC, b"k", b"v", (SOURCE_HEADER.encode(), b"dlq/local/dlq.x/0/letters/%d/0" % offset))


def config(kafka: MockKafka) -> Config:
    return Config.model_validate(
        {
            "registry": {"url": "http://127.0.0.1:1"},
            "clusters": {"local": {"bootstrap": kafka.bootstrap}},
            "domains": {"d": {"cluster": "local"}},
            "topics": {"dlq.x": {"domain": "d"}},
        }
    )


def accept(kafka: MockKafka, ledger: Ledger) -> Accept:
    return Accept.look(config(kafka), ledger, "local", "dlq.x")


def fates(ledger: Ledger) -> dict[str, str]:
    return {str(letter.id): letter.fate for letter in ledger.letters.find(Selection(fates=[]))}


def test_once_accepted_its_letters_have_ids_of_their_own_and_are_read_like_any(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = MockKafka(), MockKafka()
    try:
        write(old, 3, size=10)
        triaged(old, ledger)
        parked = Fate(LetterId("local", "dlq.x", 0, 1), "parked", "attempts", (), "redrive.parked", 0, 0)
        ledger.letters.record_fates(begin(ledger), [parked])
        write(new, 2, size=20)
        park(new, 1)
        assert triaged(new, ledger).made_anew == (0,)

        found = accept(new, ledger)
        assert [(each.partition, each.known_as, each.begin) for each in found.anew] == [(0, "dlq.x", 0)]
        assert found.lost == 2
        settled: list[int] = []
        monkeypatch.setattr(
            "redrive.deadletters.accepting.settle_earlier",
            lambda *given, **_: settled.extend(offset for unit in given[2] for offset in unit.offsets),
        )
        assert found.carry_out("anna", "the cluster was built again").letters == 2
        assert settled == [0, 1, 2]  # of what was published and not entered, before anything is given up
        assert accept(new, ledger).anew == ()

        assert (triaged(new, ledger).new, triaged(new, ledger).new) == (2, 0)
        write(new, 4, size=20)
        client = {"bootstrap.servers": new.bootstrap}
        assert unread_letters(client, "local", ["dlq.x"], ledger.letters, 10.0) == {"dlq.x": 4}
        assert (triaged(new, ledger).new, triaged(new, ledger).made_anew) == (4, ())
        before = {f"local:dlq.x/0/{at}": "parked" if at == 1 else "discarded" for at in range(3)}
        assert fates(ledger) == before | {f"local:dlq.x@2/0/{at}": "none" for at in range(6)}
        assert ledger.letters.count(Selection(dead_letter_topics=["dlq.x"])) == 6
        assert ledger.letters.count(Selection(dead_letter_topics=["dlq.x@2"], fates=[])) == 6
        assert ledger.letters.count(Selection(dead_letter_topics=["dlq_x", "dlq"], fates=[])) == 0
        assert ledger.verify_chain() == []
    finally:
        old.close()
        new.close()


def test_of_a_partition_that_has_lost_its_end_the_letters_that_are_there_stay_what_they_are(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redrive.deadletters.accepting.settle_earlier", lambda *_, **__: None)
    monkeypatch.setattr("redrive.deadletters.accepting.still_is", lambda record, seen: record.offset == seen.offset < 4)
    monkeypatch.setattr("redrive.deadletters.triage.still_is", lambda record, _: record.offset < 4)
    kafka = MockKafka()
    try:
        write(kafka, 7, size=10)
        triaged(kafka, ledger)
        write(kafka, 1, size=10)
        assert triaged(kafka, ledger).made_anew == (0,)
        found = accept(kafka, ledger)
        assert [(each.begin, found.lost) for each in found.anew] == [(4, 3)]
        found.carry_out("anna", "unclean election")
        assert triaged(kafka, ledger).new == 4
        still_open = [str(letter.id) for letter in ledger.letters.find(Selection())]
        assert still_open == [
            *(f"local:dlq.x/0/{at}" for at in range(4)),
            *(f"local:dlq.x@2/0/{at}" for at in range(4, 8)),
        ]
    finally:
        kafka.close()


def one_accepted(losing: Losing, ledger: Ledger) -> None:
    """Of 8 letters, 5 are left, and 4 others have come behind them."""
    triaged(losing(first=8), ledger)
    left = losing(first=5, second=4)
    found = accept(left, ledger)
    assert [(each.begin, found.lost) for each in found.anew] == [(5, 3)]
    found.carry_out("anna", "unclean election")
    assert (triaged(left, ledger).new, triaged(left, ledger).made_anew) == (4, ())


def test_a_second_loss_enters_no_older_letter_again_that_still_stands(ledger: Ledger, losing: Losing) -> None:
    one_accepted(losing, ledger)
    given_up = Fate(LetterId("local", "dlq.x", 0, 1), "discarded", "")
    ledger.letters.record_fates(begin(ledger), [given_up])
    left = losing(first=5, third=5)
    assert triaged(left, ledger).made_anew == (0,)
    found = accept(left, ledger)
    assert [(each.known_as, each.begin, found.lost) for each in found.anew] == [("dlq.x@2", 5, 4)]
    found.carry_out("anna", "unclean election, again")
    assert (triaged(left, ledger).new, triaged(left, ledger).made_anew) == (5, ())
    assert [name for name, fate in fates(ledger).items() if fate == "none"] == [
        *(f"local:dlq.x/0/{at}" for at in (0, 2, 3, 4)),
        *(f"local:dlq.x@3/0/{at}" for at in range(5, 10)),
    ]


def test_a_second_loss_that_reaches_further_back_gives_up_letters_of_both_generations(
    ledger: Ledger, losing: Losing
) -> None:
    one_accepted(losing, ledger)
    left = losing(first=3)
    found = accept(left, ledger)
    assert [(each.begin, found.lost) for each in found.anew] == [(3, 2 + 4)]
    found.carry_out("anna", "unclean election, again")
    assert triaged(left, ledger).made_anew == ()
    assert [name for name, fate in fates(ledger).items() if fate == "none"] == [
        f"local:dlq.x/0/{at}" for at in range(3)
    ]


def test_a_second_loss_that_leaves_some_of_the_second_generation_leaves_all_before_them(
    ledger: Ledger, losing: Losing
) -> None:
    one_accepted(losing, ledger)
    found = accept(losing(first=5, second=2), ledger)
    assert [(each.begin, found.lost) for each in found.anew] == [(7, 2)]


def test_a_topic_made_anew_is_known_by_its_older_letters_while_the_next_generation_has_none(
    ledger: Ledger, losing: Losing
) -> None:
    triaged(losing(first=8), ledger)
    accept(losing(first=5), ledger).carry_out("anna", "unclean election")
    anew = losing(third=9)
    assert (triaged(anew, ledger).new, triaged(anew, ledger).made_anew) == (0, (0,))
    found = accept(anew, ledger)
    assert [(each.begin, found.lost) for each in found.anew] == [(0, 5)]
    assert triaged(losing(first=5, second=4), ledger).new == 4


def test_a_letter_that_has_a_copy_is_not_given_up_whatever_became_of_it_after_that(
    ledger: Ledger, losing: Losing
) -> None:
    triaged(losing(first=5), ledger)
    letters = [LetterId("local", "dlq.x", 0, at) for at in range(3)]
    parked = [Fate(letter, "parked", "attempts", (), "redrive.parked", 0, letter.offset) for letter in letters[:2]]
    ledger.letters.record_fates(begin(ledger), parked)
    later = [Fate(letters[0], "held"), Fate(letters[1], "doubtful"), Fate(letters[2], "held")]
    ledger.letters.record_fates(begin(ledger), later)
    left = losing(second=2)
    park(left, 0, 1)
    found = accept(left, ledger)
    assert found.lost == 3
    assert found.carry_out("anna", "the topic was made again").letters == 3
    assert fates(ledger) == {
        "local:dlq.x/0/0": "held",
        "local:dlq.x/0/1": "doubtful",
        **{f"local:dlq.x/0/{at}": "discarded" for at in (2, 3, 4)},
    }


def test_letters_whose_copies_are_gone_as_well_are_given_up_with_the_others(ledger: Ledger, losing: Losing) -> None:
    """As of a cluster that was built again, whose parking topic has other letters by now."""
    triaged(losing(first=5), ledger)
    letters = [LetterId("local", "dlq.x", 0, at) for at in range(4)]
    parked = [Fate(letter, "parked", "attempts", (), "redrive.parked", 0, letter.offset) for letter in letters]
    ledger.letters.record_fates(begin(ledger), parked)
    again = Fate(letters[2], "parked", "attempts", (), "redrive.parked", 0, 4)
    ledger.letters.record_fates(begin(ledger), [Fate(letters[0], "held"), Fate(letters[1], "doubtful"), again])
    left = losing(second=2)
    park(left, 17, 1, 18, 19, 2)
    found = accept(left, ledger)
    assert found.lost == 3, "a letter that was parked twice has a copy as long as one is there"
    assert found.carry_out("anna", "the cluster was built again").letters == 3
    there = {1: "doubtful", 2: "parked"}
    assert fates(ledger) == {f"local:dlq.x/0/{at}": there.get(at, "discarded") for at in range(5)}


def rejected(offset: int, successor: int, topic: str = "dlq.x") -> Fate:
    return Fate(LetterId("local", topic, 0, offset), "rejected", "invalid-value", (), "dlq.x", 0, successor)


def test_a_rejected_letter_is_open_again_if_the_one_that_it_lives_on_as_is_gone_unread(
    ledger: Ledger, losing: Losing
) -> None:
    triaged(losing(first=7), ledger)
    # What 1 and 5 became was never read; what 0 became is the letter 6, which is given up for itself.
    ledger.letters.record_fates(begin(ledger), [rejected(0, 6), rejected(1, 7), rejected(5, 8)])
    found = accept(losing(first=4), ledger)
    assert (found.anew[0].begin, found.lost) == (4, 3)
    done = found.carry_out("anna", "unclean election")
    assert done.letters == 3
    assert fates(ledger) == {
        "local:dlq.x/0/0": "rejected",
        "local:dlq.x/0/1": "held",
        **{f"local:dlq.x/0/{at}": "none" for at in (2, 3)},
        **{f"local:dlq.x/0/{at}": "discarded" for at in (4, 5, 6)},
    }
    assert done.reopened == 1
    assert ledger.verify_chain() == []


def test_a_letter_that_was_rejected_after_the_loss_is_left_to_the_one_that_it_lives_on_as(
    ledger: Ledger, losing: Losing
) -> None:
    triaged(losing(first=5), ledger)
    left = losing(first=2, second=4)
    left.produce("dlq.x", b"k", b"v", (SOURCE_HEADER.encode(), b"dlq/local/dlq.x/0/letters/1/0"))
    ledger.letters.record_fates(begin(ledger), [rejected(0, 5), rejected(1, 6)])
    done = accept(left, ledger).carry_out("anna", "unclean election")
    assert done.reopened == 1, "of the other one, something else stands there"
    assert (fates(ledger)["local:dlq.x/0/0"], fates(ledger)["local:dlq.x/0/1"]) == ("held", "rejected")
    assert triaged(left, ledger).new == 5


def test_a_letter_of_an_earlier_generation_is_not_taken_for_one_that_was_gone_unread(
    ledger: Ledger, losing: Losing
) -> None:
    """What it lived on as was read as that generation's, and stood where this one has not been read yet."""
    triaged(losing(first=8), ledger)
    ledger.letters.record_fates(begin(ledger), [rejected(0, 7)])
    left = losing(first=1, second=3)
    accept(left, ledger).carry_out("anna", "unclean election")
    assert triaged(left, ledger).new == 3
    ledger.letters.record_fates(begin(ledger), [rejected(2, 4, "dlq.x@2")])
    found = accept(losing(first=1, second=2), ledger)
    assert [(each.known_as, each.begin, found.lost) for each in found.anew] == [("dlq.x@2", 3, 1)]
    assert found.carry_out("anna", "unclean election, again").reopened == 1
    assert fates(ledger)["local:dlq.x/0/0"] == "rejected"
    assert fates(ledger)["local:dlq.x@2/0/2"] == "held"


def test_triage_does_not_count_a_letter_as_lost_that_has_a_whole_copy(
    ledger: Ledger, losing: Losing, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka = losing(first=5)
    triaged(kafka, ledger)
    letters = [LetterId("local", "dlq.x", 0, at) for at in range(2)]
    # Of the first one there is only what Kafka has refused, which no correction takes.
    parked = [
        Fate(letter, "parked", reason, (), "redrive.parked", 0, letter.offset)
        for letter, reason in zip(letters, (REFUSED, "attempts"), strict=True)
    ]
    ledger.letters.record_fates(begin(ledger), parked)
    ledger.letters.record_fates(begin(ledger), [Fate(letter, "held") for letter in letters])
    monkeypatch.setattr(tasks.dlq_triage.steps, "_keeps", lambda *_: {("local", "dlq.x", 0): Keeps(2, -1)})
    settings = config(kafka)
    reading = SimpleNamespace(config=settings, letters=ledger.letters)
    seen = look.fn(reading, [settings.topic("dlq.x")])  # type: ignore[arg-type]
    assert (seen.lost, [loss.letters for loss in seen.losses]) == (1, [3])


def test_there_is_nothing_to_accept_of_a_topic_that_is_as_it_was(ledger: Ledger) -> None:
    kafka = MockKafka()
    try:
        write(kafka, 3, size=10)
        triaged(kafka, ledger)
        write(kafka, 3, size=10)
        assert accept(kafka, ledger).anew == ()
    finally:
        kafka.close()
