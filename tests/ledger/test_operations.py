"""What the ledger keeps of an operation, and how it is told from tampering."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from redrive.errors import ConfigError, FencedError, UnavailableError, UnknownOperationError
from redrive.ledger import Ledger, Operation, digest
from redrive.ledger.database import Database
from redrive.ledger.models import Base, OperationRow


def begin(ledger: Ledger, **changes: Any) -> Operation:
    given: dict[str, Any] = {
        "job": "standby-replay",
        "mode": "run",
        "cluster": "local",
        "resources": ["local/flights.departed"],
        "who": "anna",
        "parameters": {"rate": 1000},
    }
    return ledger.begin(**(given | changes))


def test_an_operation_is_read_back_as_it_was_begun(ledger: Ledger) -> None:
    operation = begin(ledger, run_url="http://127.0.0.1:24200/runs/1")
    row = ledger.operation(operation.id)
    assert (row.job, row.mode, row.status, row.cluster, row.resources, row.who, row.parameters, row.run_url) == (
        "standby-replay",
        "run",
        "running",
        "local",
        ["local/flights.departed"],
        "anna",
        {"rate": 1000},
        "http://127.0.0.1:24200/runs/1",
    )


def test_times_come_back_in_utc_with_their_zone(ledger: Ledger) -> None:
    row = ledger.operation(begin(ledger).id)
    assert row.started_at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - row.started_at) < timedelta(seconds=10)


def test_a_time_without_a_zone_is_refused(url: str, ledger: Ledger) -> None:
    operation = begin(ledger)
    naive = datetime(2026, 1, 1)
    with pytest.raises(Exception, match="has no time zone"), Database(url).writing() as session:
        session.get_one(OperationRow, operation.id).started_at = naive


def test_a_finished_operation_has_its_verdict_counts_and_evidence(ledger: Ledger) -> None:
    operation = begin(ledger)
    operation.finish("done", "proved", {"replayed": 41_000}, {"sha256": "ab"})
    row = ledger.operation(operation.id)
    assert (row.status, row.verdict, row.counts, row.evidence) == (
        "done",
        "proved",
        {"replayed": 41_000},
        {"sha256": "ab"},
    )
    assert row.ended_at is not None
    assert row.ended_at >= row.started_at


def test_a_plan_is_kept_under_a_digest_that_does_not_depend_on_the_order_of_its_keys(ledger: Ledger) -> None:
    operation = begin(ledger)
    plan_digest = operation.plan({"lanes": [1, 2], "events": 5})
    assert plan_digest == digest({"events": 5, "lanes": [1, 2]}) != digest({"events": 6, "lanes": [1, 2]})
    assert ledger.operation(operation.id).plan_digest == plan_digest


def test_beginning_again_with_the_same_id_goes_on_with_the_same_operation(ledger: Ledger) -> None:
    first = begin(ledger, operation_id="run-1")
    first.note("lane drained", {"lane": 0})
    first.finish("failed")
    second = begin(ledger, operation_id="run-1")
    row = ledger.operation("run-1")
    assert (row.status, row.ended_at, second.attempt) == ("running", None, 2)
    assert [entry.kind for entry in ledger.entries("run-1")] == ["begun", "lane drained", "ended", "begun"]


def test_an_earlier_attempt_is_fenced_off(ledger: Ledger) -> None:
    earlier = begin(ledger, operation_id="run-1")
    begin(ledger, operation_id="run-1")
    with pytest.raises(FencedError):
        earlier.heartbeat()
    with pytest.raises(FencedError):
        earlier.finish("done", "proved")
    assert ledger.operation("run-1").status == "running"


def test_an_id_is_never_shared_by_two_jobs(ledger: Ledger) -> None:
    begin(ledger, operation_id="run-1")
    with pytest.raises(ValueError, match="is of the job standby-replay"):
        begin(ledger, operation_id="run-1", job="dlq-correction")


def test_operations_are_listed_newest_first_and_by_job(ledger: Ledger) -> None:
    ids = [begin(ledger, job=job).id for job in ("a", "b", "a")]
    assert [row.id for row in ledger.operations()] == ids[::-1]
    assert [row.id for row in ledger.operations(job="a", limit=1)] == [ids[2]]


def test_an_operation_is_found_by_the_first_letters_of_its_id(ledger: Ledger) -> None:
    for operation_id in ("abc-1", "abd-1", "abd-1-x"):
        begin(ledger, operation_id=operation_id)
    assert ledger.operation("abc").id == "abc-1"
    assert ledger.operation("abd-1").id == "abd-1"
    with pytest.raises(UnknownOperationError, match="the ledger knows several; give more letters"):
        ledger.operation("ab")
    with pytest.raises(UnknownOperationError, match="the ledger knows none; see `redrive operations list`"):
        ledger.operation("%")


def test_heartbeats_go_on_whatever_has_kept_one_from_coming(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    operation, beats, came = begin(ledger), iter([RuntimeError("the database is read-only now"), None]), Event()
    heartbeat = operation.heartbeat

    def beat() -> None:
        if error := next(beats, None):
            raise error
        heartbeat()
        came.set()

    monkeypatch.setattr(operation, "heartbeat", beat)
    with operation.keep_alive(every=0.01) as lost:
        assert came.wait(30)
        assert not lost.is_set()


def test_the_last_sign_of_life_is_that_of_whichever_operation_was_alive_last(ledger: Ledger) -> None:
    assert ledger.last_sign(["nowhere"]) is None
    first, second = begin(ledger, operation_id="first"), begin(ledger, operation_id="second")
    last = ledger.last_sign(["first", "second", "nowhere"])
    assert last is not None
    assert (last.id, last.job, last.at) == ("second", "standby-replay", ledger.operation("second").heartbeat_at)
    first.heartbeat()
    beat = ledger.last_sign(["first", "second"])
    assert beat is not None
    assert beat.id == "first"
    second.finish("done")
    ended = ledger.last_sign(["first", "second"])
    assert ended is not None
    assert (ended.id, ended.at) == ("second", ledger.operation("second").ended_at)


def test_the_latest_entry_of_a_kind_on_a_cluster_is_found_whichever_operation_made_it(ledger: Ledger) -> None:
    assert ledger.latest("growth", "local") is None
    first, second = begin(ledger), begin(ledger)
    second.note("growth", {"step": 1})
    first.note("growth", {"step": 2})
    begin(ledger, cluster="other").note("growth", {"step": 3})
    first.note("something else", {})
    latest = ledger.latest("growth", "local")
    assert latest is not None
    assert (latest.operation_id, latest.body) == (first.id, {"step": 2})


def test_the_ledger_s_own_words_are_not_to_be_had_for_notes(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="own kind"):
        begin(ledger).note("ended", {})


def test_an_untouched_journal_holds_together(ledger: Ledger) -> None:
    assert ledger.verify_chain() == []
    for count in range(3):
        operation = begin(ledger)
        operation.plan({"events": count, "share": 0.1, "unicode": "→\u0000"})
        operation.note("seen", {"at": datetime.now(UTC), "big": 2**60})
        operation.finish("done", "counted", {"replayed": count})
    begin(ledger)
    assert ledger.verify_chain() == []


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE entries SET body = '{\"lane\": 1}' WHERE kind = 'seen'", "is not what was written"),
        ("UPDATE entries SET kind = 'unseen' WHERE kind = 'seen'", "is not what was written"),
        ("DELETE FROM entries WHERE kind = 'seen'", "entries 2 to 2 are missing"),
        ("DELETE FROM entries WHERE kind = 'begun'", "entries 1 to 1 are missing"),
        ("DELETE FROM entries WHERE kind = 'ended'", "is not what the journal says"),
        ("DELETE FROM entries", "the journal has no entry of this operation"),
        ("UPDATE operations SET verdict = 'proved'", "verdict is not what the journal says"),
        ("UPDATE operations SET who = 'mallory'", "who is not what the journal says"),
        ("UPDATE operations SET parameters = '{}'", "parameters is not what the journal says"),
        ("UPDATE operations SET started_at = '2001-01-01 00:00:00'", "started_at is not what the journal says"),
    ],
)
def test_tampering_shows(url: str, ledger: Ledger, statement: str, reason: str) -> None:
    operation = begin(ledger)
    operation.note("seen", {"lane": 0})
    operation.finish("failed", "failed")
    with Database(url).writing() as session:
        session.execute(text(statement))
    assert any(reason in finding.reason for finding in ledger.verify_chain()), ledger.verify_chain()


def test_a_rewritten_entry_shows_even_with_a_hash_that_fits_it(url: str, ledger: Ledger) -> None:
    operation = begin(ledger)
    for lane in range(2):
        operation.note("seen", {"lane": lane})
    with Database(url).writing() as session:
        session.execute(text("DELETE FROM entries WHERE id = 2"))
        session.execute(text("UPDATE entries SET id = 2 WHERE id = 3"))
    assert [finding.entry for finding in ledger.verify_chain()] == [2, 2]


def test_the_head_changes_with_every_entry(ledger: Ledger) -> None:
    heads = [ledger.head()]
    operation = begin(ledger)
    for count in range(3):
        operation.note("seen", {"count": count})
        heads.append(ledger.head())
    assert len(set(heads)) == 4


PROCESS = """
import sys
from redrive.ledger import Ledger
ledger = Ledger.open(sys.argv[1])
operation = ledger.begin("test", "run", cluster="c", resources=[], who="me", parameters={})
for count in range(20):
    operation.note("seen", {"count": count})
operation.finish("done", "counted", {"seen": 20})
"""


def test_many_processes_may_open_a_new_ledger_at_once_and_write_one_unbroken_journal(url: str) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", PROCESS, url], stderr=subprocess.PIPE, text=True) for _ in range(6)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    with Ledger.open(url) as ledger:
        assert ledger.verify_chain() == []
        assert sum(len(ledger.entries(row.id)) for row in ledger.operations()) == 6 * 22


def test_the_migrations_lead_to_the_tables_that_the_models_describe(url: str, ledger: Ledger) -> None:
    with Database(url).reading() as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_type": False})
        assert compare_metadata(context, Base.metadata) == []


def test_a_ledger_of_a_newer_version_is_refused(url: str, ledger: Ledger) -> None:
    with Database(url).writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigError, match="newer version of Redrive"):
        Ledger.open(url)


@pytest.mark.parametrize(
    "url", ["postgresql://me:hunter2@127.0.0.1:1/ledger", "sqlite:////proc/1/fd/ledger.db"], ids=["closed", "file"]
)
def test_a_database_that_does_not_answer_is_unavailable(url: str) -> None:
    with pytest.raises((UnavailableError, ConfigError)) as caught:
        Ledger.open(url)
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_no_database_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("not a database at all, but longer than a header\n" * 100)
    with pytest.raises(ConfigError, match="file is not a database"):
        Ledger.open(f"sqlite:///{tmp_path}/ledger.db")


def test_runs_that_did_something_are_found_behind_any_number_that_did_nothing(ledger: Ledger) -> None:
    """The safety net runs every quarter of an hour, and mostly finds nothing to do."""
    proved, cut_off = begin(ledger), begin(ledger)
    proved.finish("done", "proved", evidence={"events_per_second": 900.0})
    cut_off.finish("cancelled")
    for _ in range(60):
        begin(ledger).finish("done")
    assert {row.id for row in ledger.worked(proved.job)} == {proved.id, cut_off.id}


def test_what_operations_note_is_found_by_its_word_and_time(ledger: Ledger) -> None:
    operation = begin(ledger)
    operation.note("found", {"events": 3})
    operation.note("other", {})
    began = ledger.operation(operation.id).started_at
    assert [entry.body for entry in ledger.noted("found", began)] == [{"events": 3}]
    assert ledger.noted("found", began + timedelta(hours=1)) == []
