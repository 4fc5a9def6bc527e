"""What is logged of errors that a consumer gets over by itself; and those that it does not get over."""

from __future__ import annotations

import logging
import time

from confluent_kafka import KafkaError

log = logging.getLogger(__name__)

_EVERY = 10.0  # seconds

NO_TOPIC = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}
"""The topic does not exist."""

REFUSALS = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError._AUTHENTICATION,
    KafkaError.TOPIC_EXCEPTION,
}
"""To try again is of no use."""


class Complaints:
    """Logs at most once in ten seconds: a cluster that is down would fill the disk.

    Args:
        about: the cluster.
    """

    def __init__(self, about: str) -> None:
        self._about = about
        self._due = 0.0

    def log(self, what: str, error: KafkaError) -> None:
        """Say what an error means to the group."""
        if time.monotonic() > self._due:
            self._due = time.monotonic() + _EVERY
            log.warning("%s: %s: %s", self._about, what, error.str())
