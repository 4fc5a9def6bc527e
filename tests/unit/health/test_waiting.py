"""Counting what waits in the standby store: each slot once, and never for longer than a look may take."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from redrive.config import Config
from redrive.health import last, waiting
from redrive.health.changes import look_of
from redrive.health.facts import Facts, Standby
from redrive.health.judging import judge
from redrive.ledger import Ledger
from redrive.standby.lanes import DIVERT, OPEN
from redrive.standby.store import Slot
from redrive.standby.survey import OutOfTimeError, survey
from tests.unit.health.test_health import GOOD

LANES = 32


class Shelf:
    """A standby table that notes how many slots of streams were read of it, each of which takes its time."""

    table = "redrive-standby"

    def __init__(self, slots: int, *, seconds: float = 0.0, log_seconds: float = 0.0) -> None:
        self.logs: dict[str, dict[int, Slot]] = {"topics|east": {1: Slot("topic", "t", epoch=LANES, producer="orders")}}
        self.seconds, self.log_seconds, self.outlined = seconds, log_seconds, 0
        for lane in range(LANES):
            self.logs[f"lane|east|orders|{lane}"] = {1: Slot(DIVERT, "d", epoch=1, producer="shop")}
        self.store(slots)

    def store(self, slots: int) -> None:
        """Add so many slots to each lane's stream, of ten events each."""
        for lane in range(LANES):
            stream = self.logs.setdefault(f"stream|east|orders|{lane}|1|shop", {})
            for number in range(len(stream) + 1, len(stream) + slots + 1):
                stream[number] = Slot("events", f"{number}", events=10, oldest=1_000 + number, size=7)

    def read(self, pk: str, after: int) -> Iterator[tuple[int, Slot]]:
        time.sleep(self.log_seconds)
        return iter([(sk, slot) for sk, slot in sorted(self.logs.get(pk, {}).items()) if sk > after])

    def outline(self, pk: str, after: int = 0) -> Iterator[tuple[int, Slot]]:
        for sk, slot in sorted(self.logs[pk].items()):
            if sk > after:
                time.sleep(self.seconds)
                self.outlined += 1
                yield sk, slot


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "redrive.toml").write_text(
        '[registry]\nurl = "http://127.0.0.1:1"\n[clusters.east]\nbootstrap = "127.0.0.1:1"\n'
        '[domains.a]\ncluster = "east"\n[topics.orders]\ndomain = "a"\n'
    )
    return Config.load(tmp_path / "redrive.toml")


class Minute:
    """Looks at a shelf, minute by minute, as the job does."""

    def __init__(self, config: Config, shelf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.config, self.shelf = config, shelf
        monkeypatch.setattr(waiting, "open_store", lambda _: shelf)

    def pass_(self, budget: float = 60.0) -> tuple[Standby, int]:
        """Look; give what was found, and how many slots were read for it."""
        before = self.shelf.outlined
        standby = waiting.read_standby(self.config, "east", budget)
        with Ledger.open(self.config.ledger_url()) as ledger:
            ledger.looks.enter(look_of(judge(self._facts(standby)), ledger.looks.last("east")))
        return standby, self.shelf.outlined - before

    def _facts(self, standby: Standby) -> Facts:
        return Facts("east", datetime.now(UTC), 0.1, GOOD.ours, GOOD.state, GOOD.disks, (), standby, GOOD.books)


def test_a_look_reads_only_what_was_stored_since_the_last_one(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    minute = Minute(config, Shelf(5), monkeypatch)
    first, read = minute.pass_()
    assert (first.events, first.bytes, first.diverted, read) == (LANES * 50, LANES * 35, LANES, LANES * 5)
    assert first.oldest == datetime.fromtimestamp(1.001, UTC)
    assert minute.pass_() == (first, 0)
    minute.shelf.store(2)
    again, read = minute.pass_()
    assert (again.events, again.bytes, again.oldest, read) == (LANES * 70, LANES * 49, first.oldest, LANES * 2)
    minute.shelf.logs["lane|east|orders|0"][2] = Slot(OPEN, "o", epoch=1)
    opened, _ = minute.pass_()
    assert (opened.events, opened.diverted) == ((LANES - 1) * 70, LANES - 1)


def test_a_look_that_can_not_count_all_says_so_in_time_and_the_next_one_goes_on(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    minute = Minute(config, Shelf(5, seconds=0.05), monkeypatch)
    began, (first, _) = time.monotonic(), minute.pass_(budget=0.5)
    assert time.monotonic() - began < 3
    assert not first.is_whole
    assert 0 < first.events < LANES * 50
    assert first.diverted == LANES, "that events wait is known all the same"
    (reason,) = judge(minute._facts(first)).reasons
    assert reason.code == "backlog"
    assert "at least" in reason.what
    second, read = minute.pass_()
    assert (second.events, second.is_whole) == (LANES * 50, True)
    assert read == LANES * 5 - first.events // 10, "no slot is read twice"


def test_a_ledger_that_does_not_answer_holds_no_count_up(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    minute = Minute(config, Shelf(5), monkeypatch)
    minute.pass_()
    monkeypatch.setattr(last, "PATIENCE", 0.1)
    answer = threading.Event()
    monkeypatch.setattr(last.Ledger, "open", lambda _: answer.wait(60))
    began = time.monotonic()
    assert waiting.read_standby(config, "east").events == LANES * 50, "it is counted anew"
    assert time.monotonic() - began < 30
    answer.set()


def test_of_another_table_nothing_is_known(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    minute = Minute(config, Shelf(5), monkeypatch)
    minute.pass_()
    minute.shelf.table = "restored"
    assert minute.pass_()[1] == LANES * 5


def test_a_store_too_slow_to_name_the_states_of_lanes_is_left_alone_when_time_is_up() -> None:
    shelf: Any = Shelf(1, log_seconds=0.1)
    began = time.monotonic()
    with pytest.raises(OutOfTimeError, match="32 lanes could not all be read in time"):
        survey(shelf, "east", until=began + 0.15)
    assert time.monotonic() - began < 0.5, "no thread goes on"
