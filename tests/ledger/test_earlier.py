"""When an operation passes for one that has entered all it did: taken for that too early, letters go out twice."""

from __future__ import annotations

import pytest

from redrive.deadletters.correction.earlier import _is_settled
from redrive.ledger import Ledger, Status, Verdict
from tests.ledger.test_letters import begin


@pytest.mark.parametrize(
    ("status", "verdict", "settled"),
    [
        ("done", "proved", True),
        ("done", "counted", True),
        ("failed", "failed", False),
        ("paused", None, False),
        ("cancelled", None, False),
    ],
)
def test_only_a_verdict_without_findings_settles_an_operation(
    ledger: Ledger, status: Status, verdict: Verdict | None, settled: bool
) -> None:
    dead, looking = begin(ledger, "dlq-correction"), begin(ledger, "dlq-correction")
    dead.finish(status, verdict)
    assert _is_settled(ledger, looking, dead.id) is settled


def test_an_operation_is_no_earlier_one_to_itself_and_one_that_nobody_knows_is(ledger: Ledger) -> None:
    looking = begin(ledger, "dlq-correction")
    assert _is_settled(ledger, looking, looking.id)
    assert not _is_settled(ledger, looking, "of a ledger that was lost")
