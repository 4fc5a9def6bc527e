"""What a compacted target may lack: what has a newer event there, and what a rule leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from redrive.migrations import verifying
from redrive.migrations.pairing import Pair
from redrive.migrations.unit import Unit
from redrive.migrations.verifying import Checked, Compacts, verify

UNIT = Unit("one", "orders", "orders.v2", 0)
Given = list[tuple[int, bytes, bytes | None]]


class Record:
    def __init__(self, offset: int, key: bytes, value: bytes | None, *, copied: bool = False) -> None:
        self._of = offset, key, value
        origin = (UNIT.origins % offset).encode()
        self._headers = [("redrive-operation", b"op"), ("redrive-source", origin)] if copied else []

    def offset(self) -> int:
        return self._of[0]

    def key(self) -> bytes:
        return self._of[1]

    def value(self) -> bytes | None:
        return self._of[2]

    def headers(self) -> Any:
        return self._headers

    def timestamp(self) -> tuple[int, int]:
        return 1, 1000


def compare(pairs: Sequence[Pair]) -> list[str]:
    """All is right of what is there; of what is not, only a test is to be left out."""
    return ["" if after is not None or before.value == b"test" else "it differs" for before, after in pairs]


def verified(
    monkeypatch: pytest.MonkeyPatch, source: Given, target: Sequence[int], others: Sequence[Record] = ()
) -> Checked:
    """Compare a source with a target that has copies of these offsets, and what others have published there."""
    logs: dict[str, list[Any]] = {
        UNIT.source: [Record(*each) for each in source],
        UNIT.target: [*(Record(*each, copied=True) for each in source if each[0] in target), *others],
    }
    for name in ("scan", "scan_partition"):
        monkeypatch.setattr(verifying, name, lambda _, topic, *__, **___: iter([logs[topic]]))
    monkeypatch.setattr(verifying, "start_offsets", lambda *_: [0])
    monkeypatch.setattr(verifying, "end_offsets", lambda *_: [len(source)])
    compacts = Compacts(target=True)
    return verify({}, UNIT, len(source), parked=frozenset(), compare=compare, compacts=compacts)


def test_the_newest_event_of_a_key_may_be_missing_if_a_rule_leaves_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    found = verified(monkeypatch, [(0, b"a", b"1"), (1, b"a", b"2"), (2, b"a", b"test"), (3, b"b", b"test")], [1])
    assert (found.findings, found.compacted, found.left_out) == ([], 1, 2)


def test_one_that_was_lost_is_not_excused_by_a_newer_one_that_a_rule_leaves_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = verified(monkeypatch, [(0, b"a", b"1"), (1, b"a", b"test")], [])
    assert found.findings == ["orders/0@0 is neither in orders.v2 nor in redrive.parked"]
    assert found.left_out == 1


def test_a_deletion_that_is_gone_in_the_end_excuses_what_came_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = verified(monkeypatch, [(0, b"a", b"1"), (1, b"a", None), (2, b"a", b"test")], [])
    assert (found.findings, found.compacted, found.left_out) == ([], 2, 1)


def test_a_deletion_is_missed_while_what_it_deletes_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    found = verified(monkeypatch, [(0, b"a", b"1"), (1, b"a", None)], [0])
    assert found.findings == ["orders/0@1 is neither in orders.v2 nor in redrive.parked"]


def test_one_may_be_missing_whose_key_has_a_newer_event_by_a_producer_that_was_switched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = [(0, b"a", b"1"), (1, b"b", b"2"), (2, b"c", b"3")]
    found = verified(monkeypatch, source, [2], [Record(7, b"a", b"new")])
    assert found.compacted == 1
    assert found.findings == ["orders/0@1 is neither in orders.v2 nor in redrive.parked"]
