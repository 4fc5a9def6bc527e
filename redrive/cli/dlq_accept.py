"""``redrive dlq accept``."""

from __future__ import annotations

from typing import Annotated

import typer

from redrive.cli.giving_up import ask, see_that_it_is_said, show_end
from redrive.cli.ledger import open_ledger
from redrive.cli.output import Json, show_table
from redrive.config import Config
from redrive.errors import ConfigError
from redrive.person import person


def accept(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="The dead-letter topic.")],
    reason: Annotated[str, typer.Option("--reason", help="What has happened to it; goes into the journal.")],
    cluster: Annotated[
        str | None, typer.Option("--cluster", help="Its cluster, if the settings have it on several.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask; for programs.")] = False,
    json: Json = False,
) -> None:
    """Accept that a dead-letter topic was made anew, or has lost its end: triage reads it again, from there on.

    Triage leaves such partitions alone, since letters stand there where the ledger has others. The letters that were
    there are given up, for good, but for those that were parked and whose copies are there. A rejected letter that
    still stands is open again if the one that it was to live on as is gone unread. The new ones have ids such as
    dlq.flights@2/0/17.
    """
    from redrive.deadletters.accepting import Accept

    see_that_it_is_said("--reason", reason, "what has happened to the topic")
    config = Config.load()
    settings = config.topic(topic)
    if not settings.dead_letters:
        raise ConfigError(f"topics.{topic}", "holds no dead letters, by the settings")
    if cluster is None and len(settings.clusters) > 1:
        raise ConfigError("--cluster", f"is needed: {topic} is on {', '.join(settings.clusters)}")
    if cluster is not None and cluster not in settings.clusters:
        raise ConfigError("--cluster", f"is {cluster}, and {topic} is on {', '.join(settings.clusters)}")
    with open_ledger() as ledger:
        found = Accept.look(config, ledger, cluster or settings.cluster, topic)
        if not found.anew:
            show_end(
                f"{topic} is what triage has read: there is nothing to accept.",
                None,
                0,
                json=json,
                more={"reopened": 0},
            )
            return
        if not json:
            rows = ((each.partition, each.known_as, each.begin) for each in found.anew)
            show_table(
                ("partition", "was read as", "is another from offset"), rows, numbers=("is another from offset",)
            )
        ask(f"Accept that, and give up {found.lost:,} letters that are gone with what was there?", yes=yes)
        done = found.carry_out(person(), reason)
    reopened = f", {done.reopened:,} rejected ones open again" if done.reopened else ""
    line = f"Accepted; {done.letters:,} letters given up{reopened}, by operation {done.operation}."
    line += " Next: redrive run dlq-triage"
    show_end(line, done.operation, done.letters, json=json, more={"reopened": done.reopened})
