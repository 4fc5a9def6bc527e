"""The connection to a cluster's administration, for what confluent-kafka can't ask or order.

It has no calls for reassignments and log directories. kafka-python has, and is used for nothing else.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from kafka.admin import KafkaAdminClient
from kafka.errors import BrokerResponseError, KafkaError, NotControllerError, RequestTimedOutError
from kafka.net.sasl.oauth import AbstractTokenProvider

from redrive.config import Cluster
from redrive.errors import RedriveError, RefusedByClusterError, UnavailableError

REQUEST_TIMEOUT = 10.0  # seconds
PATIENCE = 20.0
"""Seconds for which a question is asked again if there is no answer."""
BROKER_PATIENCE = 1.0
"""The same for what only one broker can answer: it may be down, and the others are to be asked."""

# Without a handler, Python writes each failed connection to standard error.
logging.getLogger("kafka").addHandler(logging.NullHandler())
# At level DEBUG it writes its configuration, and so the password.
logging.getLogger("kafka.admin.client").setLevel(logging.INFO)

_NAMES = {
    "bootstrap.servers": "bootstrap_servers",
    "security.protocol": "security_protocol",
    "sasl.mechanism": "sasl_mechanism",
    "sasl.username": "sasl_plain_username",
    "sasl.password": "sasl_plain_password",
    "ssl.ca.location": "ssl_cafile",
    "ssl.certificate.location": "ssl_certfile",
    "ssl.key.location": "ssl_keyfile",
    "ssl.key.password": "ssl_password",
    "oauth_cb": "sasl_oauth_token_provider",
}

Answer = TypeVar("Answer")


def client_config(cluster: Cluster) -> dict[str, Any]:
    """Give what a client of kafka-python needs to connect. It holds secrets: don't print it.

    Raises:
        ConfigError: a secret is not where the settings say.
    """
    given = {_NAMES[name]: value for name, value in cluster.client_config().items()}
    if sign := given.get("sasl_oauth_token_provider"):
        given["sasl_oauth_token_provider"] = _Tokens(sign)
    given["bootstrap_servers"] = [server.strip() for server in given["bootstrap_servers"].split(",")]
    return given


class _Tokens(AbstractTokenProvider):  # type: ignore[misc]
    """Tokens as kafka-python asks for them: one for each connection."""

    def __init__(self, sign: Callable[[str], tuple[str, float]]) -> None:
        self._sign = sign

    def token(self) -> str:
        return self._sign("")[0]


class Connection:
    """Connects when it is asked something, and anew after an error: a client sticks to the controller it has found.

    May be used by several threads.

    Args:
        cluster: the cluster.
        patience: seconds for which a question is asked again, if it does not say itself.
    """

    def __init__(self, cluster: Cluster, patience: float = PATIENCE) -> None:
        self.named = f"cluster {cluster.name} ({cluster.config.bootstrap})"
        self._config = client_config(cluster)
        self._patience = patience
        # So that a broker which hangs leaves time to ask another one.
        self._timeout = min(REQUEST_TIMEOUT, patience / 2)
        self._client: Any = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connection; the next question opens it again."""
        self._drop(self._client)

    def ask(self, doing: str, question: Callable[[Any], Answer], patience: float | None = None) -> Answer:
        """Ask, or order something that may be ordered twice.

        Raises:
            UnavailableError: no answer came, for ``patience`` seconds.
            RefusedByClusterError: the answer is no.
        """
        deadline = time.monotonic() + (self._patience if patience is None else min(patience, self._patience))
        while True:
            client = None
            try:
                client = self._connected()
                return question(client)
            except RedriveError:
                raise
            except (KafkaError, RuntimeError, OSError) as error:  # a RuntimeError: it finds no controller
                if is_refusal(error):
                    raise RefusedByClusterError(self.named, doing, told(error)) from error
                self._drop(client)
                if time.monotonic() > deadline:
                    raise UnavailableError(self.named, f"{doing}: {told(error)}") from error
                time.sleep(0.2)

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = _connect(
                    self._config
                    | {
                        "client_id": "redrive",
                        "request_timeout_ms": int(self._timeout * 1000),
                        "bootstrap_timeout_ms": int(self._timeout * 1000),
                        "reconnect_backoff_max_ms": 1000,
                    }
                )
            return self._client

    def _drop(self, client: Any) -> None:
        """Close a client, unless another thread has done so."""
        with self._lock:
            if client is None or client is not self._client:
                return
            self._client = None
        client.close()


class _Admin(KafkaAdminClient):  # type: ignore[misc]
    # So that one can be closed whose constructor has failed; else its thread would try to connect for ever.
    _closed = False


def _connect(config: dict[str, Any]) -> Any:
    admin = _Admin.__new__(_Admin)
    try:
        KafkaAdminClient.__init__(admin, **config)
    except KafkaError:
        with suppress(AttributeError):  # it has not even come to its thread
            admin.close()
        raise
    return admin


def is_refusal(error: Exception) -> bool:
    """Say whether an error is a cluster's answer, and not the lack of one."""
    passing = isinstance(error, NotControllerError | RequestTimedOutError)
    return isinstance(error, BrokerResponseError) and not passing and not getattr(error, "retriable", False)


def told(error: Exception) -> str:
    """Say an error in words."""
    text = str(error)
    return text if type(error).__name__ in text else f"{type(error).__name__}: {text}".rstrip(": ")
