"""A letter of any dialect, opened: what rules match on, and the event's own key, headers and value."""

from __future__ import annotations

from redrive.deadletters.dialects import Record, confluent, connect, sight, spring
from redrive.deadletters.letter import RAW, Letter, is_own, read_letter
from redrive.pump.names import JOB_HEADERS

_FOREIGN = (connect.PREFIX, *spring.PREFIXES, confluent.PREFIX)
_LAST_OF_OWN = ("redrive-encoding", "redrive-lossy")


def open_letter(record: Record) -> Letter:
    """Open a letter, whoever wrote it.

    Its headers are the event's: without what systems have added that write dead letters or put events right again.

    Raises:
        LetterFormatError: one of Redrive's own, and damaged.
    """
    headers = record.headers or []
    if headers and headers[-1][0] in _LAST_OF_OWN:  # the usual case, for which all dialects need not be asked
        return read_letter(headers, record.key, record.value, is_own=is_of_the_event)
    seen = sight(record)
    if seen.dialect == "own":
        return read_letter(headers, record.key, record.value, is_own=is_of_the_event)
    return Letter(
        id=seen.event_id,
        key=seen.key,
        value=record.value,
        headers=[header for header in headers if is_of_the_event(header[0])],
        reason=seen.reason,
        detail="",
        field=seen.field,
        topic=seen.main_topic,
        partition=seen.main_partition,
        offset=seen.main_offset,
        timestamp=record.timestamp if seen.main_timestamp is None else seen.main_timestamp,
        schema_id=seen.schema_id,
        attempt=seen.attempts,
        encoding=RAW,
        lossless=seen.correctable,
        producer=seen.producer,
        at="",
    )


def is_of_the_event(name: str) -> bool:
    """Say whether a header is the event's own: not one that letters, jobs or foreign systems have added."""
    return is_own(name) and name not in JOB_HEADERS and not name.startswith(_FOREIGN)
