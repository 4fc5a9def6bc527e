"""Which topics a producer may write: asked before anything is sent, and again when Kafka says that it may not.

A topic that it may not write is no outage. Found out by sending, it would look like one: the client fails for good,
all that is under way with it goes to the standby store, its lanes are diverted, also for other producers, and after
the replay the next event begins it all anew.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient

from redrive.dispatch.mainpath import SILENT

log = logging.getLogger(__name__)

PATIENCE = 2.0
"""Seconds that a cluster has for its answer. Without one, topics pass for writable."""
AGAIN = 30.0
"""Seconds after which it is asked again: about what it forbids, and if it did not answer."""


class WriteRights:
    """What this principal may write on one cluster, as far as is known. Thread-safe.

    Args:
        client_config: the cluster's client settings.
        look: starts a call elsewhere.
    """

    def __init__(self, client_config: Mapping[str, Any], look: Callable[[Callable[[], None]], object]) -> None:
        self._client_config = dict(client_config)
        self._look = look
        self._lock = threading.Lock()
        self._topics: set[str] = set()
        self._forbidden: dict[str, str] = {}
        self._unanswered: set[str] = set()
        self._due = 0.0

    def why_not(self, topic: str) -> str:
        """Say why events of a topic are not to be sent; empty if they are, which costs nothing."""
        if not self._forbidden and not self._unanswered:
            return ""
        why = self._forbidden.get(topic, "")
        if (why or self._unanswered) and time.monotonic() > self._due:
            self.ask_again()
        return why

    def learn(self, topics: Iterable[str]) -> None:
        """Ask about topics; returns when the cluster has answered, or hasn't in time."""
        with self._lock:
            new = set(topics) - self._topics
            self._topics |= new
        if new:
            self._ask(new)

    def ask_again(self) -> None:
        """Have the cluster asked anew, elsewhere."""
        self._due = time.monotonic() + AGAIN
        self._look(lambda: self._ask(set(self._topics)))

    def _ask(self, topics: set[str]) -> None:
        self._due = time.monotonic() + AGAIN
        answers = forbidden(self._client_config, topics)
        with self._lock:
            if answers is None:
                self._unanswered |= topics
                return
            self._unanswered -= topics
            news = {topic: why for topic, why in answers.items() if topic not in self._forbidden}
            back = [topic for topic in self._forbidden if topic in topics and topic not in answers]
            kept = {topic: why for topic, why in self._forbidden.items() if topic not in topics}
            self._forbidden = kept | answers
        for why in news.values():
            log.error("its events become dead letters: %s", why)
        for topic in back:
            log.warning("topic %s may be written again", topic)


def forbidden(client_config: Mapping[str, Any], topics: Iterable[str]) -> dict[str, str] | None:
    """Ask a cluster which of these topics this principal may not write, and why; None if it does not answer.

    Topics that it does not know are not among them, nor is anything of a cluster that does not tell such things.
    """
    admin = AdminClient(dict(client_config), logger=SILENT)
    asked = TopicCollection(sorted(topics))
    found: dict[str, str] = {}
    for topic, future in admin.describe_topics(
        asked, include_authorized_operations=True, request_timeout=PATIENCE
    ).items():  # fmt: skip
        missing = "Write"
        try:
            allowed = future.result().authorized_operations
            if not allowed or AclOperation.WRITE in allowed:
                continue
        except KafkaException as error:
            code = error.args[0].code()
            if code in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
                continue
            if code != KafkaError.TOPIC_AUTHORIZATION_FAILED:
                return None
            missing = "Write and Describe"
        found[topic] = (
            f"this principal lacks {missing} on topic {topic}: Topic authorization failed; give it what a producer "
            "needs: `redrive security acls producer`"
        )
    return found
