"""Whatever letters there are: judged in another process, the same becomes of each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrive.deadletters.dialects import Record
from redrive.deadletters.judging import elsewhere
from redrive.deadletters.judging.elsewhere import JudgeElsewhere
from redrive.deadletters.judging.judge import Decision, Judge, Piece
from redrive.deadletters.judging.targets import Targets
from redrive.pump.workers import Workers
from redrive.rules import RuleSet, load_rules
from tests.properties.test_corrections import BATCHES, REGISTRY, WRITER, given_time
from tests.unit.test_correction_judging import but_for_the_time_of_day

RULES = """\
match: all
rules:
  - name: numbers
    match: {when: "type(value) == map && has(value.id) && type(value.id) == string"}
    do: [{op: convert, path: /id, to: integer}]
  - name: refuses
    match: {when: "value.note == 'reject'"}
    do: [{op: test, path: /note, value: never}]
  - name: skips
    match: {when: "value.note == 'skip'"}
    skip: not needed
  - name: drops
    match: {when: "value.note == 'fine'"}
    do: [{op: remove, path: /note}]
"""
TARGETS: Targets = {"orders": WRITER, "gone": "main-topic-gone"}
ORIGINS = "dlq/one/dlq/0/letters/%d/0"


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> RuleSet:
    file: Path = tmp_path_factory.mktemp("rules") / "rules.yaml"
    file.write_text(RULES)
    return load_rules(file)


@given_time
@given(BATCHES, st.integers(1, 5), st.booleans())
def test_the_same_becomes_of_each_letter(rules: RuleSet, batch: list[Any], size: int, by_rules: bool) -> None:
    letters: list[Record | int] = [
        offset if letter is None else Record("one", "dlq", 0, offset, 5, *letter) for offset, letter in enumerate(batch)
    ]
    pieces = [letters[at : at + size] for at in range(0, len(letters), size)]
    given_rules = rules if by_rules else None
    here = Judge(given_rules, TARGETS, REGISTRY.reader(), attempts=3)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(elsewhere, "_LateRegistry", lambda _: REGISTRY)  # the one that knows the schema
        there = JudgeElsewhere(Workers(0), given_rules, TARGETS, {}, attempts=3)
        assert plain(there.judged(pieces, ORIGINS)) == plain(here.judged(pieces, ORIGINS))


def plain(judged: Iterable[tuple[Piece, Iterable[Decision]]]) -> list[tuple[Piece, list[Any]]]:
    return [(piece, [but_for_the_time_of_day(decision) for decision in decisions]) for piece, decisions in judged]
