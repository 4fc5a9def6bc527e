"""What the reports of all jobs have in common: how they begin, who ran the job, and why units are not done."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.operations import Run
from tasks.words import cell, number

MOST_ROWS = 100
"""Rows of a table, and units that are named; more are counted."""

MOST_FINDINGS = 50


def opening(word: str, headline: str, findings: Sequence[str] = (), *, about: str = "") -> list[str]:
    """Write the verdict, and what is wrong.

    Args:
        word: how the run ended.
        headline: the same in one line, without that word.
        findings: what is wrong, from the evidence.
        about: what was done, for the title; the line goes on from there if it begins so.
    """
    line = headline.removeprefix(f"{about}, ").removeprefix(f"{about}; ") if about else headline
    parts = [f"## {word.capitalize()}" + (f": {about}" if about else ""), cell(line[:1].upper() + line[1:]) + "."]
    if findings:
        parts.append("\n".join(f"- {cell(finding)}" for finding in findings[:MOST_FINDINGS]))
    if len(findings) > MOST_FINDINGS:
        parts.append(f"… and {number(len(findings) - MOST_FINDINGS)} more, which `redrive operations show` has.")
    return parts


def run_facts(run: Run, approved: str = "") -> list[list[str]]:
    """Give rows of a table that say who ran it, who has approved it, and where the ledger and Prefect have it."""
    return [
        ["started by", run.who],
        *([["approved by", cell(approved)]] if approved else []),
        ["operation", f"`{run.id}`" + (f" ([flow run]({run.url}))" if run.url else "")],
    ]


def per_second(done: int, seconds: float, unit: str) -> str:
    """Write a speed to put behind a time; empty if nothing was done."""
    return f" ({number(done / seconds)} {unit})" if done and seconds else ""


def why_not_done(ends: Sequence[tuple[object, str]], things: str) -> list[str]:
    """Say why units are not done.

    Args:
        ends: units, and why they are not done; empty if they are.
        things: what units are called, in the plural.
    """
    parts = [f"- **{unit}**: {cell(reason)}" for unit, reason in ends[:MOST_ROWS] if reason]
    if len(ends) > MOST_ROWS:
        parts.append(f"… and {len(ends) - MOST_ROWS} more {things}, which the totals include.")
    return parts
