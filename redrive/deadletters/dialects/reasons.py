"""Reason codes for exceptions of systems that have no codes."""

from __future__ import annotations

import re

from redrive.deadletters.dialects.sighting import UNKNOWN

_SAME = {
    # A class is here only if it can mean nothing else. Kafka's SerializationException is not, for one: it stands
    # for bad frames, unknown schemas and a registry that was away alike.
    "AvroMissingFieldException": "invalid-value",
    "RecordTooLargeException": "too-large",
    "RecordBatchTooLargeException": "too-large",
    "SchemaProjectorException": "incompatible-schema",
    "UnknownTopicOrPartitionException": "unknown-topic",
    "InvalidTopicException": "unknown-topic",
    "TopicAuthorizationException": "refused",
    "PolicyViolationException": "refused",
    "InvalidRecordException": "refused",
    # Spring's wrapper of whatever a listener has thrown.
    "ListenerExecutionFailedException": "handler-failed",
}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z]+|[a-z]+|[0-9]+")


def reason_of(class_name: str) -> str:
    """Make a code of an exception's class: ours if it clearly means the same, else of its simple name.

    ``com.shop.NoSuchCustomerException`` becomes ``no-such-customer``; no class becomes ``unknown``.
    """
    simple = re.split(r"[.$]", class_name)[-1]
    if simple in _SAME:
        return _SAME[simple]
    bare = re.sub(r"(?<=.)(Exception|Error)$", "", simple)
    return "-".join(_WORD.findall(bare)).lower()[:64].strip("-") or UNKNOWN
