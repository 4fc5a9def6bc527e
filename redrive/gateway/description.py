"""The API as its OpenAPI document tells it."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from redrive.gateway.authentication import KEY_HEADER
from redrive.gateway.cloud_events import BATCH, LONGEST, SINGLE
from redrive.gateway.problems import CONTENT_TYPE

TEXT = """\
Publish events: [CloudEvents 1.0](https://cloudevents.io) in JSON, one or several at once.

**202** means that an event is safe: it will be delivered, whatever happens here. After **408**, **429**, **500**,
**503**, or no answer at all, send it again as it is, with the same `source` and `id`: these tell it from a new one.
After another answer, sending it again changes nothing; the problem says what to mend.

Events with the same `partitionkey` are delivered in their order within a batch, and in the order of requests that wait
for each other's answers.
"""

_TEXT = {"type": "string", "minLength": 1, "maxLength": LONGEST, "pattern": r"^[^\x00-\x1f\x7f-\x9f]+$"}
_DATA = "As the schema of this event type says. Times, dates: RFC 3339; decimals: strings; bytes: strings in base64."
_EVENT = {
    "type": "object",
    "description": "Other attributes go along: lower-case letters and digits; strings, booleans, integers of 32 bits.",
    "required": ["specversion", "id", "source", "type", "data"],
    "properties": {
        "specversion": {"type": "string", "enum": ["1.0"]},
        "id": _TEXT | {"description": "Unique within the source, for ever. It makes repetitions harmless."},
        "source": _TEXT | {"description": "What the event comes from, such as `/shop/checkout`."},
        "type": _TEXT | {"description": "The same as in the path."},
        "time": {"type": "string", "format": "date-time"},
        "subject": _TEXT,
        "partitionkey": _TEXT | {"description": "What order is kept by, such as the number of an order."},
        "datacontenttype": {"type": "string", "enum": ["application/json"]},
        "data": {"description": _DATA, "not": {"type": "null"}},
    },
}
_PROBLEM = {
    "type": "object",
    "description": "Problem details (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "description": "Begins with `urn:redrive:problem:`; for programs."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What happened and what to do, for people."},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "reason"],
                "properties": {"field": {"type": "string"}, "reason": {"type": "string"}},
            },
        },
    },
}
_NAMED = {"id": {"type": ["string", "null"]}, "source": {"type": ["string", "null"]}}
_ACCEPTED = {"type": "object", "required": ["id", "source"], "properties": _NAMED}
_RESULTS = {
    "type": "object",
    "description": "One result for each event of a batch, in its order.",
    "required": ["events"],
    "properties": {
        "events": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "source", "status"],
                "properties": _NAMED
                | {"status": {"type": "integer"}, "problem": {"$ref": "#/components/schemas/Problem"}},
            },
        }
    },
}
_SCHEMAS = {"Event": _EVENT, "Problem": _PROBLEM, "Accepted": _ACCEPTED, "Results": _RESULTS}
_PROBLEMS = {
    400: "The body is not JSON, or not what its content type says.",
    401: "Credentials are missing or not good.",
    403: "You may not publish this type, whether or not it exists.",
    404: "There is nothing at this path.",
    408: "The body arrived too slowly.",
    409: "This source and id were used for an event with another content.",
    413: "The body or the batch is too large.",
    415: "Not a content type that is taken.",
    422: "It is not a CloudEvent, or its data does not fit the schema; `errors` says where.",
    429: "Your quota is used up, or too much of yours is on its way; try again after `Retry-After` seconds.",
    500: "Something went wrong here.",
    503: "It could not be made safe in time, or nothing can be taken, or your token not be checked, now; send it again "
    "as it is, after `Retry-After` seconds.",
}


def receive(most: int) -> dict[str, Any]:
    """Describe the publishing of events; a batch has ``most`` at most."""
    batch = {"type": "array", "minItems": 1, "maxItems": most, "items": _ref("Event")}
    answers: dict[int | str, dict[str, Any]] = {
        202: _answer("All events are safe.", "application/json", {"anyOf": [_ref("Accepted"), _ref("Results")]}),
        207: _answer("Some events of the batch are not accepted.", "application/json", _ref("Results")),
    }
    for status, text in _PROBLEMS.items():
        answers[status] = _answer(text, CONTENT_TYPE, _ref("Problem"))
    content = {SINGLE: {"schema": _ref("Event")}, BATCH: {"schema": batch}}
    return {
        "summary": "Publish one event, or a batch.",
        "operation_id": "publish",
        "status_code": 202,
        "responses": answers,
        "openapi_extra": {
            "requestBody": {"required": True, "content": content},
            "security": [{"token": []}, {"key": []}],
        },
    }


def health(summary: str, *, drains: bool = False) -> dict[str, Any]:
    """Describe a check of health."""
    text = {"type": "string"}
    status = {"type": "object", "required": ["status"], "properties": {"status": text, "tokens": text}}
    answers: dict[int | str, dict[str, Any]] = {200: _answer("Yes.", "application/json", status)}
    if drains:
        answers[503] = _answer(
            "No: it is about to stop, or could check nobody's credentials.", "application/json", status
        )
    return {"summary": summary, "responses": answers}


def complete(app: FastAPI) -> None:
    """Add to the application's description what FastAPI can't know."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        # FastAPI tells of its own answer to bad parameters, which is not given here.
        components: dict[str, Any] = {"schemas": _SCHEMAS}
        components["securitySchemes"] = {
            "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            "key": {"type": "apiKey", "in": "header", "name": KEY_HEADER},
        }
        document["components"] = components
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _answer(text: str, content_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {content_type: {"schema": schema}}}
