"""What a unit commits together with its events: where the source goes on, and all the verdict will need.

Totals and evidence travel in the checkpoint, in the same transaction as the events, so that the verdict of a run that
was killed and resumed covers the whole of it, and can never disagree with what was published.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from redrive.errors import CheckpointError
from redrive.pump.evidence import Evidence

_VERSION = 1

OTHER_REASONS = "other reasons"
_MOST_REASONS = 50
_LONGEST_REASON = 200


class Checkpoint(msgspec.Struct, array_like=True, frozen=True):
    """The state of a unit after a transaction.

    Attributes:
        operation: the operation the totals belong to; a new one starts counting again, from the same cursor.
        source: the source's own cursor; None is its beginning.
        read: events that came out of the source, with those it passed over itself.
        published: events that went to their topics.
        skipped: reason → events that need not go on.
        parked: reason → events that went to the parking topic.
        size: bytes of what was published and parked, packed.
        seconds: time spent, over all runs.
        topics: evidence by topic.
    """

    operation: str = ""
    source: bytes | None = None
    read: int = 0
    published: int = 0
    skipped: dict[str, int] = {}
    parked: dict[str, int] = {}
    size: int = 0
    seconds: float = 0.0
    topics: dict[str, Evidence] = {}

    @classmethod
    def decode(cls, data: bytes | None, operation: str = "") -> Checkpoint:
        """Read a checkpoint as a sink's ``start`` returned it; None is the beginning.

        The totals of another operation are dropped; its cursor is kept.

        Raises:
            CheckpointError: it is damaged, or a newer version of Redrive wrote it.
        """
        if data is None:
            return cls(operation=operation)
        checkpoint = cls.of_any(data)
        return checkpoint if checkpoint.operation == operation else cls(operation=operation, source=checkpoint.source)

    @classmethod
    def of_any(cls, data: bytes) -> Checkpoint:
        """Read a checkpoint, whichever operation it is of; raises as `decode` does."""
        if data[:1] != bytes([_VERSION]):
            if data and data[0] > _VERSION:
                raise CheckpointError(
                    f"a newer Redrive wrote it (format {data[0]}; this one reads up to {_VERSION}): update this worker"
                )
            raise CheckpointError(
                f"it begins with {data[:8]!r}, which no Redrive has written: is this the right topic?"
            )
        try:
            return _decoder.decode(data[1:])
        except msgspec.MsgspecError as error:
            raise CheckpointError(f"it is damaged: {error}") from error

    def encode(self) -> bytes:
        """Return one byte of format version, then MessagePack."""
        return bytes([_VERSION]) + _encoder.encode(self)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Checkpoint)


def add_reasons(totals: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """Add counts by reason; the reasons kept apart are bounded, so that a checkpoint stays small."""
    result = dict(totals)
    for reason, count in more.items():
        name = reason if len(reason) <= _LONGEST_REASON else reason[: _LONGEST_REASON - 1] + "…"
        if name not in result and len(result) >= _MOST_REASONS:
            name = OTHER_REASONS
        result[name] = result.get(name, 0) + count
    return result
