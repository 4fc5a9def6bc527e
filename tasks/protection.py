"""Protecting consumers while a run works: hold while a group is too far behind, but not for ever in the dark."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

from prefect import get_run_logger
from pydantic import BaseModel, Field

from redrive.clusters import ClusterTopic
from redrive.config import Config
from redrive.errors import ConfigError, UnavailableError
from redrive.pump.governor import Governor
from redrive.pump.lag import ConsumerLag, LeftTopic


class Protect(BaseModel):
    """Hold the work while a consumer group is too far behind on the run's topics."""

    group: Annotated[
        str,
        Field(
            title="Consumer group",
            min_length=1,
            description="The group to watch. It must have committed for one of the topics.",
        ),
    ]
    max_lag: Annotated[
        int,
        Field(
            title="Largest lag (events)",
            ge=0,
            description="Over all partitions of the topics: while more wait for the group, nothing is published.",
        ),
    ] = 100_000


class PatientLag:
    """A group's lag; stops the run if the cluster does not say how large it is for too long."""

    def __init__(self, lag: ConsumerLag, patience: float, give_up: Callable[[str], None]) -> None:
        self._lag, self._patience, self._give_up = lag, patience, give_up
        self._blind_since: float | None = None

    def check(self) -> str | None:
        """Return the reason to hold, if any; see `redrive.pump.governor.Protection`."""
        try:
            reason = self._lag.check()
        except UnavailableError as error:
            now = time.monotonic()
            self._blind_since = self._blind_since or now
            if now - self._blind_since > self._patience:
                self._give_up(str(error))
            raise
        self._blind_since = None
        return reason


def _lags(
    config: Config,
    protect: Protect,
    topics: Sequence[ClusterTopic],
    left: Mapping[ClusterTopic, LeftTopic] | None = None,
) -> list[ConsumerLag]:
    """Make what asks how far the group is behind, on each cluster of the topics."""
    return [
        ConsumerLag(
            config.cluster(cluster).client_config(),
            protect.group,
            [topic for at, topic in topics if at == cluster],
            protect.max_lag,
            {topic: goes_to for (at, topic), goes_to in (left or {}).items() if at == cluster},
        )
        for cluster in sorted({cluster for cluster, _ in topics})
    ]


def see_that_group_is_known(config: Config, protect: Protect | None, topics: Sequence[ClusterTopic]) -> None:
    """Refuse to protect a group that has never read any of the topics: a mistyped name would protect nothing.

    Raises:
        ConfigError: with the way out. (A cluster that does not answer is no reason to refuse.)
    """
    if protect is None or not topics:
        return
    try:
        if any(lag.knows() for lag in _lags(config, protect, topics)):
            return
    except UnavailableError as error:
        get_run_logger().warning("whether consumer group %s is there is not known: %s", protect.group, error)
        return
    names = ", ".join(sorted({topic for _, topic in topics}))
    raise ConfigError(
        "protect.group",
        f"{protect.group} has committed nothing for {names}, so there is nothing to protect it from: correct its name, "
        "or leave it out",
    )


def governor_for(
    config: Config,
    rate: float | None,
    protect: Protect | None,
    topics: Sequence[ClusterTopic],
    *,
    patience: float,
    left: Mapping[ClusterTopic, LeftTopic] | None = None,
) -> Governor:
    """Make what decides a run's pace, and watches the group on each cluster that is published to.

    Args:
        config: the platform.
        rate: at most so many a second; None: full speed.
        protect: the group; None: there is none to watch.
        topics: the topics to count.
        patience: seconds that a cluster may not say how far behind the group is; then the run is stopped.
        left: of the topics, those that events no longer go to → where they go.
    """

    def give_up(reason: str) -> None:
        governor.stop(reason)

    lags = [] if protect is None else _lags(config, protect, topics, left)
    governor = Governor(rate, [PatientLag(lag, patience, give_up) for lag in lags])
    return governor
