"""A box of dead letters that nobody takes: what can't be sent keeps the offsets of its events from being committed."""

from __future__ import annotations

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


@pytest.mark.parametrize("wait", [True, False])
def test_a_letter_that_could_not_be_sent_is_remembered(wait: bool) -> None:
    box = DeadLetterBox(NOBODY, "dlq.billing", patience=0.2)
    box.put(letter())
    with pytest.raises(UnavailableError, match="1 letters wait already"):
        box.put(letter())
    with pytest.raises(UnavailableError, match="1 letters wait already; the events stay uncommitted"):
        box.settle(wait=wait)


def test_patience_has_an_end_for_who_waits() -> None:
    box = DeadLetterBox(NOBODY, "dlq.billing", patience=0.2)
    box.put(letter())
    with pytest.raises(UnavailableError, match=r"have not taken 1 letters within 0\.2 s"):
        box.settle()
    with pytest.raises(UnavailableError, match="have not taken"):
        box.settle(wait=False)
