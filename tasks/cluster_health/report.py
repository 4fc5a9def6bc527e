"""The health of a cluster as people read it: what is wrong and what to do first, then all that is known."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from redrive.health.facts import Books, ClusterState, Disks, Facts, Lag, Standby, Unknown
from redrive.health.judging import Health
from redrive.ledger import Look
from tasks.words import cell, count, duration, moment, number, size, table

MOST_ROWS = 10


def headline(health: Health) -> str:
    """Say it in one line."""
    facts, reasons = health.facts, health.reasons
    if not reasons:
        return f"{facts.cluster} is well: {_in_short(facts)}"
    more = f"; and {count(len(reasons) - 1, 'more reason')}" if len(reasons) > 1 else ""
    return f"{facts.cluster} is {health.verdict}: {reasons[0].what}{more}"


def report_text(health: Health, before: Look | None) -> str:
    """Write all of it as Markdown.

    Args:
        health: what was found.
        before: the last look, to say since when it is so, and how fast groups fall behind.
    """
    facts = health.facts
    since = before.since if before is not None and before.verdict == health.verdict else facts.at
    parts = [
        f"## {facts.cluster} is {health.verdict}",
        f"since {_when(since)}; looked at {_when(facts.at)}, in {duration(facts.seconds)}",
    ]
    if not facts.active:
        parts.append("It stands by: events of its domains are published in another region.")
    if health.reasons:
        rows = [[reason.what, reason.way_out] for reason in health.reasons]
        parts.append(table(["what is wrong", "what to do"], rows, left=2))
    parts += [f"### {title}\n\n{text}" for title, text in _sections(facts, before) if text]
    return "\n\n".join(parts)


def _sections(facts: Facts, before: Look | None) -> Iterator[tuple[str, str]]:
    yield "Brokers", _brokers(facts)
    yield "Standby store", _standby(facts.standby, facts.at)
    yield "Consumer groups", _lags(facts, before)
    yield "Topics that producers were switched from", _stayed(facts)
    yield "Open dead letters, by reason", _letters(facts.books)
    yield "Dead letters that wait for a person", _waiting(facts)
    yield "Jobs", _jobs(facts.books)


def _in_short(facts: Facts) -> str:
    state = facts.state
    if isinstance(state, Unknown):
        return state.reason
    up = len(state.brokers) - len(state.down)
    return f"{up} of {count(len(state.brokers), 'broker')}, {count(state.partitions, 'partition')}"


def _brokers(facts: Facts) -> str:
    state, disks = facts.state, facts.disks
    if isinstance(state, Unknown):
        return ""
    known = disks if isinstance(disks, Disks) else Disks({}, ())
    rows = [
        [
            f"{id_}{' (controller)' if id_ == state.controller else ''}", broker.rack or "–",
            "up" if broker.up else "**down**", state.leaders.get(id_, 0), *_disk(known, id_),
        ]
        for id_, broker in state.brokers.items()
    ]  # fmt: skip
    text = table(["broker", "rack", "state", "leaders", "stores", "disk free", "of"], rows, left=3)
    return f"{text}\n\n{_partitions(state, known)}"


def _partitions(state: ClusterState, disks: Disks) -> str:
    counts = [
        (len(state.without_leader), "without a leader"),
        (len(state.under_min_isr), "under min ISR"),
        (len(state.under_replicated), "under-replicated"),
        (len(state.moving), "moving"),
    ]
    bad = ", ".join(f"**{number(each)} {what}**" for each, what in counts if each)
    lines = [f"{count(state.partitions, 'partition')}: {bad or 'all of them have a leader and are in sync'}."]
    if disks.throttles:
        on = sorted({str(each.resource) for each in disks.throttles})
        lines.append(f"Replication is throttled by {count(len(disks.throttles), 'setting')}: {_shortened(on)}.")
    return " ".join(lines)


def _disk(disks: Disks, broker: int) -> list[str]:
    each = disks.log_dirs.get(broker)
    if each is None or each.unknown:
        return ["?", "?", "?"]
    free = "?" if each.usable is None else size(each.usable)
    return [size(sum(each.sizes.values())), free, "?" if each.total is None else size(each.total)]


def _standby(standby: Standby | Unknown, at: datetime) -> str:
    if isinstance(standby, Unknown):
        return f"Not known: {cell(standby.reason)}"
    if not standby.diverted:
        return (
            f"Nothing waits; all {count(standby.lanes, 'lane')} are open." if standby.lanes else "It has no lanes yet."
        )
    oldest = "" if standby.oldest is None else f", the oldest for {duration((at - standby.oldest).total_seconds())}"
    text = (
        f"**{count(standby.events, 'event')}** ({size(standby.bytes)}) wait in {number(standby.diverted)} of "
        f"{count(standby.lanes, 'lane')}{oldest}."
    )
    return text if standby.is_whole else f"{text} There are more: time was up, and the next look goes on counting."


def _lags(facts: Facts, before: Look | None) -> str:
    if isinstance(facts.lags, Unknown):
        return "" if isinstance(facts.state, Unknown) else f"Not known: {cell(facts.lags.reason)}"
    if not facts.lags:
        return _unasked(facts.unasked_groups) or "There are none."
    rows = [[lag.group, lag.events, _growth(lag, facts, before), lag.topics, _members(lag)]
            for lag in facts.lags[:MOST_ROWS]]  # fmt: skip
    text = table(["group", "events behind", "change", "topics", "members"], rows)
    more = len(facts.lags) - len(rows)
    if more > 0:
        text += f"\n\n… and {count(more, 'group')} less far behind."
    return text + (f"\n\n{unasked}" if (unasked := _unasked(facts.unasked_groups)) else "")


def _unasked(groups: int) -> str:
    if not groups:
        return ""
    return f"**{count(groups, 'more group')}** not asked about, since there are so many: one may be further behind."


def _stayed(facts: Facts) -> str:
    if isinstance(facts.stayed, Unknown):
        return "" if isinstance(facts.state, Unknown) else f"Not known: {cell(facts.stayed.reason)}"
    rows = [
        [
            each.topic, each.current, each.events if each.is_whole else f"{number(each.events)} so far",
            "–" if each.since is None else moment(each.since), "–" if each.last is None else moment(each.last),
            "–" if each.since is None else "yes" if each.is_copied else "**no**",
        ]
        for each in facts.stayed[:MOST_ROWS]
    ]  # fmt: skip
    head = ["topic", "left for", "events that no job brought", "first", "last", "all copied"]
    return table(head, rows, left=2) if rows else ""


def _growth(lag: Lag, facts: Facts, before: Look | None) -> str:
    """How fast it falls behind, or catches up, since the last look."""
    was = before.lags.get(lag.group) if before else None
    if was is None or before is None:
        return "–"
    rate = (lag.events - was) / max(1.0, (facts.at - before.at).total_seconds())
    return f"{rate:+,.0f}/s" if abs(rate) >= 0.5 else "steady"


def _members(lag: Lag) -> str:
    return "?" if lag.members is None else "**none**" if lag.members == 0 else number(lag.members)


def _letters(books: Books | Unknown) -> str:
    if isinstance(books, Unknown):
        return f"Not known: {cell(books.reason)}"
    if not books.letters:
        return "None, as far as triage has read."
    rows = list(books.letters.items())[:MOST_ROWS]
    text = table(["reason", "letters"], rows)
    return f"{text}\n\n{count(sum(books.letters.values()), 'letter')} in all, as far as triage has read."


def _waiting(facts: Facts) -> str:
    if isinstance(facts.books, Unknown) or not facts.books.waiting:
        return ""
    rows = [[fate, letters, f"`redrive dlq list --cluster {facts.cluster} --fate {fate}`"]
            for fate, letters in facts.books.waiting.items()]  # fmt: skip
    return table(["letters", "how many", "which"], rows)


def _jobs(books: Books | Unknown) -> str:
    if isinstance(books, Unknown):
        return ""
    runs = [
        [
            f"[{run.job}]({run.run_url})" if run.run_url else run.job, run.verdict or run.status,
            _when(run.started_at), run.who,
        ]
        for run in books.runs
    ]  # fmt: skip
    parts = [table(["last run of", "verdict", "begun", "by"], runs, left=4) if runs else "None has run within a day."]
    if books.holds:
        held = [[hold.resource, hold.job, hold.operation[:8], _when(hold.since), _when(hold.heartbeat_at)]
                for hold in books.holds[:MOST_ROWS]]  # fmt: skip
        parts.append(table(["held", "by", "run", "since", "last sign of life"], held, left=5))
    if books.debts:
        left = sum(books.debts.values())
        parts.append(f"{count(left, 'setting')} changed for a job's own time: `redrive debts list`.")
    return "\n\n".join(parts)


def _shortened(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _when(at: datetime) -> str:
    return moment(int(at.timestamp() * 1000))
