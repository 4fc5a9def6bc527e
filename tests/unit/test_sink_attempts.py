"""How often the sink tries a transaction, and that it never takes one for committed that is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from redrive.columnar.events import EventColumns
from redrive.errors import UnavailableError
from redrive.events import Event
from redrive.pump.limits import Limits
from redrive.pump.sink import TransactionalSink
from redrive.pump.transactions import AbortError
from tests.columnar import event_columns


class Aborting(TransactionalSink):
    """Its transactions end as told: ``""`` commits, ``"?"`` is aborted, all else is what a broker says of a batch."""

    def __init__(self, *ends: str) -> None:
        super().__init__({"bootstrap.servers": "nowhere:1"}, "unit")
        self.ends = list(ends)
        self.reopened: list[bool] = []
        self.tried: list[type] = []
        self._transactions.abort = lambda deadline: None  # type: ignore[method-assign]

    def _transact(self, events: Sequence[Event], cursor: bytes | None, deadline: float) -> None:
        self.tried.append(type(events))
        end = self.ends.pop(0)
        self._blame = end.strip("?")
        if end:
            raise AbortError(end)

    def _reopen(self, *, one_by_one: bool) -> None:
        self.reopened.append(one_by_one)
        self._one_by_one = one_by_one


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_pause(_seconds: Any) -> None: ...

    monkeypatch.setattr("redrive.pump.sink.time.sleep", no_pause)


def test_a_batch_that_is_refused_is_tried_event_by_event_and_then_batches_again() -> None:
    sink = Aborting("INVALID_RECORD: no", "")
    sink._commit((), b"cursor")
    assert (sink.ends, sink.reopened) == ([], [True, False])


@pytest.mark.parametrize("last", ["?", "INVALID_RECORD: no"])
def test_after_five_attempts_it_says_that_nothing_was_committed(last: str) -> None:
    sink = Aborting("?", "?", "?", "?", last)
    with pytest.raises(UnavailableError, match="5 transactions were aborted"):
        sink._commit((), b"cursor")
    assert not sink.ends


@pytest.mark.parametrize(("first", "later"), [("?", EventColumns), ("INVALID_RECORD: no", list)])
def test_columns_are_tried_again_as_events_and_after_a_refused_batch_for_some_time(
    first: str, later: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redrive.pump.sink.limits_of", lambda *_: Limits())
    columns = event_columns([Event("7", "orders", None, b"v", [], 1, 0, "7")], "orders", 0, "%d")
    sink = Aborting(first, "", "")
    sink.commit(columns, b"cursor")
    sink.commit(columns, b"later")
    assert sink.tried == [EventColumns, list, later]


def test_some_transactions_after_a_refused_batch_columns_are_produced_as_such_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("redrive.pump.sink.limits_of", lambda *_: Limits())
    monkeypatch.setattr("redrive.pump.sink._BY_EVENTS", 3)
    columns = event_columns([Event("7", "orders", None, b"v", [], 1, 0, "7")], "orders", 0, "%d")
    sink = Aborting("INVALID_RECORD: no", "", "", "", "")
    for number in range(4):
        sink.commit(columns, b"%d" % number)
    assert sink.tried == [EventColumns, list, list, list, EventColumns]
