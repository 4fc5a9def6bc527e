"""The section ``[gateway]``: who may publish which event types from outside, and how much."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from redrive.config.mistakes import Mistake, names, numbers, table
from redrive.config.sections import Name, Section, StandbyConfig, TopicName

CLOSING = 30.0
"""Seconds for what is left of a stop once all is answered, and its producer is flushed and closed."""
STORING = 2.0
"""Seconds in which events that Kafka did not take are in the standby store, if that answers."""
KEY_HASH = re.compile(r"sha256:[0-9a-f]{64}")


def _key_hash(text: str) -> str:
    # The value is not repeated in the message: it may be a key itself.
    if not KEY_HASH.fullmatch(text):
        raise ValueError("must be the hash that `redrive gateway key` prints: sha256: and 64 hexadecimal digits")
    return text


def _jwks(place: str) -> str:
    url = urlsplit(place)
    if url.scheme == "http" and url.hostname not in {"localhost", "127.0.0.1", "::1"}:
        raise ValueError("must be https: whoever can change the keys on their way can make tokens")
    if "://" in place and (url.scheme not in {"http", "https"} or not url.hostname or url.username is not None):
        raise ValueError("must be an https URL without credentials, or the path of a file")
    return place


EventType = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$")]
KeyHash = Annotated[str, AfterValidator(_key_hash)]


class TokensConfig(Section):
    """Which access tokens are good: JWTs of one issuer, signed with RS256 or ES256.

    Attributes:
        issuer: the claim ``iss``, exactly.
        audience: what must be among the claim ``aud``.
        jwks: URL of the issuer's keys, or path of a file with them.
        client_claim: the claim that names the client: ``client_id`` (RFC 9068); some issuers use ``azp`` or ``sub``.
    """

    issuer: Annotated[str, Field(min_length=1)]
    audience: Annotated[str, Field(min_length=1)]
    jwks: Annotated[str, Field(min_length=1), AfterValidator(_jwks)]
    client_claim: Annotated[str, Field(min_length=1)] = "client_id"


class PartnerConfig(Section):
    """One partner.

    Attributes:
        types: the event types that it may publish.
        clients: its clients, by the name in their tokens.
        api_keys: hashes of its API keys, as `redrive gateway key` prints them (``keys`` in the file).
        rate: events a second, in each worker process.
        burst: how many it may publish at once after a rest; as many as in a second, but a full batch at least, if not
            given.
    """

    types: frozenset[EventType]
    clients: frozenset[Annotated[str, Field(min_length=1)]] = frozenset()
    # Not by the name `keys`: a model with such an attribute passes for a mapping, and Prefect, which looks into what
    # tasks are given, failed at each job's first one.
    api_keys: frozenset[KeyHash] = Field(frozenset(), alias="keys")
    rate: Annotated[float, Field(gt=0, le=1_000_000)] = 100.0
    burst: Annotated[int, Field(ge=1, le=10_000_000)] | None = None


class GatewayConfig(Section):
    """The door for partners. Times in seconds.

    Attributes:
        name: the producer's name; what Kafka refuses goes to its dead-letter topic ``dlq.<name>``.
        host: where it listens.
        port: likewise.
        admin_host: where it tells its metrics; not to partners, so this machine only, unless Prometheus is elsewhere.
        admin_port: likewise; 0: nowhere.
        workers: processes.
        max_body_bytes: the largest body of a request.
        max_batch: the most events in a batch.
        body_timeout: how long a body may take to arrive.
        answer_within: how long an event may take to be acknowledged, before its sender is told to try again.
        remember_seconds: for how long an event that comes again is recognised, in each worker process.
        remember_events: of how many events of each partner, at most.
        drain: how long it goes on serving, but is not ready any more, after it was told to stop.
        keep_alive: how long a connection may rest between two requests. Longer than the proxy before it lets one rest,
            or it would close some just as the proxy sends the next request, which its partner is then told by 502.
        types: event type → topic.
        partners: by name.
        tokens: access tokens; without, partners have API keys only.
    """

    name: Name = "gateway"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    admin_host: str = "127.0.0.1"
    admin_port: Annotated[int, Field(ge=0, le=65_535)] = 9464
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    max_body_bytes: Annotated[int, Field(ge=1_024, le=64 << 20)] = 1 << 20
    max_batch: Annotated[int, Field(ge=1, le=10_000)] = 500
    body_timeout: Annotated[float, Field(gt=0, le=600)] = 10.0
    answer_within: Annotated[float, Field(gt=0, le=600)] = 30.0
    remember_seconds: Annotated[float, Field(ge=0, le=86_400)] = 600.0
    remember_events: Annotated[int, Field(ge=1, le=10_000_000)] = 50_000
    drain: Annotated[float, Field(ge=0, le=300)] = 5.0
    keep_alive: Annotated[int, Field(ge=1, le=3_600)] = 75
    types: dict[EventType, TopicName]
    partners: dict[Name, PartnerConfig]
    tokens: TokensConfig | None = None

    @property
    def stops_within(self) -> float:
        """Seconds that a stop takes at most: whoever would kill it meanwhile has to wait as long."""
        return self.drain + self.body_timeout + self.answer_within + CLOSING

    def burst(self, partner: str) -> int:
        """Say how many events a partner may publish at once."""
        given = self.partners[partner]
        return given.burst or max(int(given.rate), self.max_batch)


def section_of(path: tuple[str, ...]) -> type[BaseModel]:
    """Return the table that the setting at ``path`` (which begins with ``gateway``) stands in."""
    match path[1:-1]:
        case ("tokens",):
            return TokensConfig
        case ("partners", _):
            return PartnerConfig
        case _:
            return GatewayConfig


def misfits(given: Mapping[str, Any], folder: Path) -> Iterator[Mistake]:
    """Find what is wrong between the gateway's settings, and between them and the topics; ``given`` is all settings."""
    gateway = given.get("gateway")
    if not isinstance(gateway, dict):
        return
    topics, types = table(given, "topics"), table(gateway, "types")
    name = gateway.get("name", GatewayConfig.model_fields["name"].default)
    if isinstance(name, str) and f"dlq.{name}" not in topics:
        reason = f"there is no topic dlq.{name}, which takes what Kafka refuses of its events; add it"
        yield ("gateway",) + (("name",) if "name" in gateway else ()), reason
    yield from _too_impatient(gateway, table(given, "standby"))
    for kind, topic in types.items():
        if not isinstance(topic, str):
            continue  # pydantic says so
        if topic not in topics:
            yield ("gateway", "types", kind), f"there is no topic {topic!r}; there are {names(topics)}"
        elif isinstance(topics[topic], dict) and "schema" not in topics[topic]:
            yield ("gateway", "types", kind), f"topic {topic!r} has no schema, so nothing could be checked"
    tokens = gateway.get("tokens")
    jwks = tokens.get("jwks") if isinstance(tokens, dict) else None
    if isinstance(jwks, str) and "://" not in jwks and not (folder / jwks).is_file():
        yield ("gateway", "tokens", "jwks"), f"there is no file {folder / jwks}"
    yield from _of_partners(table(gateway, "partners"), types, has_tokens=tokens is not None)


def _of_partners(partners: dict[str, Any], types: dict[str, Any], *, has_tokens: bool) -> Iterator[Mistake]:
    owners: dict[str, str] = {}
    for name, partner in partners.items():
        if not isinstance(partner, dict):
            continue
        at = ("gateway", "partners", name)
        for kind in _texts(partner, "types"):
            if kind not in types:
                yield (*at, "types"), f"there is no event type {kind!r}; there are {names(types)}"
        if not has_tokens and partner.get("clients"):
            yield (*at, "clients"), "means nothing without [gateway.tokens], which says whose tokens are good"
        if not partner.get("clients") and not partner.get("keys"):
            yield at, "has neither clients nor keys, so nobody could publish as it"
        for setting in ("clients", "keys"):
            for credential in _texts(partner, setting):
                if owners.setdefault(f"{setting} {credential}", name) != name:
                    yield (*at, setting), f"has one that partner {owners[f'{setting} {credential}']!r} has, too"


def _too_impatient(gateway: dict[str, Any], standby: dict[str, Any]) -> Iterator[Mistake]:
    """Find an answer that is due before an outage is noticed, so that each one would begin with answers of 503."""
    (within,) = numbers(GatewayConfig, gateway, "answer_within")
    divert, refresh = numbers(StandbyConfig, standby, "divert_after", "gate_refresh")
    if within < (least := divert + refresh + STORING):
        reason = (
            f"must be {least:g} s or more: standby.divert_after ({divert:g}) + standby.gate_refresh ({refresh:g}) "
            f"until an outage is noticed, and {STORING:g} to store what waits, or each one begins with answers of 503"
        )
        yield ("gateway",) + (("answer_within",) if "answer_within" in gateway else ()), reason


def _texts(partner: dict[str, Any], key: str) -> list[str]:
    listed = partner.get(key)
    return [text for text in listed if isinstance(text, str)] if isinstance(listed, list) else []
