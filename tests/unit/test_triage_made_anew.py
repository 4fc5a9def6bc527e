"""A dead-letter topic that was deleted and made again: its letters have ids that others have already."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from redrive.deadletters.selection import Selection
from redrive.deadletters.triage import Triaged, triage
from redrive.ledger import Ledger
from redrive.pump import readback
from tests.ledger.test_letters import begin
from tests.unit.mock_kafka import PARTITIONS, MockKafka


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as opened:
        yield opened


@pytest.fixture(autouse=True)
def _mock_clusters_describe_no_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readback, "_partition_count", lambda *_: PARTITIONS)


def triaged(kafka: MockKafka, ledger: Ledger) -> Triaged:
    return triage({"bootstrap.servers": kafka.bootstrap}, "local", "dlq.x", ledger.letters, begin(ledger))


def write(kafka: MockKafka, letters: int, size: int) -> None:
    for _ in range(letters):
        kafka.produce("dlq.x", b"k", b"v" * size)


def test_is_known_by_its_letters_even_if_it_has_grown_beyond_where_the_old_one_was_read_to(ledger: Ledger) -> None:
    old, new = MockKafka(), MockKafka()
    try:
        write(old, 3, size=10)
        assert (triaged(old, ledger).new, triaged(old, ledger).new) == (3, 0)
        write(old, 1, size=10)
        assert (triaged(old, ledger).new, triaged(old, ledger).made_anew) == (1, ())
        write(new, 5, size=20)
        assert (triaged(new, ledger).new, triaged(new, ledger).made_anew) == (0, (0,))
        assert ledger.letters.count(Selection()) == 4
    finally:
        old.close()
        new.close()
