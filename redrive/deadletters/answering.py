"""Which clusters do not answer while others do: their letters are left for later, and hold up no others."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka import KafkaException

from redrive.config import Config
from redrive.pump.readback import admin_client

ANSWER = 10.0
"""Seconds that a cluster may take to answer, each time."""
AGAIN = 3.0
"""Seconds after which one that has not answered is asked once more: a controller that changes is no outage."""


def away(config: Config, clusters: Collection[str]) -> set[str]:
    """Say which clusters do not answer, though asked twice, while others do.

    All are asked at once. If none answers, none is away: then there is nothing to do but to wait. One that the settings
    do not have is not asked: nothing is to be done there.
    """
    silent = _silent(config, [name for name in clusters if name in config.clusters])
    if silent:
        time.sleep(AGAIN)
        silent = _silent(config, silent)
    return set(silent) if len(silent) < len(clusters) else set()


def answers(config: Config, cluster: str) -> bool:
    """Ask a cluster something that each broker can answer."""
    try:
        admin_client(config.cluster(cluster).client_config()).list_topics(timeout=ANSWER)
    except KafkaException:
        return False
    return True


def _silent(config: Config, clusters: Iterable[str]) -> list[str]:
    names = sorted(clusters)
    with ThreadPoolExecutor(max(1, len(names))) as pool:
        asked = [(name, pool.submit(answers, config, name)) for name in names]
        return [name for name, answer in asked if not answer.result()]
