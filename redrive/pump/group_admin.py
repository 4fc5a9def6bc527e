"""`GroupAdmin`: asks a cluster about its consumer groups, and outlives that the cluster does not answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from redrive.pump.readback import ClientConfig, admin_client


class GroupAdmin:
    """An administrator that is let go of as soon as a question about a group has failed.

    confluent-kafka 2.16's ends the whole process (SIGABRT) if a question was given up for want of a group's
    coordinator, and that comes back later (confluentinc/librdkafka#4605): in the midst of an outage's end. So nobody is
    to hold the client itself, not even in a variable, which an error's traceback would keep.

    Args:
        client_config: the cluster.
    """

    def __init__(self, client_config: ClientConfig) -> None:
        self._client_config = client_config
        self._client: AdminClient | None = None

    @property
    def client(self) -> AdminClient:
        """The administrator of now: to be used as it is given, within `asking`."""
        if self._client is None:
            self._client = admin_client(self._client_config)
        return self._client

    def names(self, timeout: float) -> list[str]:
        """Give all groups of the cluster, sorted. To be called within `asking`.

        Args:
            timeout: seconds.

        Raises:
            KafkaException: it does not answer, or one of its brokers doesn't: that one's groups would be missing.
        """
        listed = self.client.list_consumer_groups(request_timeout=timeout).result()
        if listed.errors:
            raise KafkaException(listed.errors[0])
        return sorted(group.group_id for group in listed.valid)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Let go of the client if what is asked within fails.

        It stays until then whatever fails elsewhere: an answer that is waited for never comes once its client is gone.
        """
        held = self.client
        try:
            yield
        except KafkaException:
            if self._client is held:
                self._client = None
            raise
