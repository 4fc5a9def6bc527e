"""Of which new dead letters nobody has been told yet: those that the last triage has recorded, killed ones included."""

from __future__ import annotations

from redrive.ledger import Ledger
from tasks.triage_report import untold
from tests.ledger.test_letters import begin, reach, sighting


def test_letters_of_a_triage_that_was_killed_before_it_could_tell_are_told_of_by_the_next(ledger: Ledger) -> None:
    told, killed, now = begin(ledger), begin(ledger), begin(ledger)
    ledger.letters.record(told, [sighting(0)], reach(None, 1))
    assert untold(ledger, "dlq-triage", told.id) == {"local": 1}
    told.finish("done", counts={"new": 1})
    assert untold(ledger, "dlq-triage", now.id) == {}
    ledger.letters.record(killed, [sighting(1), sighting(2)], reach(1, 3))
    ledger.letters.record(now, [sighting(3)], reach(3, 4))
    assert untold(ledger, "dlq-triage", now.id) == {"local": 3}
    killed.finish("failed")  # as whoever takes its topics over enters it
    assert untold(ledger, "dlq-triage", now.id) == {"local": 3}
