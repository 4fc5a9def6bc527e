"""The plan of a correction as people see it: what becomes of how many letters, by which rules, and a few of them."""

from __future__ import annotations

from redrive.deadletters.correction import JOB, Plan, diverted, doubles, order_guard, source
from redrive.deadletters.judging import judge, targets
from tasks.ending import plan_key, show_plan
from tasks.operations import Run
from tasks.pictures import bars
from tasks.words import count, duration, number, table

MOST_ROWS = 50

OUTCOMES = {
    "publish": "published to their main topics",
    "reject": "back to their dead-letter topics, with one attempt more: they could not be put right",
    "park": "to the parking topic: they have failed too often",
    "skip": "given up: a rule says so, or their event was published again from another letter",
    "leave": "left as they are, and open",
    "gone": "no longer in their topics: given up",
}
REASONS = judge.REASONS | targets.REASONS | order_guard.REASONS | doubles.REASONS | diverted.REASONS | source.REASONS
_POLICY = {
    "hold": "they are **held**: left open",
    "publish": "they are **published all the same**",
    "skip": "they are **skipped**: given up, for good",
}


def report_plan(run: Run, plan: Plan, digest: str, *, mode: str, rate: float | None) -> None:
    """Show the plan of a run."""
    facts = {
        "plan_digest": digest,
        "planned_letters": str(plan.letters),
        "planned_to_publish": str(plan.publishes),
        "planned_overtaken": str(plan.overtaken),
        "planned_diverted": str(plan.diverted),
        "planned_deletions": str(plan.deletions),
        **{f"planned_{outcome}": str(plan.counts[outcome]) for outcome in OUTCOMES},
    }
    show_plan(run, plan_text(plan, digest, mode=mode, rate=rate), headline(plan), facts)


def headline(plan: Plan) -> str:
    """Say the plan in one line."""
    if not plan.letters:
        return "no letter is selected"
    line = f"{number(plan.publishes)} of {count(plan.letters, 'letter')} would be published"
    others = [
        (plan.stays, "held" if plan.terms.policy == "hold" else "skipped as overtaken"),
        (plan.counts["reject"], "rejected"),
        (plan.counts["park"], "parked"),
        (plan.counts["skip"], "skipped"),
        (plan.counts["leave"] + plan.diverted, "left open"),
        (plan.counts["gone"], "gone"),
    ]
    return ", ".join([line, *(f"{number(letters)} {word}" for letters, word in others if letters)])


def plan_text(plan: Plan, digest: str, *, mode: str, rate: float | None) -> str:
    """Write the plan as Markdown."""
    if not plan.letters:
        return (
            "## No letter is selected\n\nOnly letters that triage has entered can be corrected: run `dlq-triage`, or "
            "select others."
        )
    doing = (
        "This is a plan: nothing was changed, and nothing will be." if mode == "plan" else "This run carries it out."
    )
    terms = plan.terms
    rows = [
        (word, plan.counts[kind], 0, number(plan.counts[kind])) for kind, word in _SHORT.items() if plan.counts[kind]
    ]
    parts = [
        f"## {number(plan.publishes)} of {count(plan.letters, 'letter')} to publish",
        doing,
        bars("What becomes of the letters", rows),
        table(
            ["letters", "what becomes of them"],
            [[number(plan.counts[kind]), words] for kind, words in OUTCOMES.items() if plan.counts[kind]],
            left=2,
        ),
        _guard(plan),
        *_warnings(plan),
    ]
    if plan.rules:
        hits = [[name, letters] for name, letters in plan.rules.most_common(MOST_ROWS)]
        parts += ["### Which rules", table(["rule", "letters"], hits)]
    parts += _why_not(plan)
    if plan.topics:
        rows_of_topics = [[topic, _encoded(plan, topic), letters] for topic, letters in plan.topics.most_common()]
        parts += ["### Where they go", table(["topic", "schema id", "letters"], rows_of_topics, left=2)]
    parts += _samples(plan)
    parts.append(
        table(
            ["", ""],
            [
                ["digest of the rules", f"`{terms.rules}`" if terms.rules else "none: events go on as they are"],
                ["attempts before a letter is parked", number(terms.attempts)],
                ["estimated time", _estimate(plan, rate)],
                ["digest of the plan", f"`{digest}`"],
            ],
            left=2,
        )
    )
    return "\n\n".join(part for part in parts if part)


_SHORT = {
    "publish": "publish", "reject": "reject", "park": "park", "skip": "skip", "leave": "leave open", "gone": "gone",
}  # fmt: skip


def approval_text(plan: Plan, digest: str) -> str:
    """Say in a few lines what is to be approved."""
    return "\n\n".join(
        part
        for part in [
            f"**{headline(plan)}.**",
            _guard(plan),
            *_warnings(plan),
            f"The plan with all details is the artifact `{plan_key(JOB)}` of this run. You approve exactly that plan, "
            f"with the digest `{digest[:16]}…`; if anything of it has changed by the time the run goes on, it stops.",
        ]
        if part
    )


def _guard(plan: Plan) -> str:
    if not plan.overtaken:
        return "No letter is overtaken: of none has a newer event of its key passed on its main topic." * bool(
            plan.counts["publish"]
        )
    return (
        f"> **{count(plan.overtaken, 'letter')} overtaken:** a newer event of the key is on the main topic already, or "
        f"before them in the batch; "
        f"{_POLICY[plan.terms.policy]}."
    )


def _warnings(plan: Plan) -> list[str]:
    """Say what happens to events that are published, or not quite."""
    warnings = []
    if plan.doubles:
        warnings.append(
            f"> **{count(plan.doubles, 'letter')} of events that have another letter, too,** such as of a second "
            "consumer group, or of a consumer that died: each event is published once, from one of its letters."
        )
    if plan.diverted:
        warnings.append(
            f"> **{count(plan.diverted, 'letter')} left open:** the lanes of their keys are diverted, so that older "
            "events of these keys may wait in the standby store. Run `standby-replay` first."
        )
    if plan.deletions:
        warnings.append(
            f"> **{count(plan.deletions, 'event')} without a value:** tombstones, which delete what consumers and "
            "compacted topics have of their keys."
        )
    if plan.fading:
        warnings.append(
            f"> **{count(plan.fading, 'event')} older than their main topics keep** (`retention.ms`): Kafka deletes "
            "them again, soon after they are published. Consumers that are behind may miss them."
        )
    for topic, events in (+plan.stamped).items():
        warnings.append(
            f"> **{count(events, 'event')} for `{topic}`, whose brokers give events their time** (`LogAppendTime`): "
            "they do not keep the times that they had. Which event of a key is newer is told by `ce_time`; one without "
            "that counts by when it came, and one that a job has brought not at all."
        )
    for name, each in sorted(item for names in plan.elsewhere.values() for item in names.items()):
        warnings.append(
            f"> **Letters of `{name}` go to `{each.topic}`,** as what producers publish by that name does: they are "
            f"put right as events of `{name}`, and then taken there by "
            f"{f'the rules of {each.rules}' if each.rules else 'what Avro resolves'}."
        )
    if plan.on_two_clusters:
        warnings.append(
            f"> **{count(plan.on_two_clusters, 'letter')} of events that have a letter on another cluster, too:** each "
            "goes back to the cluster on which it stands. Where events are copied between clusters, or one consumer "
            "reads both, the event comes twice: select one cluster, and discard the letters of the other."
        )
    for topic, events in (+plan.several).items():
        warnings.append(
            f"> **{count(events, 'event')} for `{topic}`, which is on several clusters:** whether newer events of the "
            "keys have passed was looked up on the cluster of each letter alone. If another region has been active "
            "since then, newer ones may be there."
        )
    for reason, events in plan.refused.most_common():
        warnings.append(
            f"> **{count(events, 'event')} that brokers will refuse**, so that they go to the parking topic: {reason}."
        )
    return warnings


def _why_not(plan: Plan) -> list[str]:
    if not plan.reasons:
        return []
    rows = [
        [_SHORT[kind], reason, REASONS.get(reason, ""), letters]
        for (kind, reason), letters in plan.reasons.most_common(MOST_ROWS)
    ]
    parts = ["### Why not the others", table(["", "reason", "what it means", "letters"], rows, left=3)]
    details = [
        [_SHORT[kind], reason, detail, letters]
        for (kind, reason, detail), letters in plan.details.most_common(MOST_ROWS)
    ]
    if details:
        parts.append(table(["", "reason", "in detail", "letters"], details, left=3))
    return parts


def _samples(plan: Plan) -> list[str]:
    rows: list[list[object]] = []
    for sample in plan.samples[:MOST_ROWS]:
        rules = ", ".join(sample.rules)
        rows += [
            [
                f"`{sample.letter.short}`" if first else "",
                rules if first else "",
                f"`{change.path or '(value)'}`",
                change.before,
                change.after,
            ]
            for first, change in ((index == 0, change) for index, change in enumerate(sample.changes))
        ]
    if not rows:
        return []
    return ["### Before and after", table(["letter", "rule", "field", "before", "after"], rows, left=5)]


def _encoded(plan: Plan, topic: str) -> str:
    ids = {
        str(targets[topic])
        for cluster, targets in plan.targets.items()
        if topic in targets and topic not in plan.elsewhere.get(cluster, {})
    }
    ids |= {str(each.schema_id) for names in plan.elsewhere.values() for each in names.values() if each.topic == topic}
    return ", ".join(sorted(ids))


def _estimate(plan: Plan, rate: float | None) -> str:
    """Estimate by how long judging took, which is done again: reading, judging and publishing go side by side."""
    seconds = max(plan.seconds, plan.letters / rate if rate else 0.0)
    by = "the rate" if rate and plan.letters / rate > plan.seconds else "how long planning took"
    return f"{duration(seconds)} (by {by})"
