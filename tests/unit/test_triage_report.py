"""What people read about dead letters after a triage."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from redrive.deadletters.retention import Loss
from redrive.ledger import Ledger
from redrive.ledger.letter_queries import Group
from tasks.dlq_triage.report import report_text
from tasks.dlq_triage.steps import Overview, look
from tests.ledger.letters import fill, sighting

NOW = datetime(2026, 11, 27, 12, 30, tzinfo=UTC)


def overview(**more: Any) -> Overview:
    groups = [
        Group("invalid-value", "shop", "orders", 7, 6, NOW - timedelta(hours=3), NOW, 2),
        Group("handler-failed", "billing", "orders", 3, 3, NOW, NOW, 1),
    ]
    given: dict[str, Any] = {"groups": groups, "trend": [], "losses": [], "at": NOW}
    return Overview(**given | more)


def pictures(text: str) -> dict[str, list[str]]:
    """Give what each picture of a report says of itself, and the texts in it."""
    found = re.findall(r"!\[([^\]]*)\]\(data:image/svg\+xml;base64,([^)]+)\)", text)
    return {title: re.findall(r">([^<>]+)</text>", base64.b64decode(data).decode()) for title, data in found}


def test_the_picture_has_a_bar_for_each_reason_and_producer() -> None:
    shown = pictures(report_text("run", [], [], overview()))
    assert shown == {
        "Open letters by reason and producer": ["invalid-value · shop", "7", "handler-failed · billing", "3"]
    }


def test_the_trend_is_by_the_day_and_on_the_first_day_by_the_hour() -> None:
    days = overview(trend=[(NOW - timedelta(days=1), 4), (NOW, 6)])
    assert pictures(report_text("run", [], [], days))["Letters a day, whatever has become of them"] == [
        "Thu 26 Nov", "4", "Fri 27 Nov", "6",
    ]  # fmt: skip
    hour = NOW.replace(minute=0)
    hours = overview(trend=[(hour - timedelta(hours=3), 4), (hour, 6)], by="hour")
    assert pictures(report_text("run", [], [], hours))["Letters an hour, whatever has become of them"] == [
        "09:00 UTC", "4", "12:00 UTC", "6",
    ]  # fmt: skip


def test_it_warns_of_letters_that_nobody_can_correct_any_more_and_of_those_that_go_soon() -> None:
    text = report_text("run", [], [], overview(losses=[Loss("one", "dlq.shop", 0, 5, 2, NOW, (0, 3, 4))]))
    assert "**3 letters may be deleted within a day**" in text
    assert "2 letters of the ledger that are open or doubtful are gone from their topics" in text


def test_on_the_first_day_it_is_looked_up_by_the_hour(tmp_path: Path) -> None:
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    at = [midnight, midnight + timedelta(hours=1), midnight + timedelta(hours=1)]
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        reading: Any = SimpleNamespace(letters=ledger.letters)
        fill(ledger, [sighting(n, timestamp=int(moment.timestamp() * 1000)) for n, moment in enumerate(at)])
        found = look.fn(reading, [])
        assert (found.by, found.trend) == ("hour", [(at[0], 1), (at[1], 2)])
        earlier = int((midnight - timedelta(hours=5)).timestamp() * 1000)
        fill(ledger, [sighting(0, topic="dlq.other", timestamp=earlier)])
        found = look.fn(reading, [])
        assert (found.by, [letters for _, letters in found.trend]) == ("day", [1, 3])
