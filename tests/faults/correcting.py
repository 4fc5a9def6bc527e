"""Programs under test: one life of a correction, or of a triage, by the flow's own steps, without Prefect's server."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from prefect.logging import disable_run_logger
from sqlalchemy.orm import Session

import flows.dlq_correction as flow
import redrive.ledger.letters
import redrive.pump.sink
import tasks.dlq_correction.steps
import tasks.dlq_triage.steps
from flows.dlq_correction import Correction
from redrive.config import Config
from redrive.deadletters.correction import Batch, Context, Plan, settling
from redrive.errors import FencedError, HeldError, StalePlanError, UnavailableError
from redrive.ledger import Ledger
from redrive.ledger.database import Database
from redrive.ledger.letters import Letters
from redrive.ledger.operation import Operation
from redrive.pump.governor import Governor
from redrive.pump.pump import Pump
from redrive.pump.workers import Workers
from tasks.board import Board
from tasks.dlq_correction.report import Ending
from tasks.dlq_correction.steps import Correcting, CorrectingUnits, End, correct_partition
from tasks.operations import Run
from tasks.side_by_side import Hidden, how_stopped
from tests.faults.fuses import Fuse, fused_sink, fused_transactions
from tests.faults.journal import Journal
from tests.faults.processes import enter

JOB = "dlq-correction"
RULES = """\
match: first
rules:
  - name: numbers as text
    match: {reason: invalid-value, when: "type(value.id) == string && value.id.matches('^[0-9]+$')"}
    do:
      - {op: convert, path: /id, to: integer}
  - name: no number at all
    match: {reason: invalid-value, when: "type(value.id) == string && value.id == 'none'"}
    do:
      - {op: replace, path: /id, value: still no number}
  - name: tests
    match: {reason: invalid-value, when: "value.note == 'test'"}
    skip: it was a test
"""

CALLS = {
    "claim": 1,
    "select_letters": 2,
    "look_up_topics": 2,
    "find_others": 1,
    "settle_earlier": 1,
    "find_doubles": 1,
    "look_at_main_topics": 1,
    "enter_corrected": 1,
    "judge_letters": 1,
    "start": 3,
    "begin": 18,
    "commit": 14,
    "transaction": 18,
    "fates": 38,
    "earlier fates": 4,
    "write": 38,
    "settle_cluster": 1,
    "finish": 1,
}
"""Calls of a correction, and a sensible highest N of each; see `tests.faults.fuses`.

``fates`` are handed to the ledger, by the source before the transaction of its chunk, and by settling; ``write`` is
inside of the ledger's own transaction.
"""

PIECE, CHUNK_BYTES, AT_ONCE = 5, 1_500, 10
TTL = 1.5
"""Seconds without a heartbeat after which a holder is taken for dead."""

T = TypeVar("T")


@dataclass(frozen=True)
class Life:
    """What one life is to do.

    Attributes:
        name: its name, such as ``op-1.2``.
        folder: where its journal and log go.
        config: the settings file.
        operation: the operation's id; one that there is already is gone on with.
        fuse: crash point; empty: none.
        stops: at the crash point, the process is stopped, and not killed.
        heartbeat: seconds between signs of life.
        patience: seconds that a system may be away.
    """

    name: str
    folder: Path
    config: Path
    operation: str
    fuse: str = ""
    stops: bool = False
    heartbeat: float = 0.3
    patience: float = 60.0


def correct_batch(life: Life) -> None:
    """Run one life."""
    enter(life.folder / f"{life.name}.log")
    journal = Journal(life.folder / f"{life.name}.journal")
    sends = signal.SIGSTOP if life.stops else signal.SIGKILL
    fuse = Fuse(life.fuse, lambda point: journal.write("crash", point), sends, _turn_to_write() if life.stops else None)
    _fit(fuse)
    try:
        with disable_run_logger():
            _Correction(life, journal, fuse).run()
    except Exception as error:
        logging.exception("%s", life)
        journal.write("raised", type(error).__name__, repr(str(error)))
    journal.write("passed", dict(fuse.passed))


def _turn_to_write() -> threading.RLock:
    """Let threads write to the ledger in turns.

    Whoever stops the process takes the turn: else another thread could be stopped in its transaction, and SQLite would
    let nobody write until the process is woken.
    """
    turn, writing = threading.RLock(), Database.writing

    @contextmanager
    def in_turn(self: Database) -> Iterator[Session]:
        with turn, writing(self) as session:
            yield session

    Database.writing = in_turn  # type: ignore[method-assign]
    return turn


def _fit(fuse: Fuse) -> None:
    """Put fuses into the product, and make its pieces small, so that there is much to be cut off in."""
    correct: Any = sys.modules["redrive.deadletters.correction.correct"]
    source: Any = sys.modules["redrive.deadletters.correction.source"]
    redrive.pump.sink.Transactions = fused_transactions(fuse)  # type: ignore[misc, attr-defined]
    correct.TransactionalSink = fused_sink(fuse, 6.0)
    correct.Pump = partial(Pump, chunk_bytes=CHUNK_BYTES)
    source._PIECE = PIECE
    settling._AT_ONCE = AT_ONCE
    writes: Any = redrive.ledger.letters.letter_writes
    writes.record_fates = fuse.wrap("write", writes.record_fates)
    Letters.record_fates = _fused(fuse, Letters.record_fates)  # type: ignore[method-assign]
    steps = (
        "select_letters",
        "look_up_topics",
        "find_others",
        "settle_earlier",
        "find_doubles",
        "look_at_main_topics",
        "enter_corrected",
        "judge_letters",
    )
    for name in steps:
        setattr(flow, name, fuse.wrap(name, _patient(getattr(flow, name).fn)))
    settle: Any = tasks.dlq_correction.steps.settle_cluster
    tasks.dlq_correction.steps.settle_cluster = fuse.wrap("settle_cluster", _patient(settle.fn))


def _fused(fuse: Fuse, record: Callable[..., int]) -> Callable[..., int]:
    def record_fates(letters: Letters, operation: Operation, fates: Any, *, of: str | None = None) -> int:
        with fuse.around("fates" if of is None else "earlier fates"):
            return record(letters, operation, fates, of=of)

    return record_fates


def _patient(step: Callable[..., T]) -> Callable[..., T]:
    """Repeat a step while a system is away, as Prefect does."""

    def call(*args: Any, **more: Any) -> T:
        deadline = time.monotonic() + 60
        while True:
            try:
                return step(*args, **more)
            except UnavailableError as error:
                if time.monotonic() > deadline:
                    raise
                logging.warning("%s", error)
                time.sleep(0.3)

    return call


class _Run(Run):
    """A run that only the ledger knows."""

    def __init__(self, ledger: Ledger, operation_id: str, fuse: Fuse, job: str = JOB) -> None:
        self.ledger, self.id, self.job = ledger, operation_id, job
        self.flow_run = operation_id
        self.url, self.who = "", "tests"
        self._ended = False
        self._fuse = fuse

    def claim(self, topics: Iterable[tuple[str, str]], *, all_or_none: bool) -> Any:
        with self._fuse.around("claim"):
            _patient(self.ledger.claim)(["/".join(topic) for topic in topics], self.operation, TTL)


def triage_letters(life: Life) -> None:
    """Run one life of a triage of all dead-letter topics."""
    enter(life.folder / f"{life.name}.log")
    journal = Journal(life.folder / f"{life.name}.journal")
    fuse = Fuse(life.fuse, lambda point: journal.write("crash", point))
    reading_module: Any = sys.modules["redrive.deadletters.reading"]
    triaging: Any = tasks.dlq_triage.steps
    reading_module.scan = partial(reading_module.scan, batch=PIECE)
    triaging.triage = partial(triaging.triage, page=PIECE)
    Letters.record = fuse.wrap("record", Letters.record)  # type: ignore[method-assign]
    writes: Any = redrive.ledger.letters.letter_writes
    writes.record = fuse.wrap("write", writes.record)
    config = Config.load(life.config)
    try:
        with disable_run_logger(), _patient(Ledger.open)(config.ledger_url()) as ledger:
            run = _Run(ledger, life.operation, fuse, job="dlq-triage")
            run.begin("run", "one", ["one"], {})
            reading = tasks.dlq_triage.steps.Reading(config, run, record=True)
            topics = tasks.dlq_triage.steps.dead_letter_topics(config, [], None)
            new = sum(
                tasks.dlq_triage.steps.triage_topic.fn(topic.name, topic.cluster, reading).new for topic in topics
            )
            run.finish("done")
        journal.write("ended", "triaged", {"new": new}, [])
    except Exception as error:
        logging.exception("%s", life)
        journal.write("raised", type(error).__name__, repr(str(error)))


class _Correction:
    def __init__(self, life: Life, journal: Journal, fuse: Fuse) -> None:
        self._life, self._journal, self._fuse = life, journal, fuse
        self._config = Config.load(life.config)
        self._correction = Correction(mode="run", rules="rules.yaml", samples=0)
        steps: Any = flow  # what needs Prefect's server
        steps.report_plan = lambda *_, **__: None
        steps.carry_out, steps.finish_early = self.carry_out, self.finish_early

    def run(self) -> None:
        with _patient(Ledger.open)(self._config.ledger_url()) as ledger:
            run = _Run(ledger, self._life.operation, self._fuse)
            _patient(run.begin)("run", "one", ["one"], {})
            with run.operation.keep_alive(self._life.heartbeat):
                try:
                    rules = tasks.dlq_correction.steps.read_rules(self._config, self._correction.rules)
                    flow.correct_letters(self._config, run, self._correction, rules)
                except (HeldError, StalePlanError) as error:
                    self._journal.write("refused", type(error).__name__, repr(str(error)))
                    run.finish("refused", evidence={"reason": str(error)})
                    return
                except FencedError as error:
                    self._journal.write("fenced", repr(str(error)))
                    return

    def carry_out(  # noqa: PLR0917 (the flow's)
        self,
        work: Correcting,
        correction: Correction,
        plan: Plan,
        batch: Batch,
        contexts: dict[str, Context],
        approved: str,
    ) -> None:
        """Do as the flow does, with threads for Prefect's tasks."""
        ends = self._correct(work, batch, contexts)
        for end in ends:
            if end.how != "done":
                self._journal.write("unit", end.unit, end.how, end.reason)
        ending = self._end(work, plan, ends)
        with self._fuse.around("finish"):
            work.run.operation.finish(ending.status, ending.verdict, ending.counts, ending.evidence())
        self._journal.write("ended", ending.word, ending.counts, ending.findings)

    def finish_early(self, run: Run, word: str, plan: Plan) -> None:
        """End a life that had nothing to do."""
        run.finish("done", counts={"letters": plan.letters})
        self._journal.write("ended", word, {"letters": plan.letters, "published": 0}, [])

    def _correct(self, work: Correcting, batch: Batch, contexts: dict[str, Context]) -> list[End]:
        governor, board = Governor(), Board({unit: len(unit.offsets) for unit in batch.units})
        at_work = CorrectingUnits(work, contexts, governor, board, Workers(0), patience=self._life.patience)
        correct: Any = _patient(correct_partition.fn)

        def one(unit: Any) -> End:
            try:
                return End(unit, "done", correct(str(unit), Hidden(unit), at_work))
            except Exception as error:
                logging.exception("%s", unit)
                return End(unit, how_stopped(error), reason=str(error))

        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(one, batch.units))

    def _end(self, work: Correcting, plan: Plan, ends: list[End]) -> Ending:
        proofs = tasks.dlq_correction.steps.settle_all(work, ends, mode="full")
        fates = _patient(work.run.ledger.letters.fates_by)(work.run.id)
        return Ending(
            plan=plan,
            approved="",
            ends=ends,
            proofs=proofs,
            earlier=work.earlier,
            fates=fates,
            unverified="",
            seconds=1.0,
            started_pace="full speed",
            changes=[],
        )
