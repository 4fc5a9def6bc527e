"""What the ledger knows, for Prometheus: how clusters are, what waits, and how each job's last run has ended.

Runs come and go, each in a process of its own, so they are not scraped. What they found and did stands in the ledger,
also of those that were killed; it is read at each scrape. Nothing is asked of Kafka.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import get_args

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from redrive.config import Config
from redrive.errors import ConfigError, UnavailableError
from redrive.health.judging import Condition
from redrive.health.waiting import tallies
from redrive.ledger import Ledger, Look
from redrive.ledger.models import Status
from redrive.ledger.runs import LastRun
from redrive.verdict import Verdict

log = logging.getLogger(__name__)


@contextmanager
def served(config: Config) -> Iterator[str]:
    """Tell metrics by HTTP as long as the block runs, where ``[jobs]`` says; give the URL.

    Raises:
        ConfigError: the settings say nowhere.
        UnavailableError: the port is taken, or not to be had.
    """
    host, port = config.jobs.admin_host, config.jobs.admin_port
    if not port:
        raise ConfigError("jobs.admin_port", "is 0, so metrics are told nowhere; give it a port such as 9465")
    registry = CollectorRegistry()
    registry.register(LedgerCollector(config))
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        reason = f"can't tell metrics on {host}:{port} (jobs.admin_host, admin_port): {error.strerror}"
        raise UnavailableError("metrics", reason) from error
    try:
        yield f"http://{host}:{port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class LedgerCollector(Collector):
    """Reads the ledger at each scrape. If that can't be read, ``redrive_ledger_up`` is 0, and the rest is left out."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def describe(self) -> Iterable[Metric]:
        """Nothing: else registering would read the ledger."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Give the metrics."""
        try:
            with Ledger.as_it_is(self._config.ledger_url()) as ledger:
                found = list(self._read(ledger))
        except (UnavailableError, ConfigError) as error:
            log.warning("metrics can't be told: %s", error)
            found = []
        yield GaugeMetricFamily("redrive_ledger_up", "Whether the ledger could be read: 1 or 0.", float(bool(found)))
        yield from found

    def _read(self, ledger: Ledger) -> Iterator[Metric]:
        looks = [look for name in ledger.looks.clusters() if (look := ledger.looks.last(name))]
        yield from _of_looks(looks)
        clusters = sorted({*self._config.clusters, *(look.cluster for look in looks)})
        letters = _gauge("dead_letters", "Dead letters by what became of them last.", "cluster", "reason", "fate")
        for cluster, reason, fate, number in ledger.letters.numbers():
            letters.add_metric([cluster, reason, fate], number)
        debts = _gauge("debts", "Settings that a job has changed and not yet restored.", "cluster")
        owed = Counter(debt.cluster for debt in ledger.debts.owed())
        for cluster in clusters:
            debts.add_metric([cluster], owed[cluster])
        holds = _gauge("holds", "Clusters and topics that jobs keep others from touching.", "cluster", "job_name")
        for cluster in clusters:
            for job, number in Counter(hold.job for hold in ledger.held_on(cluster)).items():
                holds.add_metric([cluster, job], number)
        yield from (letters, debts, holds)
        yield from _of_runs(ledger.latest_runs())


def _of_looks(looks: Iterable[Look]) -> Iterator[Metric]:
    health = _gauge("cluster_health", "1 for the verdict of the last look, 0 for the others.", "cluster", "verdict")
    looked = _time("cluster_look", "When the cluster was looked at last", "cluster")
    since = _time("cluster_health_since", "When the verdict of the last look was first given", "cluster")
    lag = _gauge("consumer_group_lag_events", "Events that wait for a consumer group.", "cluster", "group")
    events = _gauge("standby_events", "Events that wait in the standby store, as far as counted.", "cluster")
    size = _gauge("standby_bytes", "Packed size of these.", "cluster")
    oldest = _time("standby_oldest", "When the oldest of these was accepted", "cluster")
    for look in looks:
        _one_of(health, [look.cluster], get_args(Condition), look.verdict)
        looked.add_metric([look.cluster], look.at.timestamp())
        since.add_metric([look.cluster], look.since.timestamp())
        for group, number in look.lags.items():
            lag.add_metric([look.cluster, group], number)
        waiting = tallies(look.counted, look.counted.get("table", "")).values()
        events.add_metric([look.cluster], sum(tally.events for tally in waiting))
        size.add_metric([look.cluster], sum(tally.bytes for tally in waiting))
        if accepted := [tally.oldest for tally in waiting if tally.oldest is not None]:
            oldest.add_metric([look.cluster], min(accepted) / 1000)
    yield from (health, looked, since, lag, events, size, oldest)


def _of_runs(runs: Iterable[LastRun]) -> Iterator[Metric]:
    # ``job_name``: Prometheus has a label ``job`` of its own, for what it scrapes.
    status = _gauge("job_last_run_status", "1 for the status of the last run.", "job_name", "cluster", "status")
    verdict = _gauge("job_last_run_verdict", "1 for its verdict; none: all 0.", "job_name", "cluster", "verdict")
    began = _time("job_last_run_start", "When it began", "job_name", "cluster")
    ended = _time("job_last_run_end", "When it ended; left out while it is under way", "job_name", "cluster")
    alive = _time("job_last_run_heartbeat", "When it was last known to be alive", "job_name", "cluster")
    for run in runs:
        place = [run.job, run.cluster]
        _one_of(status, place, get_args(Status), run.status)
        _one_of(verdict, place, get_args(Verdict), run.verdict)
        began.add_metric(place, run.started_at.timestamp())
        alive.add_metric(place, run.heartbeat_at.timestamp())
        if run.ended_at is not None:
            ended.add_metric(place, run.ended_at.timestamp())
    yield from (status, verdict, began, ended, alive)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"redrive_{name}", text, labels=labels)


def _time(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return _gauge(f"{name}_timestamp_seconds", f"{text}; seconds since 1970.", *labels)


def _one_of(metric: GaugeMetricFamily, labels: list[str], words: Iterable[str], is_now: str | None) -> None:
    for word in words:
        metric.add_metric([*labels, word], float(word == is_now))
