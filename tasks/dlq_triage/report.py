"""What people read about dead letters: how many, why, of whom, since when, and which will be lost before when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from redrive.deadletters.triage import Triaged
from tasks.dlq_triage.steps import Failure, Overview
from tasks.dlq_triage.telling import tell_growth
from tasks.ending import Word, close, held_up
from tasks.operations import Run
from tasks.pictures import bars
from tasks.words import cell, count, duration, number, table

MOST_ROWS = 100
NOT_READ = "not_read"
"""In the evidence of a triage: topics that it could not triage, or not all of them, as cluster/topic."""
REPORTED = "reported"
"""In the same: what people have been told of that, by it or by a run before it; not what an outage explains."""


def finish_triage(
    run: Run, mode: str, done: Sequence[Triaged], failed: Sequence[Failure], overview: Overview
) -> State[object]:
    """Tell whoever listens, enter the end in the ledger, show it, and give the flow run's last state.

    In this order: an end in the ledger says that what was entered has been told.
    """
    new = sum(triaged.new for triaged in done)
    counts = {
        "topics": len(done),
        "read": sum(triaged.read for triaged in done),
        "new": new,
        "open": overview.open,
        "lost": overview.lost,
        "missed": sum(triaged.missed for triaged in done),
    }
    blind = _blind(done)
    failed = [*failed, *blind]
    reasons = [_reason(failure) for failure in failed]
    # People are told of each run that fails; and one comes each hour, or more often while there are other letters.
    known = _known(run, failed) if mode == "run" else []
    is_silent = len(known) == len(failed)
    if mode == "run" and not blind and not is_silent:  # no outage is the reason of what is blind
        is_silent = held_up(run, "", {failure.cluster for failure in failed}).is_cancelled()
    told = tell_growth(run, overview) if mode == "run" else []
    not_read = sorted({f"{failure.cluster}/{failure.topic}" for failure in failed})
    reported = [_reason(failure) for failure in known] if is_silent else reasons
    evidence = {"failed": reasons, REPORTED: reported, NOT_READ: not_read, "told": told}
    run.finish("failed" if failed else "done", counts=counts, evidence=evidence)
    word: Word = "failed" if failed else "planned" if mode == "plan" else "triaged"
    message = close(
        run, word, headline(mode, counts, overview, failed), counts, report_text(mode, done, failed, overview)
    )
    if not failed:
        return Completed(message=message)
    return Cancelled(message=message) if is_silent else Failed(message=message)


def _known(run: Run, failed: Sequence[Failure]) -> list[Failure]:
    """Give those of which people know just this already, by the run that has tried the topic last before this one."""
    ended = [row for row in run.earlier() if row.mode == "run" and row.evidence is not None]
    known = []
    for failure in failed:
        before = next((row for row in ended if f"{failure.cluster}/{failure.topic}" in row.resources), None)
        if before is not None and _reason(failure) in (before.evidence or {}).get(REPORTED, ()):
            known.append(failure)
    return known


def _reason(failure: Failure) -> str:
    return f"{failure.topic}: {failure.reason}"


def headline(mode: str, counts: dict[str, int], overview: Overview, failed: Sequence[Failure]) -> str:
    """Say the end in one line."""
    if failed:
        others = f"; and {len(failed) - 1} more topics" if len(failed) > 1 else ""
        return f"{failed[0].topic} could not be triaged: {failed[0].reason}{others}"
    if mode == "plan":
        return f"about {count(counts['read'], 'letter')} in {count(counts['topics'], 'topic')} to triage"
    line = f"{count(counts['open'], 'open letter')}, {number(counts['new'])} of them new"
    oldest = min((group.oldest for group in overview.groups), default=None)
    if oldest is not None:
        line += f"; the oldest {duration((overview.at - oldest).total_seconds())} old"
    soon = sum(loss.due[1] for loss in overview.losses)
    if soon:
        line += f"; {number(soon)} may be deleted within a day"
    return line


def report_text(mode: str, done: Sequence[Triaged], failed: Sequence[Failure], overview: Overview) -> str:
    """Write the report as Markdown: what is open first, then what to hurry for."""
    parts = [f"## {count(overview.open, 'open dead letter')}"]
    if mode == "plan":
        parts.append("Nothing was recorded: this is what a triage would read, and what the ledger has by now.")
    parts += [
        f"> **{failure.topic}** ({failure.cluster}) could not be triaged: {cell(failure.reason)}" for failure in failed
    ]
    parts += _warnings(done, overview)
    if overview.groups:
        rows = [(name, letters, 0, number(letters)) for name, letters in _by_reason(overview)]
        parts += [
            "### Why, and whose",
            bars("Open letters by reason and producer", rows),
            table(
                ["reason", "producer", "topic", "letters", "correctable", "attempts", "oldest", "newest"],
                [
                    [
                        group.reason, group.producer or "–", group.topic or "–", group.letters, group.correctable,
                        group.attempts, _ago(group.oldest, overview), _ago(group.newest, overview),
                    ]
                    for group in overview.groups[:MOST_ROWS]
                ],
                left=3,
            ),
        ]  # fmt: skip
        if len(overview.groups) > MOST_ROWS:
            parts.append(f"… and {len(overview.groups) - MOST_ROWS} more groups, which the totals include.")
    if len(overview.trend) > 1:
        when, each = ("%a %d %b", "a day") if overview.by == "day" else ("%H:00 UTC", "an hour")
        rows = [(f"{moment:{when}}", letters, 0, number(letters)) for moment, letters in overview.trend]
        parts += ["### When they came", bars(f"Letters {each}, whatever has become of them", rows)]
    if overview.losses:
        parts += ["### How long they will be there", _losses(overview)]
    parts += ["### What was read", _topics(mode, done)]
    return "\n\n".join(parts)


def _warnings(done: Sequence[Triaged], overview: Overview) -> list[str]:
    lines = []
    day = sum(loss.due[1] for loss in overview.losses)
    if day:
        lines.append(
            f"> **{count(day, 'letter')} may be deleted within a day** by the retention of their topics. Correct or "
            "discard them before, or raise `retention.ms`."
        )
    if overview.lost:
        lines.append(
            f"> {count(overview.lost, 'letter')} of the ledger that are open or doubtful are gone from their topics: "
            "nobody can correct them any more."
        )
    lines += [
        f"> **{count(letters, 'letter')} {fate}**, which no run takes by itself: see `redrive dlq list --fate {fate}`."
        for fate, letters in overview.waiting.items()
    ]
    for triaged in done:
        if triaged.missed:
            lines.append(
                f"> {triaged.topic}: up to {count(triaged.missed, 'letter')} were deleted before any triage read them. "
                "Run triage more often than the topic's retention."
            )
    return lines


def _blind(done: Sequence[Triaged]) -> list[Failure]:
    """Give the topics of which letters are left alone, until somebody says that what was there is gone."""
    return [
        Failure(
            triaged.cluster,
            triaged.topic,
            f"partition {', '.join(map(str, triaged.made_anew))}: its letters are not those that triage has read: "
            "it was deleted and made again under the same name, or has lost its end. New letters are left alone until "
            f'somebody accepts that: redrive dlq accept {triaged.topic} --reason "…"',
        )
        for triaged in done
        if triaged.made_anew
    ]


def _by_reason(overview: Overview) -> list[tuple[str, int]]:
    sums: defaultdict[str, int] = defaultdict(int)
    for group in overview.groups:
        sums[f"{group.reason} · {group.producer or 'unknown'}"] += group.letters
    return sorted(sums.items(), key=lambda each: -each[1])


def _losses(overview: Overview) -> str:
    rows = [
        [
            f"{loss.topic} [{loss.partition}]", loss.cluster, loss.letters, loss.lost, *loss.due,
            "never" if loss.first_at is None else f"{loss.first_at:%Y-%m-%d %H:%M} UTC",
        ]
        for loss in overview.losses[:MOST_ROWS]
    ]  # fmt: skip
    within = ["within an hour", "within a day", "within a week"]
    return table(["partition", "cluster", "letters", "gone", *within, "the first at"], rows, left=2)


def _topics(mode: str, done: Sequence[Triaged]) -> str:
    head = ["topic", "cluster", "to read" if mode == "plan" else "read", "new"]
    return table(head, [[each.topic, each.cluster, each.read, each.new] for each in done], left=2)


def _ago(moment: datetime, overview: Overview) -> str:
    return f"{duration(max(0.0, (overview.at - moment).total_seconds()))} ago".replace(" ", "\u00a0")
