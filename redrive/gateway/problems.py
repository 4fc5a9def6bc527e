"""What a partner is told when something is not done: problem details (RFC 9457). None of them names a topic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.responses import Response

CONTENT_TYPE = "application/problem+json"
UNACKNOWLEDGED = "unacknowledged"
_TYPES = "urn:redrive:problem:"


class Problem(Exception):  # noqa: N818 - an answer, and only on its way an exception
    """One problem.

    Attributes:
        status: the HTTP status.
        kind: the last part of its type; stays the same, for programs.
        detail: what happened and what to do, for people.
        errors: what is wrong with an event: ``{"field", "reason"}`` each.
        headers: go along with the answer.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        errors: list[dict[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status, self.kind, self.detail = status, kind, detail
        self.errors, self.headers = errors, dict(headers or {})
        super().__init__(kind)

    def as_json(self) -> dict[str, Any]:
        """Return its members."""
        members: dict[str, Any] = {
            "type": _TYPES + self.kind,
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        return members if self.errors is None else members | {"errors": self.errors}

    def response(self, request_id: str) -> Response:
        """Return it as an answer."""
        body = msgspec.json.encode(self.as_json() | {"request_id": request_id})
        return Response(body, self.status, self.headers, CONTENT_TYPE)


def malformed(detail: str) -> Problem:
    """The body is not what its content type says."""
    return Problem(HTTPStatus.BAD_REQUEST, "malformed", detail)


def unauthenticated(detail: str) -> Problem:
    """Nobody knows who asks."""
    challenge = 'Bearer realm="events", error="invalid_token"'
    return Problem(HTTPStatus.UNAUTHORIZED, "unauthenticated", detail, headers={"WWW-Authenticate": challenge})


def not_granted() -> Problem:
    """The partner may not publish this type; whether there is one is not told."""
    return Problem(HTTPStatus.FORBIDDEN, "not-granted", "you may not publish events of this type")


def id_reused() -> Problem:
    """The id of an event was used for another one."""
    detail = "this source and id were used for an event with another content; give a new event a new id"
    return Problem(HTTPStatus.CONFLICT, "id-reused", detail)


def invalid_event(field: str, reason: str) -> Problem:
    """An event is not a CloudEvent, or does not fit its schema."""
    detail = f"{field or 'the event'} {reason}"
    errors = [{"field": field, "reason": reason}]
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-event", detail, errors=errors)


def crowded() -> Problem:
    """Too much of a partner's is on its way; nothing was done. That is its doing, and no trouble here."""
    detail = "too many bodies of yours are on their way; end some of them, and try again"
    return Problem(HTTPStatus.TOO_MANY_REQUESTS, "crowded", detail, headers={"Retry-After": "5"})


def unacknowledged() -> Problem:
    """An event is not known to be safe."""
    detail = "the event could not be made safe in time, and may arrive or not; send it again as it is, with the same id"
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, UNACKNOWLEDGED, detail, headers={"Retry-After": "5"})


def unavailable(detail: str, seconds: float = 5) -> Problem:
    """Something that is needed is away; nothing was done, and after so many seconds it may be back."""
    headers = {"Retry-After": str(max(1, math.ceil(seconds)))}
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", detail, headers=headers)
