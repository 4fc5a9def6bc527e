"""The parking topic: where jobs put events that can't go where they should, until a person has dealt with them."""

from __future__ import annotations

from redrive.pump.names import PARKING_TOPIC
from redrive.pump.own_topics import ensure
from redrive.pump.readback import ClientConfig

PARTITIONS = 3

CONFIG = {
    # Larger than any event that got as far as here: one that can't even be parked stops its lane.
    "max.message.bytes": str(64 << 20),
    "retention.ms": "-1",
    # Whatever time an event bears, however far in the future.
    "message.timestamp.after.max.ms": str((1 << 63) - 1),
    "message.timestamp.before.max.ms": str((1 << 63) - 1),
}


def ensure_parking(client_config: ClientConfig) -> None:
    """Create the parking topic if there is none.

    Raises:
        ConfigError: it may not be created.
        UnavailableError: the cluster does not answer.
    """
    ensure(client_config, PARKING_TOPIC, PARTITIONS, CONFIG, "parking")
