"""Names that stand in Kafka: who reads what the pump has written needs them, and nothing else of it."""

from __future__ import annotations

PARKING_TOPIC = "redrive.parked"
"""Where jobs put events that can't go where they should, until a person has dealt with them. One a cluster."""

ALIASES_TOPIC = "redrive.aliases"
"""Where it is said which names of topics stand for other topics; see `redrive.aliases`. One a cluster."""

OPERATION_HEADER = "redrive-operation"
"""The header with the operation that has published an event."""

MIGRATION_HEADER = "redrive-migration"
"""The header with the digest of the migration that has parked an event."""

SOURCE_HEADER = "redrive-source"
"""The header with the place that an event was read from."""

CORRECTION_HEADER = "redrive-correction"
"""What a correction says of itself on the events that it writes; see `redrive.deadletters.judging.marks`."""

JOB_HEADERS = (OPERATION_HEADER, SOURCE_HEADER, MIGRATION_HEADER, CORRECTION_HEADER)
"""What jobs say of an event that they have brought to where it is. Who publishes it anew must not pass that on."""
