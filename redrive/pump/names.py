"""Names that stand in Kafka: who reads what the pump has written needs them, and nothing else of it."""

from __future__ import annotations

PARKING_TOPIC = "redrive.parked"
"""Where jobs put events that can't go where they should, until a person has dealt with them. One a cluster."""

ALIASES_TOPIC = "redrive.aliases"
"""Where it is said which names of topics stand for other topics; see `redrive.aliases`. One a cluster."""

OPERATION_HEADER = "redrive-operation"
"""The header with the operation that has published an event."""

SOURCE_HEADER = "redrive-source"
"""The header with the place that an event was read from."""
