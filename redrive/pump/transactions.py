"""librdkafka's transactional producer, with its errors sorted by what is to be done about them.

==================== ====================================================================
librdkafka says      what happens here
==================== ====================================================================
retriable            the same call again, until the deadline or a request to stop; a late commit has not failed
requires abort       `AbortError`: the caller aborts, and may try the chunk again
fenced               `StaleError`: the client is closed; somebody else, or a time-out, ended its time
forbidden            ConfigError
anything else        UnavailableError: the client is closed; a new one may do better
==================== ====================================================================
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from redrive.errors import ConfigError, UnavailableError

_SLICE = 1.0  # blocking calls return this often, so that signals are heard
_CLOSE_PATIENCE = 5.0

_FENCED = {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}
_FORBIDDEN = {
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}

_log = logging.getLogger("redrive.kafka")


class AbortError(Exception):
    """The transaction has to be aborted; then the chunk may be tried again."""


class StaleError(Exception):
    """This client's time is over: its transactional id was used by a newer one, or a transaction of it timed out."""


class Transactions:
    """One client with a transactional id; from `open` to `close`.

    Args:
        cluster: its name, for errors.
        unit: likewise.
        check: called about once a second while brokers are waited for; what it raises ends the wait, and the client.
    """

    def __init__(self, cluster: str, unit: str, check: Callable[[], None]) -> None:
        self._cluster, self._unit, self._check = cluster, unit, check
        self._producer: Producer | None = None
        self._in_transaction = False
        self._heard = ""

    @property
    def is_open(self) -> bool:
        """Whether there is a client."""
        return self._producer is not None

    @property
    def producer(self) -> Producer:
        """The client.

        Raises:
            UnavailableError: it is closed.
        """
        if self._producer is None:
            raise self.unavailable("its sink is closed; start it first")
        return self._producer

    def open(self, config: Mapping[str, Any], deadline: float) -> None:
        """Connect; older clients with the same transactional id are fenced, and what they left open is aborted."""
        try:
            self._producer = Producer({**config, "error_cb": self._on_error}, logger=_log)
        except KafkaException as exception:
            raise ConfigError("client_config", exception.args[0].str()) from exception
        self._call(self._producer.init_transactions, _SLICE, deadline=deadline)

    def begin(self, deadline: float) -> None:
        """Begin a transaction."""
        self._call(self.producer.begin_transaction, deadline=deadline)
        self._in_transaction = True

    def commit(self, deadline: float) -> None:
        """Flush and commit; fails if a single record was not acknowledged."""
        self._call(self.producer.commit_transaction, _SLICE, deadline=deadline)
        self._in_transaction = False

    def abort(self, deadline: float) -> None:
        """Abort, so that the client can begin again."""
        self._call(self.producer.abort_transaction, _SLICE, deadline=deadline)
        self._in_transaction = False

    def close(self) -> None:
        """Give up the client; an open transaction is aborted, within a few seconds."""
        producer, self._producer = self._producer, None
        if producer is not None and self._in_transaction:
            try:
                producer.abort_transaction(_CLOSE_PATIENCE)
            except KafkaException as exception:
                _log.info("%s: the open transaction is left to time out: %s", self._unit, exception.args[0].str())
        self._in_transaction = False

    def unavailable(self, reason: str) -> UnavailableError:
        """Make an error that names the unit and what the client last complained of."""
        heard = f" (client: {self._heard})" if self._heard else ""
        return UnavailableError(self._cluster, f"{self._unit}: {reason}{heard}")

    def _call(self, call: Callable[..., object], *args: object, deadline: float) -> None:
        while True:
            try:
                call(*args)
                return
            except KafkaException as exception:
                error = exception.args[0]
                if error.txn_requires_abort():
                    raise AbortError(error.str()) from None
                if error.retriable() and time.monotonic() < deadline:
                    self._check_or_close()
                    time.sleep(0.02)
                    continue
                self.close()
                if error.code() in _FENCED:
                    raise StaleError(error.str()) from None
                if error.code() in _FORBIDDEN:
                    reason = f"this principal may not publish as {self._unit}: {error.str()}"
                    raise ConfigError("client_config", reason) from None
                raise self.unavailable(error.str()) from None

    def _check_or_close(self) -> None:
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def _on_error(self, error: KafkaError) -> None:
        self._heard = error.str()
