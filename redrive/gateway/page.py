"""The API's description as a page for people: made of its OpenAPI document, and of nothing from elsewhere.

FastAPI's own pages load scripts from a CDN, which would run beside a partner's credentials. This one has no script at
all, and its headers let none run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import escape
from typing import Any

from starlette.responses import HTMLResponse

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
}
_STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "td,th{text-align:left;vertical-align:top;padding:.2em 1em .2em 0}"
    "pre{background:#f4f4f4;padding:1em;overflow:auto}"
)


def page(document: dict[str, Any]) -> HTMLResponse:
    """Answer with an OpenAPI document as HTML."""
    title = escape(document["info"]["title"])
    body = "\n".join(_body(document))
    html = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>\n{body}\n</body></html>"
    )
    return HTMLResponse(html, headers=_HEADERS)


def _body(document: dict[str, Any]) -> Iterator[str]:
    for paragraph in document["info"].get("description", "").strip().split("\n\n"):
        yield f"<p>{_words(paragraph)}</p>"
    yield '<p>For programs: <a href="openapi.json">openapi.json</a></p>'
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield f"<h2>{escape(method.upper())} {escape(path)}</h2><p>{_words(operation['summary'])}</p>"
            for media, content in operation.get("requestBody", {}).get("content", {}).items():
                yield f"<h3>Send {escape(media)}</h3>{_schema(content['schema'])}"
            yield f"<h3>Answers</h3>{_answers(operation['responses'])}"
    components = document["components"]
    yield "<h2>Credentials</h2><p>Send one of these:</p>"
    for way in components["securitySchemes"].values():
        header = way.get("name") or f"Authorization: {way['scheme'].capitalize()}"
        yield f"<p><code>{escape(header)}</code> {escape(way.get('bearerFormat', way['type']))}</p>"
    for name, schema in components["schemas"].items():
        yield f'<h2 id="{escape(name)}">{escape(name)}</h2>{_schema(schema)}'


def _answers(answers: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><th>{escape(str(status))}</th><td>{_words(answer['description'])}</td>"
        f"<td>{escape(', '.join(answer.get('content', ())))}</td></tr>"
        for status, answer in answers.items()
    )
    return f"<table>{rows}</table>"


def _schema(schema: dict[str, Any]) -> str:
    return f"<pre>{escape(json.dumps(schema, indent=2, ensure_ascii=False))}</pre>"


def _words(text: str) -> str:
    """Make HTML of text, with what of Markdown it has: links, bold words, code."""
    html = escape(text)
    html = re.sub(r"\[([^\]]+)\]\((https://[^)\s]+)\)", r'<a href="\2" rel="noreferrer">\1</a>', html)
    html = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", html)
    return re.sub(r"`(.+?)`", r"<code>\1</code>", html)
