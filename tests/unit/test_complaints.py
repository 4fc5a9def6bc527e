"""Trouble in the log: each kind now and then, with how often it was kept back."""

from __future__ import annotations

import logging

import pytest

from redrive.complaints import EVERY, Complaints


def test_each_kind_of_trouble_is_told_at_once_and_then_now_and_then_with_how_often_it_was_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    complaints = Complaints(logging.getLogger("test"), clock=lambda: now)
    for number in range(1_000):
        complaints.say("one", "first %d", number)
    complaints.say("two", "second")
    now = EVERY
    complaints.say("one", "first %d", 1_000)
    now = 2 * EVERY
    complaints.say("one", "first %d", 1_001)
    told = [record.getMessage() for record in caplog.records]
    assert told == ["first 0", "second", "first 1000 (999 more like it since the last such line)", "first 1001"]
