"""The API's page for people: all that its OpenAPI document says, and no script."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from redrive.gateway.app import create_app
from redrive.gateway.page import page
from tests.unit.one_cluster import one_cluster

DOOR = """
[gateway.types]
"order.created" = "orders"
[gateway.partners]
"""


@pytest.fixture
def app(tmp_path: Path) -> FastAPI:
    """Not started: nothing of the platform is asked for its description."""
    return create_app(one_cluster(tmp_path, "orders", "dlq.gateway", schema='"string"', more=DOOR))


class Seen(HTMLParser):
    """Which elements and which addresses a page has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements, self.loads = set[str](), list[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.loads += [value or "" for name, value in attrs if name == "src" or (tag == "link" and name == "href")]
        assert not [name for name, _ in attrs if name.startswith("on")]


def test_the_page_tells_each_path_answer_and_schema_of_the_document(app: FastAPI) -> None:
    answer = TestClient(app).get("/docs")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    text = unescape(re.sub("<[^>]+>", "", answer.text))
    document = app.openapi()
    assert "/docs" not in document["paths"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert f"{method.upper()} {path}" in text
            for each in operation["responses"].values():
                assert each["description"].replace("`", "") in text
    for name in document["components"]["schemas"]:
        assert f'<h2 id="{name}">' in answer.text
    assert "X-API-Key" in text


def test_the_page_runs_no_script_and_loads_nothing_from_anywhere(app: FastAPI) -> None:
    answer = TestClient(app).get("/docs")
    seen = Seen(answer.text)
    assert "script" not in seen.elements
    assert seen.loads == []
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_what_a_document_says_becomes_no_element() -> None:
    document = {
        "info": {"title": "<b>T</b>", "description": '<script>x</script> [l](javascript:x) [m](https://x/"><i>)'},
        "paths": {"/<u>": {"get": {"summary": "<em>", "responses": {"200": {"description": "<s>"}}}}},
        "components": {"securitySchemes": {}, "schemas": {"<a>": {"x": "</pre><object>"}}},
    }
    text = bytes(page(document).body).decode()
    assert Seen(text).elements.isdisjoint({"script", "b", "u", "em", "s", "object", "i"})
    assert 'href="javascript' not in text
