"""Judging in other processes: every kind of decision comes back, and no other rules are applied than were read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from redrive.deadletters.correction import Judge, Judging
from redrive.deadletters.dialects import Record
from redrive.deadletters.judging import judge as code
from redrive.deadletters.judging.elsewhere import JudgeElsewhere
from redrive.deadletters.letter import without_value
from redrive.errors import StalePlanError, UnavailableError
from redrive.pump.workers import Workers
from redrive.rules import load_rules
from tests.unit.test_correction_judging import (
    GOOD,
    NUMBERS,
    ORIGIN,
    WRITER,
    but_for_the_time_of_day,
    of_bytes,
    of_value,
    reader,
    with_header,
)

ORIGINS = ORIGIN.replace("5", "%d")
NOWHERE = {"url": "http://127.0.0.1:1", "timeout": 1, "max.retries": 0}
FUNCTION = "from typing import Any\n\ndef correct(value: Any, letter: Any) -> Any:\n    return value\n"


def test_every_kind_of_decision_comes_back(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(NUMBERS)
    rules = load_rules(tmp_path / "rules.yaml")
    letters = [
        of_value({"id": "1"}),
        of_value({"id": "x"}),
        with_header(of_value({"id": "x"}), "redrive-attempt", b"3"),
        of_value({"id": 1, "note": "test"}),
        of_value({"id": 1, "note": "x"}),
        without_value(of_bytes(GOOD)),
        with_header(of_value({"id": 1}), "redrive-attempt", b"-1"),
        of_value({"id": 1}, topic="of nobody"),
    ]
    records: list[Record | int] = [
        Record("one", "dlq.shop", 2, offset, 2_000, letter.headers, letter.key, letter.value)
        for offset, letter in enumerate(letters)
    ]
    pieces = [records[:3], [*records[3:], 8]]  # the last one is gone
    here = Judge(rules, {"orders": WRITER}, reader(), attempts=3)
    with Workers(1) as workers:
        there = JudgeElsewhere(workers, rules, {"orders": WRITER}, NOWHERE, attempts=3)
        decisions = _decided(there, pieces)
    assert decisions == _decided(here, pieces)
    assert [(kind, reason) for kind, reason, *_ in decisions] == [
        ("publish", ""),
        ("reject", code.RULE_FAILED),
        ("park", code.ATTEMPTS),
        ("skip", code.SKIPPED_BY_RULE),
        ("leave", code.NO_RULE),
        ("leave", code.LOSSY),
        ("leave", code.DAMAGED),
        ("leave", "no-main-topic"),
    ]


def _decided(judge: Judging, pieces: list[list[Record | int]]) -> list[tuple[object, ...]]:
    judged = list(judge.judged(pieces, ORIGINS))
    assert [piece for piece, _ in judged] == pieces
    return [but_for_the_time_of_day(decision) for _, decisions in judged for decision in decisions]


def test_what_a_person_insists_on_is_published_there_too() -> None:
    letter = with_header(of_value({"id": 1}), "redrive-attempt", b"50")
    record = Record("one", "dlq.shop", 2, 5, 2_000, letter.headers, letter.key, letter.value)
    for insisted, kind in ((False, "park"), (True, "publish")):
        judge = JudgeElsewhere(Workers(0), None, {"orders": WRITER}, NOWHERE, attempts=3, insisted=insisted)
        assert [decision[0] for decision in _decided(judge, [[record]])] == [kind]


def test_a_schema_that_can_not_be_asked_for_there_stops_the_work() -> None:
    record = Record("one", "dlq.shop", 2, 5, 2_000, of_bytes(GOOD).headers, b"k", GOOD)
    judge = JudgeElsewhere(Workers(0), None, {"orders": WRITER}, NOWHERE, attempts=3)
    with pytest.raises(UnavailableError, match=r"registry http://127\.0\.0\.1:1"):
        list(judge.judged([[record]], ORIGINS))


@pytest.mark.parametrize("meanwhile", ["changed", "gone"])
def test_a_function_that_is_not_what_it_was_stops_the_work(
    meanwhile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / f"function_that_is_{meanwhile}.py"
    module.write_text(FUNCTION)
    rules = f'match: first\nrules:\n  - {{name: f, match: {{}}, function: "{module.stem}:correct"}}\n'
    (tmp_path / "rules.yaml").write_text(rules)
    monkeypatch.syspath_prepend(tmp_path)
    judge = JudgeElsewhere(Workers(0), load_rules(tmp_path / "rules.yaml"), {}, NOWHERE, attempts=3)
    if meanwhile == "changed":
        module.write_text(FUNCTION.replace("return value", "return None"))
    else:
        module.unlink()
    with pytest.raises(StalePlanError, match=r"function that the rules name has changed|can't be read any more"):
        list(judge.judged([[]], ORIGINS))


def test_a_process_that_judges_loads_neither_ledger_nor_settings_nor_producer() -> None:
    loads = "import sys, redrive.deadletters.judging.elsewhere; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", loads], capture_output=True, text=True, check=True).stdout.split()
    assert "redrive.rules" in loaded
    assert not {"sqlalchemy", "redrive.config", "redrive.producer", "boto3"} & set(loaded)
