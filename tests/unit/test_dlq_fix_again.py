"""What somebody has typed into `redrive dlq fix` is not lost to an outage or to another job's hold."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from redrive.cli import dlq_fix, editing
from redrive.deadletters.correction.by_hand import LetterInHand
from redrive.deadletters.fate import Fate
from redrive.deadletters.letter_id import LetterId
from redrive.errors import HeldError, UnavailableError
from tests.unit.one_cluster import one_cluster

NAME = "one:dlq.orders/0/1"


class Letter:
    """A letter in hand whose publishing fails with these errors first."""

    value: Any = None

    def __init__(self, *failures: Exception) -> None:
        self._failures = list(failures)
        self.published: list[Any] = []

    def check(self, value: Any) -> None: ...

    def plan(self, edit: Any) -> Any:
        return SimpleNamespace(samples=[], overtaken=0)

    def carry_out(self, edit: Any, *_: Any) -> Any:
        self.published.append(edit.apply(None, None).value)
        if self._failures:
            raise self._failures.pop(0)
        return SimpleNamespace(
            fate=Fate(LetterId.parse(NAME), "published", "", (), "orders", 0, 5), operation="op", findings=[]
        )


@pytest.fixture
def letter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Letter:
    one_cluster(tmp_path, "orders")
    monkeypatch.chdir(tmp_path)
    letter = Letter(HeldError("one/orders", "standby-replay 0b1c"), UnavailableError("Kafka", "no answer"))
    monkeypatch.setattr(LetterInHand, "take", lambda *_: letter)
    monkeypatch.setattr(dlq_fix, "open_ledger", nullcontext)
    monkeypatch.setattr(dlq_fix, "_about", lambda _: [])
    monkeypatch.setattr(dlq_fix, "_ask", lambda *_: "hold")
    monkeypatch.setattr("redrive.schemas.SchemaRegistry", lambda _: SimpleNamespace(close=lambda: None))
    typed = iter([{"id": 7}])
    monkeypatch.setattr(editing, "edit", lambda *_: next(typed))
    return letter


def sit_at_a_terminal(monkeypatch: pytest.MonkeyPatch, *answers: bool) -> None:
    given = iter(answers)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: bool(answers)))
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: next(given))


def test_it_may_be_tried_again_with_what_was_typed(letter: Letter, monkeypatch: pytest.MonkeyPatch) -> None:
    sit_at_a_terminal(monkeypatch, True, True)
    dlq_fix.fix(NAME)
    assert letter.published == [{"id": 7}] * 3


def test_who_does_not_want_to_hears_why(letter: Letter, monkeypatch: pytest.MonkeyPatch) -> None:
    sit_at_a_terminal(monkeypatch, True, False)
    with pytest.raises(UnavailableError, match="no answer"):
        dlq_fix.fix(NAME)


def test_where_nobody_can_be_asked_it_ends(letter: Letter, monkeypatch: pytest.MonkeyPatch) -> None:
    sit_at_a_terminal(monkeypatch)
    with pytest.raises(HeldError):
        dlq_fix.fix(NAME)
