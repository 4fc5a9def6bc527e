"""A switch of a topic with many partitions, between two turns of its copy."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest

from redrive.pump.governor import Governor
from tasks import switching


class Copying:
    """What is looked at between two turns."""

    def __init__(self) -> None:
        self.governor = Governor()
        self.backfilling: Any = self
        self.client, self.source = {"bootstrap.servers": "127.0.0.1:1"}, "orders"


def test_a_cancel_between_two_turns_stops_the_switch_that_would_go_on_without_a_copy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def cancelled(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(switching, "wait", cancelled)
    copying: Any = Copying()
    told: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        switching._ends_now(copying, Future(), lambda: told.append("cancelled"))
    assert copying.governor.stopped
    assert told == ["cancelled"]
