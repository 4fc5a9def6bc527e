"""A box of dead letters that nobody takes: what can't be sent keeps the offsets of its events from being committed."""

from __future__ import annotations

import time

import pytest

from redrive.deadletters.box import DeadLetterBox
from redrive.errors import UnavailableError
from redrive.events import Event

NOBODY = {"bootstrap.servers": "127.0.0.1:1", "queue.buffering.max.messages": 1, "log_level": 0}


def letter() -> Event:
    return Event("id", "dlq.billing", b"k", b"value", [], 1)


def test_letters_that_wait_keep_offsets_back_and_nobody_waiting() -> None:
    box = DeadLetterBox(NOBODY, "dlq.billing", patience=60)
    assert box.settle(wait=False)
    box.put(letter())
    assert not box.settle(wait=False)


def test_there_is_room_for_so_many_letters_and_for_no_more() -> None:
    box = DeadLetterBox(NOBODY, "dlq.billing", patience=60)
    assert box.put(letter())
    began = time.monotonic()
    assert not box.put(letter())
    assert time.monotonic() - began < 30


def test_patience_has_an_end_for_who_waits_and_is_not_had_again_until_brokers_answer() -> None:
    box = DeadLetterBox(NOBODY, "dlq.billing", patience=3)
    box.put(letter())
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(UnavailableError, match="have not taken 1 letters within 3 s; the events stay uncommitted"):
            box.settle()
    assert 2.9 < time.monotonic() - began < 5.9


def test_the_end_of_patience_is_not_the_end_for_who_does_not_wait() -> None:
    box = DeadLetterBox(NOBODY, "dlq.billing", patience=0.2)
    box.put(letter())
    with pytest.raises(UnavailableError):
        box.settle()
    assert not box.settle(wait=False)
