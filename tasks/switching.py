"""The step of a backfill that takes producers from one topic to the other, while the copy goes on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from prefect import get_run_logger, task

from redrive.aliases.alias import Alias, read_alias
from redrive.aliases.switching import Switched, alias_back, alias_forth, switch
from redrive.errors import ConfigError
from redrive.migrations.ends import Ends
from redrive.pump.governor import Governor
from tasks.backfill import Backfilling, Copying, copy_partitions, make_ready
from tasks.board import Board
from tasks.retrying import BRIEFLY
from tasks.words import count


@task(task_run_name="look what the topic's name stands for", **BRIEFLY)
def look_at_alias(work: Backfilling) -> Alias:
    """Say what the name that producers publish by is to stand for.

    Raises:
        ConfigError: it stands for a third topic, or is to be taken back and was never switched.
        UnavailableError: Kafka does not answer.
    """
    return _alias(work)


@task(task_run_name="look whether producers have been switched", **BRIEFLY)
def is_switched(work: Backfilling) -> bool:
    """Say whether what is published by the name of the topic that events go back to goes to where they come from.

    Raises:
        UnavailableError: Kafka does not answer.
    """
    alias = read_alias(work.client, work.target)
    return alias is not None and alias.current == work.source


def _alias(work: Backfilling) -> Alias:
    if work.direction == "up":
        return alias_forth(work.config, work.migration)
    back = alias_back(work.config, work.target, work.source)
    if back is None:
        raise ConfigError("goal", f"producers of {work.target} were never switched to {work.source}")
    return back


def switch_producers(
    work: Backfilling,
    rules: str | None,
    *,
    rate: float | None,
    patience: float,
    most_parked: int,
    on_cancel: Callable[[], None],
) -> Switched:
    """Take producers over, and follow the topic that they leave until all are.

    Args:
        work: what the steps share.
        rules: the file of rules, relative to the settings' folder.
        rate: copy at most so many events a second, over all partitions. All of those are followed at once: one that is
            not would keep producers waiting.
        patience: seconds to wait for what does not answer.
        most_parked: so many events may be parked meanwhile.
        on_cancel: called when all has stopped after a cancel.

    Raises:
        RedriveError: see `redrive.aliases.switching.switch`, and why the copy stopped.
    """
    make_ready(work, rules)
    alias, governor = _alias(work), Governor(rate)
    board = Board({standing.unit: standing.left for standing in work.standings})
    ends = Ends(work.client, work.source, len(work.standings), follow=float("inf"))
    copying = Copying(work, ends, governor, board, patience=patience, most_parked=most_parked)
    with ThreadPoolExecutor(1, "switch") as pool:
        switching = pool.submit(
            switch, work.config, alias, operation=work.run.id, patience=patience, check=governor.check
        )
        switching.add_done_callback(lambda _: ends.stop())
        copied = copy_partitions(copying, parallel=len(work.standings), on_cancel=on_cancel)
        if stuck := [end for end in copied if end.how != "done"]:
            governor.stop(f"{stuck[0].unit}: {stuck[0].reason}")
        done = switching.result()
    get_run_logger().info(
        "producers of %s publish to %s; %s meanwhile", alias.name, alias.current, count(done.stored, "event")
    )
    work.run.note("producers switched", {"name": alias.name, "to": alias.current, "generation": alias.generation})
    return done
