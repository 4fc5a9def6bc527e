"""What health says of the ledger: letters that no run takes are not forgotten."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from redrive.cli.health import _document, _rows
from redrive.config import Config
from redrive.deadletters.fate import Fate
from redrive.deadletters.letter_id import LetterId
from redrive.health.judging import judge
from redrive.health.looking import read_books
from redrive.ledger import Ledger
from tasks.cluster_health.report import report_text
from tests.ledger.letters import begin, fill, sighting
from tests.unit.health.test_health import GOOD
from tests.unit.one_cluster import one_cluster


@pytest.fixture
def config(tmp_path: Path) -> Config:
    config = one_cluster(tmp_path, "flights", cluster="local")
    with Ledger.open(config.ledger_url()) as ledger:
        fill(ledger, [sighting(number) for number in range(5)])
        correction = begin(ledger, "dlq-correction")
        for number, fate in enumerate(("parked", "parked", "doubtful", "discarded")):
            ledger.letters.record_fates(correction, [Fate(LetterId("local", "dlq.flights", 0, number), fate)])
    return config


def test_letters_that_wait_for_a_person_are_shown_with_how_to_see_them_and_not_judged(config: Config) -> None:
    books = read_books(config, "local")
    assert (books.letters, books.waiting) == ({"invalid-value": 1}, {"parked": 2, "doubtful": 1})
    health = judge(replace(GOOD, cluster="local", books=books))
    assert health.verdict == "well"
    rows = dict(_rows(health))
    assert rows["parked dead letters"] == "2: `redrive dlq list --cluster local --fate parked`"
    assert rows["doubtful dead letters"].startswith("1: ")
    assert "| doubtful | 1 | `redrive dlq list --cluster local --fate doubtful` |" in report_text(health, None)
    assert _document(health)["books"].waiting == books.waiting


def test_where_none_wait_nothing_is_said_of_them(config: Config) -> None:
    books = read_books(config, "elsewhere")
    health = judge(replace(GOOD, books=books))
    assert "parked" not in report_text(health, None)
    assert not [name for name, _ in _rows(health) if "parked" in name]
