"""Steps that look and change nothing: what waits in the standby store, and whether it can be read."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import get_run_logger, task

from redrive.clusters import ClusterTopic
from redrive.config import Config
from redrive.errors import ConfigError, UnavailableError, UnknownTopicError
from redrive.pump.limits import limits_of
from redrive.standby.drain import open_store
from redrive.standby.schema_ids import SchemaIds, sample_schema_ids
from redrive.standby.survey import LaneBacklog
from redrive.standby.survey import survey as survey_cluster
from tasks.retrying import BRIEFLY


@task(
    name="survey",
    description="Counts what waits in each lane of the standby store, without reading an event.",
    **BRIEFLY,
)
def survey(config: Config, clusters: Sequence[str], topics: Sequence[str]) -> list[LaneBacklog]:
    """Count what waits in each lane of these clusters.

    Args:
        config: the platform.
        clusters: their names.
        topics: only these; none: all that have lanes.

    Raises:
        ConfigError: a topic is not in the settings.
        UnavailableError: the store does not answer.
    """
    for topic in topics:
        lives_on = config.topic(topic).clusters
        if not set(lives_on) & set(clusters):
            reason = f"lives on cluster {' and '.join(lives_on)}, not on {', '.join(clusters)}"
            raise ConfigError(f"topics.{topic}", reason)
    store = open_store(config)
    return [lane for cluster in clusters for lane in survey_cluster(store, cluster, topics or None)]


@task(
    name="look at retention",
    description="Asks clusters how long they keep the events of topics: what waits may be older.",
    **BRIEFLY,
)
def look_at_retention(config: Config, topics: Sequence[ClusterTopic]) -> dict[ClusterTopic, int]:
    """Say how long topics keep their events by their times, in milliseconds; what is not known is left out."""
    found: dict[ClusterTopic, int] = {}
    away: set[str] = set()
    for cluster, topic in topics:
        if cluster in away:
            continue
        try:
            kept = limits_of(config.cluster(cluster).client_config(), topic).retention_ms
        except UnknownTopicError:  # its lanes say so
            continue
        except UnavailableError as error:
            get_run_logger().warning("how long topics of %s keep events is not known: %s", cluster, error)
            away.add(cluster)
            continue
        if kept >= 0:
            found[cluster, topic] = kept
    return found


@task(
    name="check schemas",
    description="Looks at the schema ids of the first events of each stream, and asks the registry for them.",
    **BRIEFLY,
)
def check_schemas(config: Config, backlog: Sequence[LaneBacklog]) -> SchemaIds:
    """Find out whether the schemas of a backlog are still known to the registry.

    Raises:
        UnavailableError: the store does not answer. (A registry that does not answer is reported, not raised.)
    """
    return sample_schema_ids(config, open_store(config), backlog)
