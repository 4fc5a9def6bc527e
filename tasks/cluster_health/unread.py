"""A step of a look at clusters: have dead letters triaged that no triage has read, without waiting for its schedule."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from httpx import HTTPError
from prefect import get_run_logger

from redrive.config import Config
from redrive.deadletters.unread import unread_letters
from redrive.errors import UnknownOperationError
from redrive.health.facts import Books, Unknown
from redrive.health.judging import Health
from redrive.health.within import Asked
from redrive.ledger import Ledger
from tasks.dlq_triage.report import NOT_READ
from tasks.telling import about_cluster, send

UNREAD = "redrive.dead_letters.unread"
TRIAGE = "dlq-triage"
PATIENCE = 2.0
"""Seconds for one question to a cluster."""
LIMIT = 5.0
"""Seconds that all of it may take; whoever has not answered by then, the next look asks again."""


def tell_unread(config: Config, healths: Sequence[Health]) -> None:
    """Emit an event for each cluster with dead letters that no triage has read; each look does, until one has.

    How often a triage starts by it is up to what listens. A cluster is left out while a triage of it is at work. So are
    topics that its last one could not triage, such as one that waits for `redrive dlq accept`, and all of them if that
    one failed altogether: that is told already, and the schedule tries again.
    """
    deadline = time.monotonic() + LIMIT
    asked = {
        health.facts.cluster: Asked(partial(_count, config, health.facts.cluster, _failed(health)))
        for health in healths
        if _is_to_be_asked(health)
    }
    answers = {name: each.answer(deadline - time.monotonic()) for name, each in asked.items()}
    events = [
        about_cluster(UNREAD, name, {"cluster": name, "letters": sum(found.values()), "topics": found})
        for name, found in answers.items()
        if not isinstance(found, Unknown) and found
    ]
    try:
        if events:
            send(events)
    except HTTPError as error:
        get_run_logger().warning("that dead letters wait for a triage could not be told: %r", error)


def _is_to_be_asked(health: Health) -> bool:
    books = health.facts.books
    return health.verdict != "unavailable" and isinstance(books, Books) and not books.at_work(TRIAGE, health.facts.at)


def _failed(health: Health) -> str | None:
    """Give the id of the cluster's last triage if that has failed."""
    books = health.facts.books
    runs = books.runs if isinstance(books, Books) else ()
    return next((run.id for run in runs if run.job == TRIAGE and run.status == "failed"), None)


def _count(config: Config, cluster: str, failed: str | None) -> dict[str, int]:
    topics = {topic.name for topic in config.topics_of(cluster) if topic.dead_letters}
    if not topics:
        return {}
    with Ledger.open(config.ledger_url()) as ledger:
        if failed is not None:
            left = _not_read(ledger, failed)
            topics = set() if left is None else {topic for topic in topics if f"{cluster}/{topic}" not in left}
        if not topics:
            return {}
        return unread_letters(config.cluster(cluster).client_config(), cluster, topics, ledger.letters, PATIENCE)


def _not_read(ledger: Ledger, triage: str) -> list[str] | None:
    """Give the topics that a triage could not triage; None: it did not come so far that it says which."""
    try:
        evidence = ledger.operation(triage).evidence
    except UnknownOperationError:
        return None
    return None if evidence is None else evidence.get(NOT_READ)
