"""Steps of triage: read what came to dead-letter topics, and look at what the ledger has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from redrive.config import Config
from redrive.config.settings import Topic
from redrive.deadletters.correction import without_copy
from redrive.deadletters.fate import OPEN
from redrive.deadletters.letter_id import kafka_topic
from redrive.deadletters.retention import Keeps, Loss, losses
from redrive.deadletters.selection import Selection
from redrive.deadletters.triage import Triaged, triage, unread
from redrive.errors import ConfigError, RedriveError, StaleTriageError, UnavailableError, UnknownTopicError
from redrive.ledger.letter_queries import Group
from redrive.ledger.letters import Letters
from redrive.pump.limits import limits_of
from redrive.pump.readback import ClientConfig, start_offsets
from tasks.operations import Run
from tasks.retrying import BRIEFLY, if_unavailable
from tasks.step_progress import StepProgress
from tasks.words import count, number

HORIZONS = (timedelta(hours=1), timedelta(days=1), timedelta(days=7))
"""The report says how many letters retention may take within each of these."""

TREND_DAYS = 14


@dataclass(frozen=True, slots=True)
class Overview:
    """What the ledger has of open letters, and what will become of them.

    Attributes:
        groups: by reason, producer and main topic; the largest first.
        trend: day → letters of that day, of whatever fate; days without any are left out. If there is one day, hours.
        by: what of these two it is.
        losses: by partition, what retention takes of open letters, and of doubtful ones.
        at: when this was looked up.
        waiting: fate → letters that are not open, and wait for a person.
    """

    groups: Sequence[Group]
    trend: Sequence[tuple[datetime, int]]
    losses: Sequence[Loss]
    at: datetime
    waiting: Mapping[str, int] = field(default_factory=dict)
    by: Literal["day", "hour"] = "day"

    @property
    def open(self) -> int:
        """How many letters are open."""
        return sum(group.letters for group in self.groups)

    @property
    def lost(self) -> int:
        """How many letters are gone from their topics of those that are open or doubtful."""
        return sum(loss.lost for loss in self.losses)


@dataclass(frozen=True, slots=True)
class Failure:
    """A topic that could not be triaged, and why."""

    cluster: str
    topic: str
    reason: str


def dead_letter_topics(config: Config, topics: Sequence[str], cluster: str | None) -> list[Topic]:
    """Give the dead-letter topics that are asked for; none named: all.

    Raises:
        ConfigError: one is not in the settings, or holds no dead letters by them.
    """
    if cluster is not None:
        config.cluster(cluster)
    for name in topics:
        if not config.topic(name).dead_letters:
            reason = "holds no dead letters, by the settings; if it does, say so: dead_letters = true"
            raise ConfigError(f"topics.{name}", reason)
    every = [config.topic(name) for name in sorted(topics or config.topics)]
    return [
        replace(topic, cluster=each)
        for topic in every
        for each in topic.clusters
        if topic.dead_letters and cluster in (None, each)
    ]


def _may_retry(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    another = isinstance(state.result(raise_on_failure=False), StaleTriageError)
    return another or if_unavailable(task, run, state)


class Reading:
    """What the tasks of one run share. Not one of the types that Prefect looks into when it is handed to a task."""

    def __init__(self, config: Config, run: Run, *, record: bool) -> None:
        self.config, self.run, self.record = config, run, record

    @property
    def letters(self) -> Letters:
        """The ledger's dead letters."""
        return self.run.ledger.letters

    def client(self, cluster: str) -> ClientConfig:
        """Give what a client of a cluster needs."""
        return self.config.cluster(cluster).client_config()


@task(
    name="triage topic",
    task_run_name="triage {topic}",
    description="Enters in the ledger what came to a dead-letter topic since the last triage; a retry goes on there.",
    retries=5,
    retry_delay_seconds=[1, 3, 5, 10],
    retry_condition_fn=_may_retry,
    cache_policy=NO_CACHE,
)
def triage_topic(topic: str, cluster: str, reading: Reading) -> Triaged:
    """Triage one topic; or only count what is new, if nothing is to be recorded.

    Raises:
        RedriveError: see `redrive.deadletters.triage.triage`.
    """
    client, log = reading.client(cluster), get_run_logger()
    if not reading.record:
        return unread(client, cluster, topic, reading.letters)
    with StepProgress(reading.run, f"triaging {topic}", "letter") as progress:
        done = triage(client, cluster, topic, reading.letters, reading.run.operation, on_progress=progress)
    log.info("%s: %s read, %s new", topic, count(done.read, "letter"), number(done.new))
    return done


def triage_topics(reading: Reading, topics: Iterable[Topic]) -> tuple[list[Triaged], list[Failure]]:
    """Triage topics one after the other; one that fails stops no other."""
    done: list[Triaged] = []
    failed: list[Failure] = []
    for topic in topics:
        end = triage_topic(topic.name, topic.cluster, reading, return_state=True).result(raise_on_failure=False)
        if isinstance(end, Triaged):
            done.append(end)
        elif isinstance(end, RedriveError):
            failed.append(Failure(topic.cluster, topic.name, str(end)))
        else:
            raise end
    return done, failed


@task(
    name="look at the letters",
    description="Asks the ledger what is open, and each dead-letter topic how long it keeps what it has.",
    **BRIEFLY,
)
def look(reading: Reading, topics: Sequence[Topic]) -> Overview:
    """Look at the open letters of these topics.

    Raises:
        UnavailableError: the ledger does not answer. (A cluster that does not is left out of what will be lost.)
    """
    now = datetime.now(UTC)
    of_topics = Selection(dead_letter_topics=[topic.name for topic in topics])
    since = (now - timedelta(days=TREND_DAYS)).replace(hour=0, minute=0, second=0, microsecond=0)
    every = Selection(dead_letter_topics=of_topics.dead_letter_topics, fates=[], since=since)
    by: Literal["day", "hour"] = "day"
    trend = reading.letters.trend(every, by)
    if len(trend) == 1:
        by = "hour"
        trend = reading.letters.trend(every, by)
    keeps = _keeps(reading, topics)
    known = {partition[:2] for partition in keeps}
    # Letters that are or were parked are read from whole copies in the parking topic, which are kept for ever.
    at_risk = of_topics.model_copy(update={"fates": [*OPEN, "doubtful"]})
    without = without_copy(reading.letters.places(at_risk), reading.letters)
    letters = (place._replace(topic=kafka_topic(place.topic)) for place in without)
    places = (place for place in letters if (place.cluster, place.topic) in known)
    return Overview(
        reading.letters.groups(of_topics),
        trend,
        losses(places, keeps, now, HORIZONS),
        now,
        reading.letters.waiting(of_topics),
        by,
    )


def _keeps(reading: Reading, topics: Sequence[Topic]) -> Mapping[tuple[str, str, int], Keeps]:
    keeps: dict[tuple[str, str, int], Keeps] = {}
    for topic in topics:
        client = reading.client(topic.cluster)
        try:
            retention, starts = limits_of(client, topic.name).retention_ms, start_offsets(client, topic.name)
        except (UnavailableError, UnknownTopicError) as error:
            get_run_logger().warning("%s: how long it keeps its letters could not be looked up: %s", topic.name, error)
            continue
        keeps |= {(topic.cluster, topic.name, number): Keeps(start, retention) for number, start in enumerate(starts)}
    return keeps
