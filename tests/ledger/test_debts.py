"""Settings that are owed: entered before they are changed, kept until they are settled."""

from __future__ import annotations

import pytest

from redrive.errors import FencedError
from redrive.ledger import Change, DebtRow, Ledger, Operation
from redrive.ledger.debts import KEPT

RATE = "leader.replication.throttled.rate"


def begin(ledger: Ledger, operation_id: str | None = None) -> Operation:
    given = {"cluster": "local", "resources": ["local"], "who": "anna", "parameters": {}}
    return ledger.begin("partition-rebalance", "run", operation_id=operation_id, **given)  # type: ignore[arg-type]


def change(seen: str | None, ours: str, name: str = "1") -> Change:
    return Change("broker", name, RATE, seen, ours)


def only(ledger: Ledger) -> DebtRow:
    (row,) = ledger.debts.owed("local")
    return row


def test_a_debt_says_what_was_set_before_and_what_we_set(ledger: Ledger) -> None:
    operation = begin(ledger)
    ledger.debts.owe(operation, "local", [change(None, "5"), change("9", "5", "2")])
    first, second = ledger.debts.owed("local")
    assert (first.place, first.previous, first.ours, first.operation_id) == (
        ("broker", "1", RATE),
        None,
        ["5"],
        operation.id,
    )
    assert (second.name, second.previous) == ("2", "9")
    assert ledger.debts.owed("elsewhere") == []


def test_a_later_change_of_ours_keeps_what_was_before_and_all_of_our_values(ledger: Ledger) -> None:
    """All, for which of them is set at last nobody knows: orders may be late, and processes die."""
    ledger.debts.owe(begin(ledger), "local", [change("9", "5")])
    later = begin(ledger)
    ledger.debts.owe(later, "local", [change("5", "6")])
    row = only(ledger)
    assert (row.previous, row.ours, row.operation_id) == ("9", ["5", "6"], later.id)
    ledger.debts.owe(later, "local", [change("5", "7")])
    assert (only(ledger).previous, only(ledger).ours) == ("9", ["5", "6", "7"])
    for rate in range(100, 130):
        ledger.debts.owe(later, "local", [change("7", str(rate)), change("7", "7")])
    assert len(only(ledger).ours) == KEPT
    assert (only(ledger).previous, only(ledger).ours[-1]) == ("9", "7")


def test_a_change_that_was_not_made_may_still_be(ledger: Ledger) -> None:
    operation = begin(ledger)
    ledger.debts.owe(operation, "local", [change("9", "5")])
    ledger.debts.owe(operation, "local", [change("9", "6")])
    assert (only(ledger).previous, only(ledger).ours) == ("9", ["5", "6"])


def test_what_somebody_else_has_set_meanwhile_is_what_to_restore(ledger: Ledger) -> None:
    operation = begin(ledger)
    ledger.debts.owe(operation, "local", [change("9", "5")])
    ledger.debts.owe(operation, "local", [change("3", "6")])
    assert (only(ledger).previous, only(ledger).ours) == ("3", ["5", "6"])


def test_a_settled_debt_is_owed_no_more_and_settled_once(ledger: Ledger) -> None:
    ledger.debts.owe(begin(ledger), "local", [change(None, "5")])
    row, first, second = only(ledger), begin(ledger), begin(ledger)
    ledger.debts.settle(first, {row.id: "restored"})
    ledger.debts.settle(second, {row.id: "was as before"})
    assert ledger.debts.owed() == []
    (settled,) = ledger.debts.latest(10)
    assert (settled.how, settled.settled_by) == ("restored", first.id)
    ledger.debts.owe(second, "local", [change(None, "5")])
    assert only(ledger).id != row.id


def test_whoever_was_fenced_off_owes_and_settles_nothing(ledger: Ledger) -> None:
    operation = begin(ledger)
    ledger.debts.owe(operation, "local", [change(None, "5")])
    begin(ledger, operation.id)
    with pytest.raises(FencedError):
        ledger.debts.owe(operation, "local", [change(None, "6", "2")])
    with pytest.raises(FencedError):
        ledger.debts.settle(operation, {only(ledger).id: "restored"})
    assert only(ledger).settled_at is None


def test_debts_are_in_the_journal(ledger: Ledger) -> None:
    operation = begin(ledger)
    ledger.debts.owe(operation, "local", [change("9", "5")])
    ledger.debts.settle(operation, {only(ledger).id: "restored"})
    assert [(entry.kind, entry.body) for entry in ledger.entries(operation.id)][1:] == [
        ("owed", {"cluster": "local", "changes": [["broker", "1", RATE, "9", "5"]]}),
        ("settled", {"debts": [["local", "broker", "1", RATE, "restored"]]}),
    ]
    assert ledger.verify_chain() == []
    with pytest.raises(ValueError, match="own kind"):
        operation.note("owed", {})
