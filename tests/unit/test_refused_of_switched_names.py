"""A person goes on with what Kafka has refused of a letter whose main topic's producers were switched."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from redrive.aliases.alias import Alias, Aliases
from redrive.coding import Writer
from redrive.config import Config
from redrive.deadletters.correction import by_hand, context, copies
from redrive.deadletters.correction.by_hand import LetterInHand
from redrive.deadletters.correction.copies import Copy
from redrive.deadletters.dialects import sight
from redrive.deadletters.judging import finding
from redrive.deadletters.judging.targets import MOVED_BACK, REASONS
from redrive.deadletters.letter_id import LetterId
from redrive.errors import UncorrectableLetterError
from redrive.ledger.letter_queries import KnownLetter
from tests.unit.test_correction_batch import config, subject  # noqa: F401 (a fixture)
from tests.unit.test_letters_of_switched_names import ALIAS, REGISTRY, SCHEMAS, of_value

HERE = msgspec.structs.replace(ALIAS, target="orders", current="orders")
"""Events of `moved` go to `orders`."""
VALUE = {"number": 1, "note": "too long"}
NAME = LetterId("one", "dlq.shop", 0, 5)


class Letters:
    """What the ledger knows."""

    def __init__(self) -> None:
        letter = KnownLetter(sight(of_value({"id": 1, "note": "a"})), "parked")
        self._story: Any = SimpleNamespace(letter=letter, decisions=())
        self.looked_at: list[tuple[str, str]] = []
        self.alike: list[Any] = []

    def story(self, _: Any) -> Any:
        return self._story

    def last_entry(self) -> int:
        return 1

    def subjects(self, *_: Any, **__: Any) -> Any:
        return iter([subject(5, main_topic="moved")])

    def events_of(self, _: Any) -> Any:
        return None

    def twins(self, topics: Any, _: Any) -> Any:
        self.looked_at = sorted(topics)
        return []

    def twins_by_other_names(self, cluster: str, names: Any, _: Any) -> Any:
        self.alike = [(cluster, names)]
        return []

    def parked(self, _: Any) -> Any:
        return []


def refused() -> Any:
    """The event that was made of the letter, as `redrive.parked` has it."""
    value = Writer("orders", 9, 1, SCHEMAS[9]).encode(VALUE)
    headers = [
        ("ce_id", b"e-1"), ("redrive-source", b"dlq/one/dlq.shop/0/letters/5/0"),
        ("redrive-topic", b"orders"), ("redrive-reason", b"refused"),
    ]  # fmt: skip
    message: Any = SimpleNamespace(
        headers=lambda: headers, timestamp=lambda: (1, 1_000), key=lambda: b"k", value=lambda: value
    )
    return copies._restored(NAME, 2_000, message)


def take(config: Config, monkeypatch: pytest.MonkeyPatch, alias: Alias, letters: Letters) -> LetterInHand:  # noqa: F811
    registry: Any = SimpleNamespace(
        writer=lambda name: Writer(name, 9, 1, SCHEMAS[9]), schema=REGISTRY.schema, reader=REGISTRY.reader
    )
    monkeypatch.setattr(finding, "partition_count", lambda *_: 3)
    monkeypatch.setattr(by_hand, "read_aliases", lambda _: Aliases({"moved": alias}, {}))
    monkeypatch.setattr(context, "read_aliases", lambda _: Aliases({"moved": alias}, {}))
    monkeypatch.setattr(by_hand, "find_letter", lambda *_: (refused(), Copy(0, 7, is_whole=False)))
    monkeypatch.setattr(by_hand, "look_at_lanes", lambda *_: SimpleNamespace(has=lambda *_: False))
    ledger: Any = SimpleNamespace(letters=letters)
    return LetterInHand.take(config, ledger, registry, NAME)


def test_it_goes_to_the_topic_that_refused_it_as_what_it_had_become(
    config: Config,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    letters = Letters()
    in_hand = take(config, monkeypatch, HERE, letters)
    assert (in_hand.value, in_hand.goes_to, type(in_hand.target)) == (VALUE, "orders", Writer)
    batch = in_hand._batch(in_hand._terms(""))
    assert batch.main_topics("one") == ["orders"], "newer events are looked for there, and it is held"
    assert letters.looked_at == [("one", "moved")], "other letters of its event name the topic that it had"
    assert letters.alike == [("one", ["moved", "orders"])], "or the one that it went to"


def test_it_stays_once_nobody_reads_that_topic_any_more(
    config: Config,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    back = msgspec.structs.replace(HERE, current="moved", generation=6)
    with pytest.raises(UncorrectableLetterError) as error:
        take(config, monkeypatch, back, Letters())
    assert REASONS[MOVED_BACK] in str(error.value)


def test_a_topic_that_the_settings_do_not_have_is_named_with_the_way_out(
    config: Config,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The settings need not have the topic that producers were switched to."""
    without = {name: topic for name, topic in config.topics.items() if name != "orders"}
    with pytest.raises(UncorrectableLetterError, match=r"put it into them.*\[topics\.'orders'\] is missing"):
        take(config.model_copy(update={"topics": without}), monkeypatch, HERE, Letters())
