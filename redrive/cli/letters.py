"""Dead letters as the ledger has them, for people and for programs. Slow to import: commands do so when they must."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from redrive.cli.output import age, out, show_table
from redrive.deadletters.selection import key_text
from redrive.ledger.letter_queries import Decision, Group, KnownLetter, Story, time_of

BRIEF = ("id", "reason", "field", "producer", "topic", "attempts", "age")
"""Columns of `brief`."""


def brief(letter: KnownLetter) -> tuple[Any, ...]:
    """Give what a list shows of a letter."""
    seen = letter.sighting
    about = (seen.reason, seen.field or None, seen.producer or None, seen.main_topic or None, seen.attempts)
    return (str(letter.id), *about, age(_time(seen.timestamp)))


def show_groups(groups: list[Group]) -> None:
    """Print groups of letters, for people, and their sums."""
    columns = ("reason", "producer", "topic", "letters", "correctable", "attempts", "oldest", "newest")
    rows = (
        (
            group.reason,
            group.producer or None,
            group.topic or None,
            group.letters,
            group.correctable,
            group.attempts,
            age(group.oldest),
            age(group.newest),
        )
        for group in groups
    )
    show_table(columns, rows, numbers=columns[3:])
    total, correctable = sum(group.letters for group in groups), sum(group.correctable for group in groups)
    out.print(f"{total:,} letters, {correctable:,} of them correctable.", highlight=False)


def as_row(letter: KnownLetter) -> dict[str, Any]:
    """Give what the ledger has of a letter, for programs."""
    seen = letter.sighting
    return {
        "id": str(letter.id),
        **msgspec.structs.asdict(seen),
        "timestamp": _time(seen.timestamp),
        "main_timestamp": _time(seen.main_timestamp),
        "key": None if seen.key is None else key_text(seen.key),
        "fate": letter.fate,
    }


def story_row(story: Story) -> dict[str, Any]:
    """Give a letter and what became of it, for programs."""
    return as_row(story.letter) | {"fates": [_decision_row(decision) for decision in story.decisions]}


def _decision_row(decision: Decision) -> dict[str, Any]:
    fate = decision.fate
    return {
        "at": decision.at,
        "fate": fate.name,
        "reason": fate.reason,
        "rules": fate.rules,
        "topic": fate.topic,
        "partition": fate.partition,
        "offset": fate.offset,
        "operation": decision.operation_id,
    }


def show_story(story: Story) -> None:
    """Print what the ledger has of a letter, for people."""
    show_table(("of the letter", ""), _facts(story.letter))
    if story.decisions:
        columns = ("at", "fate", "reason", "rules", "where", "operation")
        show_table(columns, (_decision_line(decision) for decision in story.decisions))


def _facts(letter: KnownLetter) -> Iterator[tuple[str, Any]]:
    row = as_row(letter)
    for name in ("cluster", "topic", "partition", "offset"):
        del row[name]  # all of it is in the id
    for name, value in row.items():
        if isinstance(value, datetime):
            yield name, f"{value.isoformat(' ', 'seconds')} ({age(value)} ago)"
        elif isinstance(value, int) and not isinstance(value, bool):
            yield name, str(value)  # most are no amounts
        else:
            yield name, None if value == "" else value


def told(decision: Decision) -> str:
    """Say in a line what became of a letter."""
    at, *words, operation = _decision_line(decision)
    return f"{at} {' '.join(word for word in words if word)} by {operation}"


def _decision_line(decision: Decision) -> tuple[str, str, str | None, str | None, str | None, str]:
    fate = decision.fate
    where = None if fate.topic is None else f"{fate.topic}/{fate.partition}/{fate.offset}"
    return (
        decision.at.isoformat(" ", "seconds"),
        fate.name,
        fate.reason or None,
        ", ".join(fate.rules) or None,
        where,
        decision.operation_id[:8],
    )


def _time(milliseconds: int | None) -> datetime | None:
    """Give the time of a letter, or of its event; none is kept as 0 or None."""
    return time_of(milliseconds) if milliseconds else None
