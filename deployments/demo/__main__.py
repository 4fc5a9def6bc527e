"""``make demo``: 336,776 real events through a real outage, and back; the exit code tells whether all came through."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect.context import refresh_global_settings_context
from rich.console import Console
from rich.table import Table

from deployments.demo.corrections import WHO, correct_letters, start_triage
from deployments.demo.flights import CANCELLED, FLIGHTS, TOPIC
from deployments.demo.reader import count_rows, read_back, topic_ids
from deployments.demo.story import Producers, Told, publishing
from deployments.follow import connected, start
from deployments.local.stack import Stack
from deployments.worker import start_worker
from redrive.config import Config
from redrive.errors import RedriveError
from redrive.ledger import Ledger
from redrive.standby.drain import open_store
from redrive.standby.survey import survey
from redrive.topics import apply_topics

FOLDER = Path(".redrive/demo")
RESULT = Path("build/demo.json")
DEAD_LETTERS = "dlq.flights"
RATE = 3_300
"""Events a second, all producers together: the year takes 100 s, so that the return, too, comes in mid-stream."""
KILL_AT = 0.1
"""The part of all events after which the brokers are killed."""
BROKERS = ["kafka-1", "kafka-2", "kafka-3"]
OUTAGE_SECONDS = 8
PATIENCE = 240

console = Console(highlight=False, soft_wrap=True)
_began = time.monotonic()


def say(what: str) -> None:
    """Print one line of the story with the seconds since it began."""
    console.print(f"[dim]{time.monotonic() - _began:6.1f} s[/]  {what}")


def main() -> int:
    """Tell the whole story; return the exit code."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    stack = Stack(FOLDER)
    try:
        with stack:
            say("starting three Kafka brokers, DynamoDB Local, the schema registry and Prefect …")
            return _story(stack)
    except RedriveError as error:
        console.print(f"[red]the demo failed:[/] {error}")
        return 1


def _story(stack: Stack) -> int:
    os.environ.update(stack.environment())
    os.environ["REDRIVE_LEDGER__URL"] = f"sqlite:///{(FOLDER / 'ledger.db').absolute()}"
    refresh_global_settings_context()  # Prefect has read its settings when it was imported
    config = Config.load("redrive.toml")
    failed = [change for change in apply_topics(config) if change.outcome == "failed"]
    if failed:
        raise RedriveError("; ".join(f"{change.name}: {change.reason}" for change in failed))
    worker = start_worker(dict(os.environ), FOLDER / "worker.log")
    with worker, publishing(FOLDER, RATE) as producers, Ledger.open(config.ledger_url()) as ledger:
        started = time.monotonic()
        say("the replay job is deployed; three producers publish the flights of 2013, keyed by tail number")
        _follow(producers, lambda told: told.published > FLIGHTS * KILL_AT)
        for broker in BROKERS:
            stack.kill(broker)
        outage = time.monotonic()
        say("[bold red]kill -9[/] to all three brokers, in mid-stream; the producers go on")
        _start("cluster-health")  # what the schedule does within a minute
        told = _follow(producers, lambda told: told.standby > 0 and time.monotonic() - outage > OUTAGE_SECONDS)
        say("starting the brokers again; the producers still publish")
        for broker in BROKERS:
            stack.start(broker, wait=False)
        stack.wait_ready(BROKERS)
        back = time.time_ns() // 1_000_000
        say(
            f"the brokers are back after {time.monotonic() - outage:.0f} s; the job [bold]cluster-health[/] notices, "
            "and its event starts the replay"
        )
        _start("cluster-health")
        replays = _Replays(ledger)
        by_then = told.main
        if _follow(producers, lambda told: told.main > by_then or not told.running, replays).running:
            say("[bold green]lanes are open again:[/] in mid-stream, their producers go back to Kafka")
        _follow(producers, lambda told: not told.running, replays)
        _follow(producers, lambda _: replays.all_ended(), replays)
        # What a lane stored after the replay had passed it is for the next run; the schedule would start it.
        while any(not lane.is_open for lane in survey(open_store(config), "local")):
            say("some lanes were diverted again meanwhile: one more replay")
            before = replays.count
            _start("standby-replay", {"replay": {"mode": "run"}})
            _follow(producers, lambda _, before=before: replays.count > before and replays.all_ended(), replays)  # type: ignore[misc]  # mypy infers no defaults of lambdas
        triage = start_triage()  # it reads the dead letters, which nobody changes before the second act
        say("a plain Kafka consumer reads both topics back …")
        rows, errors = producers.rows()
        bootstrap = stack.endpoints.bootstrap
        findings = read_back(bootstrap, TOPIC, rows["main"], rows["standby"], back)
        dead_letters = len(topic_ids(bootstrap, DEAD_LETTERS))
        say("[bold]second act:[/] the cancelled flights, which are dead letters, are put right")
        corrected = correct_letters(triage, say)
        arrived = count_rows(bootstrap, TOPIC, rows["dead_letter"])
        told = producers.told()
        good = (
            not errors
            and told.acknowledged == FLIGHTS
            and dead_letters == len(rows["dead_letter"]) == CANCELLED
            and findings.lost == findings.duplicated == findings.out_of_order == findings.unknown == 0
            and replays.good
            and corrected.verdict == "proved"
            and set(arrived.values()) == {1}
        )
        result = {
            "published": told.published,
            "acknowledged": told.acknowledged,
            "diverted": len(rows["standby"]),
            "replayed": replays.total("published"),
            "direct_after_return": findings.returned,
            "dead_lettered": dead_letters,
            "lost": findings.lost,
            "duplicated": findings.duplicated,
            "out_of_order": findings.out_of_order,
            "errors": len(errors),
            "corrected": sum(times == 1 for times in arrived.values()),
            "corrections_lost": sum(times == 0 for times in arrived.values()),
            "corrections_duplicated": sum(times > 1 for times in arrived.values()),
            "verdict": "proved" if good else "failed",
            "seconds": round(time.monotonic() - started, 1),
        }
        _show(result, errors)
        _leave(stack)
        return 0 if good else 1


def _start(job: str, parameters: dict[str, Any] | None = None) -> None:
    with connected() as client:
        start(client, job, parameters or {}, WHO)


class _Replays:
    """The replay's operations, as the ledger has them."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._told: set[tuple[str, str]] = set()
        self.read()

    def read(self) -> None:
        """Read the ledger, and say what has changed."""
        self.rows = [row for row in self._ledger.operations(job="standby-replay") if row.mode == "run"]
        for row in reversed(self.rows):
            if (row.id, row.status) not in self._told:
                self._told.add((row.id, row.status))
                counts = row.counts or {}
                what = (
                    f": {counts.get('published', 0):,} events, verdict {row.verdict}" if row.status != "running" else ""
                )
                say(f"replay [bold]{row.status}[/]{what}  [link={row.run_url}]{row.run_url}[/]")

    @property
    def count(self) -> int:
        """Return how many there are."""
        return len(self.rows)

    def all_ended(self) -> bool:
        """Tell whether there is one, and none is under way."""
        return bool(self.rows) and all(row.status != "running" for row in self.rows)

    def total(self, name: str) -> int:
        """Add up a count of all of them."""
        return sum(int((row.counts or {}).get(name, 0)) for row in self.rows)

    @property
    def good(self) -> bool:
        """Tell whether each one that had something to do has proved it."""
        return self.total("published") > 0 and all(
            row.verdict == "proved" or not (row.counts or {}).get("read") for row in self.rows
        )


def _follow(producers: Producers, until: Callable[[Told], bool], replays: _Replays | None = None) -> Told:
    """Print the counts every two seconds until something is the case."""
    deadline = time.monotonic() + PATIENCE
    printed = 0.0
    while True:
        told = producers.told()
        if replays:
            replays.read()
        if until(told):
            return told
        if time.monotonic() > deadline:
            raise RedriveError(f"the demo waits for nothing: {told} after {PATIENCE} s; see {FOLDER}/worker.log")
        if told.running and time.monotonic() - printed >= 2:
            printed = time.monotonic()
            say(
                f"published {told.published:7,} of {FLIGHTS:,} · acknowledged by Kafka {told.main:,}, "
                f"by the standby store {told.standby:,} · dead letters {told.dead_letter:,}"
            )
        time.sleep(0.25)


def _show(result: dict[str, int | float | str], errors: list[str]) -> None:
    """Print the result as a table, and write it to its file."""
    good = result["verdict"] == "proved"
    title = "what the independent reader found" if good else "[red]something is wrong[/]"
    table = Table(show_header=False, title=title)
    for name, value in result.items():
        table.add_row(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
    console.print(table)
    for error in errors[:5]:
        console.print(f"[red]{error}[/]")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


def _leave(stack: Stack) -> None:
    """Leave everything running, if that is wanted."""
    if os.environ.get("KEEP"):
        stack.detach()
        console.print(f"Prefect UI: {stack.endpoints.prefect_ui}/v2/runs")
        console.print("The worker ends with this. Before you press Run there, start one again, until Ctrl-C:")
        ledger = f"sqlite:///{(FOLDER / 'ledger.db').absolute()}"
        console.print(f"  REDRIVE_LEDGER__URL={ledger} .venv/bin/redrive up --data {FOLDER}")
        console.print("Commands find all of it, in any terminal here, after the first of these lines:")
        console.print(f"  export PREFECT_API_URL={stack.endpoints.prefect_api} REDRIVE_LEDGER__URL={ledger}")
        console.print("  .venv/bin/redrive operations list; .venv/bin/redrive dlq groups; .venv/bin/redrive health")
        console.print("Stop everything with:")
        console.print(f"  .venv/bin/redrive local down --wipe --data {FOLDER}")
    else:
        console.print("Everything is stopped again. To look around in the Prefect UI: [bold]KEEP=1 make demo[/]")


if __name__ == "__main__":
    sys.exit(main())
