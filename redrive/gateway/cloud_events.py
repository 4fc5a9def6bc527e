"""Partners' events: CloudEvents 1.0 in JSON (structured mode, and the JSON batch format).

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md; the key is the attribute
``partitionkey`` of the partitioning extension, as the Kafka protocol binding has it.

In Kafka, the envelope is the platform's own: its id is ``<partner>/<source>/<id>``, its time that of acceptance. What
the partner gave goes along as headers: ``ce_partner`` is its name; ``ce_partnerid``, ``ce_partnersource``,
``ce_partnertype`` and ``ce_partnertime`` are attributes that Redrive sets itself; others, such as ``ce_subject``, have
their own name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import msgspec

from redrive.events import Headers
from redrive.gateway import rfc3339
from redrive.gateway.problems import Problem, invalid_event, malformed

SINGLE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"

MOST_ATTRIBUTES = 32
LONGEST = 1_024
"""Characters of an attribute."""

_NAME = re.compile(r"[a-z0-9]{1,64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_RESERVED = re.compile(r"partner(id|source|type|time)?")
_OWN = frozenset({"id", "source", "type", "time"})
_NOT_REPEATED = frozenset({"specversion", "datacontenttype", "partitionkey"})
_canonical = msgspec.json.Encoder(order="sorted")


class PartnerEvent(msgspec.Struct, frozen=True):
    """One event as a partner sent it.

    Attributes:
        event_id: its id in Kafka, unique among all partners'.
        key: its ``partitionkey``.
        data: the value.
        headers: what goes along.
        fingerprint: differs if anything in it does.
        size: bytes of its JSON.
    """

    event_id: str
    key: str | None
    data: Any
    headers: Headers
    fingerprint: bytes
    size: int


def parse_one(body: bytes) -> Any:
    """Read a body that is one event.

    Raises:
        Problem: it is not JSON.
    """
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        raise malformed("the body is nested too deeply") from None
    except msgspec.DecodeError as error:
        raise malformed(f"the body is not JSON: {error}") from None
    except UnicodeDecodeError:  # of bytes within a string
        raise malformed("the body is not JSON: it is not UTF-8") from None


def parse_batch(body: bytes, most: int) -> list[Any]:
    """Read a body that is a list of events.

    Raises:
        Problem: it is not a JSON array, is empty, or has more events than ``most``.
    """
    batch = parse_one(body)
    if not isinstance(batch, list):
        raise malformed(f"the body is not a JSON array of events; for one event, send {SINGLE}")
    if not batch:
        raise malformed("the batch is empty")
    if len(batch) > most:
        raise Problem(
            413, "batch-too-large", f"the batch has {len(batch):,} events; at most {most:,} are taken at once"
        )
    return batch


def check_event(given: Any, partner: str, event_type: str) -> PartnerEvent:
    """Check one event's attributes; its data is checked by the schema, later.

    Raises:
        Problem: they are not those of a CloudEvent 1.0 of this type.
    """
    if not isinstance(given, dict):
        raise invalid_event("", "is not a JSON object")
    if len(given) > MOST_ATTRIBUTES:
        raise invalid_event("", f"has more than {MOST_ATTRIBUTES} attributes")
    for name in ("specversion", "id", "source", "type"):
        _required(given, name)
    if given["specversion"] != "1.0":
        raise invalid_event("specversion", 'is not "1.0"')
    if given["type"] != event_type:
        raise invalid_event("type", "is not the type in the path")
    if "data_base64" in given:
        raise invalid_event("data_base64", "is not taken; send data as JSON")
    if given.get("data") is None:
        raise invalid_event("data", "is missing")
    if given.get("partitionkey") is not None:
        _required(given, "partitionkey")
    headers: Headers = [("ce_partner", partner.encode())]
    for name, value in given.items():
        if name == "data":
            continue
        text = _attribute(name, value)
        if text is not None and name not in _NOT_REPEATED:
            headers.append((_header(name), text.encode()))
    try:
        canonical = _canonical.encode(given)
    except RecursionError:
        raise invalid_event("", "is nested too deeply") from None
    identity, source = given["id"], given["source"]
    return PartnerEvent(
        # A source may have slashes in it: escaped, so that no two events come to the same id.
        event_id=f"{partner}/{source.replace('%', '%25').replace('/', '%2F')}/{identity}",
        key=given.get("partitionkey"),
        data=given["data"],
        headers=headers,
        fingerprint=blake2b(canonical, digest_size=16).digest(),
        size=len(canonical),
    )


def _required(given: Mapping[str, Any], name: str) -> None:
    value = given.get(name)
    if value is None:
        raise invalid_event(name, "is missing")
    if not isinstance(value, str) or not value:
        raise invalid_event(name, "is not a string of at least one character")


def _attribute(name: str, value: Any) -> str | None:
    """Check an attribute and return it as text; None if it is null, which is as good as missing."""
    _header(name)
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case int() if -(2**31) <= value < 2**31:
            return str(value)
        case str() if len(value) <= LONGEST and (value.isprintable() or not _CONTROL.search(value)):
            _check_meaning(name, value)
            return value
        case str():
            raise invalid_event(name, f"has control characters, or more than {LONGEST:,} characters")
        case _:
            raise invalid_event(name, "is not a string, a boolean or an integer of 32 bits")


@lru_cache(maxsize=1_024)
def _header(name: str) -> str:
    """Return the header of an attribute.

    Raises:
        Problem: no attribute may be called so.
    """
    if not _NAME.fullmatch(name):
        raise invalid_event(_shown(name), "is no name for an attribute: use lower-case letters and digits")
    if _RESERVED.fullmatch(name):
        raise invalid_event(name, "is an attribute that is set here; use another name")
    return f"ce_partner{name}" if name in _OWN else f"ce_{name}"


def _check_meaning(name: str, value: str) -> None:
    if name == "time" and not rfc3339.is_date_time(value):
        raise invalid_event("time", "is not a time as RFC 3339 has it, such as 2026-01-31T12:00:00Z")
    if name == "datacontenttype":
        media = value.partition(";")[0].strip().lower()
        if media != "application/json" and not media.endswith("+json"):
            raise invalid_event("datacontenttype", "is not JSON")


def _shown(name: str) -> str:
    return ascii(name[:40])
