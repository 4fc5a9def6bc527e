"""Every error that Redrive raises on purpose, in one hierarchy.

An error carries the fields that name what it is about and builds its message from them; the message says
what happened, to which event, field, setting, topic or broker, and what to do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


class RedriveError(Exception):
    """The root: ``except RedriveError`` catches all that Redrive raises on purpose, and nothing else."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes whole: the message and the fields, without being built anew."""
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[RedriveError], args: tuple[Any, ...], fields: dict[str, Any]) -> RedriveError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(fields)
    return error


class InvalidEventError(RedriveError):
    """A value does not fit its schema.

    Attributes:
        topic: the topic the event was meant for.
        field: path of the offending field, such as ``order.items[2].price``; empty for the value itself.
        reason: what is wrong with it.
    """

    def __init__(self, topic: str, field: str, reason: str) -> None:
        self.topic, self.field, self.reason = topic, field, reason
        at = f"field {field!r}" if field else "the value"
        super().__init__(f"event for {topic}: {at} {reason}")


class WireFormatError(RedriveError):
    """Bytes that are not a magic byte, a schema id and exactly one Avro body.

    Attributes:
        reason: what is wrong with the bytes.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"not a Confluent-framed Avro event: {reason}")


class UnknownSchemaError(WireFormatError):
    """The registry does not know the schema id of an event, so that nothing can read it.

    Attributes:
        schema_id: the id in the event's frame.
        registry: the registry that was asked.
    """

    def __init__(self, schema_id: int, registry: str) -> None:
        self.schema_id, self.registry = schema_id, registry
        super().__init__(f"schema id {schema_id} is not in the registry {registry}; was it written with another one?")


class IncompatibleSchemaError(WireFormatError):
    """An event's schema can't be resolved to the schema that the reader asks for."""


class SchemaError(RedriveError):
    """A schema is missing, is not valid Avro, or can't be used here.

    Attributes:
        schema: its name: a subject, a file or an id.
        reason: what is wrong, and what to do.
    """

    def __init__(self, schema: str, reason: str) -> None:
        self.schema, self.reason = schema, reason
        super().__init__(f"schema {schema}: {reason}")


class SchemaInUseError(RedriveError):
    """A version of a schema may not be deleted, because something is still written with it.

    Attributes:
        subject: whose version it is.
        version: its number.
        uses: where it is in use, in words.
    """

    def __init__(self, subject: str, version: int, uses: Sequence[str]) -> None:
        self.subject, self.version, self.uses = subject, version, tuple(uses)
        super().__init__(f"{subject} version {version} stays, for it is in use: {'; '.join(uses)}")


class LetterFormatError(RedriveError):
    """A record on a dead-letter topic is not a dead letter as Redrive writes them.

    Attributes:
        reason: what is wrong with it.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"not a dead letter: {reason}")


class LetterIdError(RedriveError, ValueError):
    """A text is not the id of a dead letter.

    Attributes:
        text: the text.
        reason: what is wrong with it.
    """

    def __init__(self, text: str, reason: str) -> None:
        self.text, self.reason = text, reason
        super().__init__(f"letter {text!r} {reason}; write it like dlq.flights/2/4711, or east:dlq.flights/2/4711")


class UnknownLetterError(RedriveError):
    """The ledger has no such dead letter, or has it on more than one cluster.

    Attributes:
        letter: the letter's id.
        clusters: those that have it.
    """

    def __init__(self, letter: str, clusters: tuple[str, ...] = ()) -> None:
        self.letter, self.clusters = letter, clusters
        if clusters:
            super().__init__(f"letter {letter} is on {' and '.join(clusters)}; write {clusters[0]}:{letter}")
        else:
            super().__init__(f"letter {letter} is not in the ledger; `redrive run dlq-triage` enters what is new")


class UncorrectableLetterError(RedriveError):
    """A dead letter can't be corrected as it is asked for.

    Attributes:
        letter: the letter's id.
        reason: why, and what to do instead.
    """

    def __init__(self, letter: str, reason: str) -> None:
        self.letter, self.reason = letter, reason
        super().__init__(f"letter {letter} can't be corrected: {reason}")


class StaleTriageError(RedriveError):
    """Another triage has got further in a partition; nothing of this batch was recorded, and all of it may be there.

    Attributes:
        partition: such as ``local:dlq.flights/2``.
        begin: the offset at which the batch begins; None: at the partition's first triage.
        position: the offset that the ledger has.
    """

    def __init__(self, partition: str, begin: int | None, position: int | None) -> None:
        self.partition, self.begin, self.position = partition, begin, position
        super().__init__(
            f"{partition} is triaged up to {'nowhere' if position is None else position}, and this batch begins at "
            f"{'the first triage' if begin is None else begin}; read the positions again and go on from there"
        )


class StalePlanError(RedriveError):
    """What a plan was made from has changed since then: it must not be carried out.

    Attributes:
        moved: what has changed.
    """

    def __init__(self, moved: str) -> None:
        self.moved = moved
        super().__init__(f"the plan is stale: {moved}; nothing of it is carried out any more; make a new one")


class RuleMistake(RedriveError):  # noqa: N818 - one of many that `RulesError` carries
    """One mistake in a file of rules.

    Attributes:
        file: the file.
        line: from 1; 0 if it is about the file as a whole.
        column: from 1; 0 likewise.
        at: what it is about, such as ``rules[2].do[0].path``; empty for the whole file.
        reason: what is wrong, and what to write instead.
    """

    def __init__(self, file: str, line: int, column: int, at: str, reason: str) -> None:
        self.file, self.line, self.column, self.at, self.reason = file, line, column, at, reason
        place = f"{file}:{line}:{column}" if line else file
        super().__init__(f"{place}: {at + ': ' if at else ''}{reason}")


class RulesError(RedriveError):
    """A file of rules can't be used.

    Attributes:
        file: the file.
        mistakes: every mistake found, in the order of the lines.
    """

    def __init__(self, file: str, mistakes: Sequence[RuleMistake]) -> None:
        self.file, self.mistakes = file, tuple(mistakes)
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


class ConfigError(RedriveError):
    """A setting is missing or wrong.

    Attributes:
        setting: its dotted name, such as ``domains.orders.cluster``.
        reason: what is wrong, and what to write instead.
        where: file and line, if known.
    """

    def __init__(self, setting: str, reason: str, where: str = "") -> None:
        self.setting, self.reason, self.where = setting, reason, where
        super().__init__(f"{where + ': ' if where else ''}{setting}: {reason}")


class UnavailableError(RedriveError):
    """A system that is needed does not answer in time; trying again later is right.

    Attributes:
        system: which one, such as ``registry http://127.0.0.1:8081``.
        reason: what was tried and what came back.
    """

    def __init__(self, system: str, reason: str) -> None:
        self.system, self.reason = system, reason
        super().__init__(f"{system} is unavailable: {reason}")


class PublishError(RedriveError):
    """An event was not acknowledged: neither Kafka nor the standby store has confirmed it.

    It may still arrive once (a request can be on its way); publishing it again with the same ``event_id``
    lets consumers tell.

    Attributes:
        event_id: the event.
        topic: where it was meant to go.
        reason: what both paths said.
    """

    def __init__(self, event_id: str, topic: str, reason: str) -> None:
        self.event_id, self.topic, self.reason = event_id, topic, reason
        super().__init__(f"event {event_id} for {topic} is not acknowledged: {reason}")


class BackPressureError(RedriveError):
    """The producer holds as many unacknowledged events as it may; nothing was accepted.

    Attributes:
        events: how many it holds.
        bytes: how many bytes of keys and values they are.
        waited: seconds that the call waited for room.
    """

    def __init__(self, events: int, bytes: int, waited: float) -> None:
        self.events, self.bytes, self.waited = events, bytes, waited
        super().__init__(
            f"no room for another event after {waited:.1f} s: {events:,} events ({bytes:,} bytes) wait for Kafka or "
            "the standby store; slow down, or raise max_unacknowledged or max_unacknowledged_bytes"
        )


class FencedError(RedriveError):
    """A newer run of the same unit has taken over; this one has stopped and changed nothing after that.

    Attributes:
        unit: the unit's name.
    """

    def __init__(self, unit: str) -> None:
        self.unit = unit
        super().__init__(f"{unit}: a newer run has taken over this unit; this one stops. Look for the other run.")


class HeldError(RedriveError):
    """Another running operation holds what this one needs.

    Attributes:
        resource: what is held, such as ``local/flights.departed``.
        holder: the name and id of the other operation.
    """

    def __init__(self, resource: str, holder: str) -> None:
        self.resource, self.holder = resource, holder
        super().__init__(f"{resource} is held by {holder}; wait for it to end or cancel it, then start again")


class UnknownOperationError(RedriveError):
    """The ledger has no such operation, or more than one that it could be.

    Attributes:
        operation_id: what was asked for.
        found: ``none`` or ``several``.
    """

    def __init__(self, operation_id: str, found: str) -> None:
        self.operation_id, self.found = operation_id, found
        way_out = "see `redrive operations list`" if found == "none" else "give more letters of its id"
        super().__init__(f"operation {operation_id!r}: the ledger knows {found}; {way_out}")


class RefusedByClusterError(RedriveError):
    """A cluster answers, and says no to a request of its administrator.

    Attributes:
        cluster: its name and bootstrap servers.
        doing: what was asked, such as ``creating topic orders``.
        reason: what the cluster said.
    """

    def __init__(self, cluster: str, doing: str, reason: str) -> None:
        self.cluster, self.doing, self.reason = cluster, doing, reason
        super().__init__(f"{cluster} refuses {doing}: {reason}")


class StoppedError(RedriveError):
    """The work was asked to stop and did so, at a clean cursor; starting it again goes on from there."""


class UnknownTopicError(RedriveError):
    """A topic does not exist on the cluster, or this principal may not see it.

    Attributes:
        topic: its name.
        cluster: the cluster's bootstrap servers.
    """

    def __init__(self, topic: str, cluster: str) -> None:
        self.topic, self.cluster = topic, cluster
        super().__init__(
            f"topic {topic!r} is not known at {cluster}: create it, or allow this principal to describe it"
        )


class RefusedError(RedriveError):
    """The cluster refused some events of a chunk for good; nothing of the chunk was published.

    Attributes:
        refused: index in the chunk → why, such as ``MSG_SIZE_TOO_LARGE: …``.
    """

    def __init__(self, refused: dict[int, str]) -> None:
        self.refused = refused
        at, reason = next(iter(refused.items()))
        super().__init__(f"the cluster refuses {len(refused)} events of the chunk; the first, number {at}: {reason}")


class OvertakenError(RedriveError):
    """Some events of a chunk must not be published as they are now; nothing of the chunk was.

    Attributes:
        changed: index in the chunk → the event to be published in its stead, or why there is none
            (`redrive.pump.model.Skipped`).
        aborted: whether it was found out by a transaction that was written for nothing: the shorter, the likelier the
            next one holds.
    """

    def __init__(self, changed: Mapping[int, Any], *, aborted: bool = False) -> None:
        self.changed, self.aborted = changed, aborted
        super().__init__(f"{len(changed)} events of the chunk must not be published as they are")


class UnparkableError(RedriveError):
    """Neither its topic nor the parking topic takes an event; the unit stopped before it and lost nothing.

    Attributes:
        event_id: the event.
        origin: where it was read from, and still is.
        topic: the parking topic.
        reason: what the parking topic said.
    """

    def __init__(self, event_id: str, origin: str, topic: str, reason: str) -> None:
        self.event_id, self.origin, self.topic, self.reason = event_id, origin, topic, reason
        super().__init__(
            f"event {event_id} ({origin}) can't be parked in {topic}: {reason}; "
            "raise max.message.bytes of that topic, then start the unit again"
        )


class CheckpointError(RedriveError):
    """A unit's checkpoint can't be read by this version of Redrive.

    Attributes:
        reason: what is wrong with it.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the checkpoint can't be used: {reason}")


class GoalError(RedriveError):
    """No plan can be made for what is asked of a cluster's partitions.

    Attributes:
        setting: the field of the goal that is wrong, such as ``brokers``.
        reason: what is wrong with it, by name, and what to ask for instead.
    """

    def __init__(self, setting: str, reason: str) -> None:
        self.setting, self.reason = setting, reason
        super().__init__(f"{setting}: {reason}")


def at_least_in_mb(rate: int) -> str:
    """Write a least rate, given in bytes a second, as MB a second: rounded up, so that it will do."""
    return f"{math.ceil(rate / 1e4) / 100:,.2f}"


class ThrottleTooLowError(RedriveError):
    """At this rate moving partitions can never catch up with what producers write to them.

    Attributes:
        rate: bytes a second, as asked for.
        broker: the broker that needs most.
        needed: bytes a second that replication of the moving partitions takes there with nothing caught up.
        least: the least rate that would do.
    """

    def __init__(self, rate: int, broker: int, needed: float, least: int) -> None:
        self.rate, self.broker, self.needed, self.least = rate, broker, needed, least
        super().__init__(
            f"a throttle of {rate / 1e6:,.2f} MB/s can't converge: new events of the partitions that move take "
            f"{needed / 1e6:,.2f} MB/s of it on broker {broker}; give at least {at_least_in_mb(least)} MB/s, or move "
            "fewer at a time"
        )


class OtherMigrationError(RedriveError):
    """A topic was begun to be filled with other rules, or for another schema, than those asked for now.

    Attributes:
        source: the topic that is copied.
        target: the topic that is being filled.
    """

    def __init__(self, source: str, target: str, *, back: bool = False) -> None:
        """Make it; with ``back`` for events that go back to the topic that was copied, which nobody may give up."""
        self.source, self.target = source, target
        if back:
            super().__init__(
                f"events of {source} began to be brought back to {target} by other rules, or for another schema, and "
                "that can't be changed any more: go on with the file and the schema as they were then"
            )
            return
        super().__init__(
            f"topic {target} was begun to be filled from {source} with other rules, or for another schema, and that "
            "can't be changed any more: go on with those; or fill a topic of another name; or, if nobody uses what has "
            "been filled and it holds nothing but copies, begin anew after `redrive backfill abandon "
            f"{source} {target}`, which deletes {target}"
        )


class GroupInUseError(RedriveError):
    """A consumer group has members, so that nobody else can set its offsets.

    Attributes:
        group: its id.
    """

    def __init__(self, group: str) -> None:
        self.group = group
        super().__init__(f"consumer group {group} has members: stop its consumers, then try again")


class PartitionsChangedError(RedriveError):
    """A topic has got more partitions while it was copied: keys are elsewhere from there on.

    Attributes:
        topic: its name.
        before: how many it had.
        now: how many it has.
    """

    def __init__(self, topic: str, before: int, now: int) -> None:
        self.topic, self.before, self.now = topic, before, now
        super().__init__(
            f"topic {topic} has {now} partitions now, and had {before} when it was begun to be copied: what comes to "
            "the new ones is not copied. Begin anew with a target of another name; or, if nobody has moved to this one "
            "yet, give it up first (`redrive backfill abandon`)"
        )


class FleetError(RedriveError):
    """What runs a cluster's brokers can't tell their load, or can't add any.

    Attributes:
        fleet: the setting or the system that it is about, such as ``clusters.local.fleet.add``.
        reason: what went wrong, and what to do.
    """

    def __init__(self, fleet: str, reason: str) -> None:
        self.fleet, self.reason = fleet, reason
        super().__init__(f"{fleet}: {reason}")


class FedBackError(RedriveError):
    """A backfill can't be abandoned: events that were published to its target have been brought to the source.

    The next backfill would take them for its own, and leave them out.

    Attributes:
        source: the topic that was copied.
        target: the topic that was filled.
    """

    def __init__(self, source: str, target: str) -> None:
        self.source, self.target = source, target
        super().__init__(
            f"{source} holds events that were published to {target} and fed back: another backfill into {target} would "
            "leave them out; begin one into a topic of another name instead"
        )


class OthersEventsError(RedriveError):
    """A backfill can't be abandoned: its target holds events that are nowhere else.

    Attributes:
        target: the topic that was filled.
        partition: where the first of them is.
        offset: where it is in that.
    """

    def __init__(self, source: str, target: str, partition: int, offset: int) -> None:
        self.target, self.partition, self.offset = target, partition, offset
        super().__init__(
            f"{target} is not deleted: it holds events that have not come from {source}, the first at partition "
            f"{partition}, offset {offset}. If it is the right topic, producers have published to it: begin a backfill "
            "into a topic of another name, and delete this one by hand once nobody needs what it holds"
        )


class SwitchedError(RedriveError):
    """A backfill can't be abandoned: producers publish to its target.

    Attributes:
        source: the topic whose name they publish by.
        target: the topic that gets it.
    """

    def __init__(self, source: str, target: str) -> None:
        self.source, self.target = source, target
        super().__init__(
            f"what is published by the name {source} goes to {target}: take producers back first (`redrive run "
            f"schema-backfill {source} {target} --goal switch_back`), or events would be lost"
        )


class SwitchedBackError(RedriveError):
    """A backfill can't be abandoned: producers were switched to its target and back, and consumers with them.

    Consumers that run know their places in the target, and would take those of another topic by that name for them.

    Attributes:
        source: the topic whose name producers publish by.
        target: the topic that got it.
    """

    def __init__(self, source: str, target: str) -> None:
        self.source, self.target = source, target
        super().__init__(
            f"producers of {source} were switched to {target} and back, and consumers that followed go by their places "
            f"in {target}: begin another backfill into a topic of another name, and delete {target} by hand when "
            "nobody consumes it any more"
        )


class LateGroupsError(RedriveError):
    """Producers can't be switched yet: consumer groups are still on their way after the last switch.

    Attributes:
        groups: by id: how many offsets they are behind, whether they are consuming or stopped, in which partitions.
    """

    def __init__(self, name: str, left: str, current: str, groups: Mapping[str, tuple[int, str, list[int]]]) -> None:
        self.groups = dict(groups)
        each = ", ".join(
            f"{group} ({state}; {events:,} behind in {left}, partition {', '.join(map(str, partitions[:5]))}"
            f"{', …' if len(partitions) > 5 else ''})"
            for group, (events, state, partitions) in list(self.groups.items())[:5]
        )
        more = f" and {len(self.groups) - 5} more" if len(self.groups) > 5 else ""
        names = " ".join(f"--may-lag {group}" for group in list(self.groups)[:5])
        super().__init__(
            f"not switched: consumer groups have not come from {left} to {current} yet, and would handle events twice: "
            f"{each}{more}. Start their consumers, with successors ({{'{name}': …}}), and let them catch up; then run "
            f"this again. For groups that follow no switch, or that nobody runs any more: {names}"
        )


class StrandedGroupsError(RedriveError):
    """Producers are not switched: consumer groups that follow them could not be told where to go on.

    Attributes:
        groups: those that have a place in the topic that would be left.
        reason: why there is no telling.
    """

    def __init__(self, left: str, current: str, groups: Sequence[str], reason: str, goal: str) -> None:
        self.groups, self.reason = tuple(groups), reason
        more = f" and {len(groups) - 5} more" if len(groups) > 5 else ""
        names = " ".join(f"--may-lag {group}" for group in groups[:5])
        super().__init__(
            f"not switched: consumer groups could not follow from {left} to {current}, and would get nothing more: "
            f"{', '.join(groups[:5])}{more}. Whoever stands where {left} has been copied to: {reason}. Run the goal "
            f"{goal}, then this one again. For groups that follow no switch, or that nobody runs any more: {names}"
        )


class CopyTooSlowError(RedriveError):
    """Producers can't be switched: the copy does not come near to the end of the topic that they publish to.

    Attributes:
        source: the topic.
        target: the one that it is copied to.
        turns: seconds that the last turns took, each of which has copied what came in the one before.
    """

    def __init__(self, source: str, target: str, turns: Sequence[float]) -> None:
        self.source, self.target, self.turns = source, target, tuple(turns)
        super().__init__(
            f"events come to {source} about as fast as they are copied to {target}: what came in one turn took "
            f"{', '.join(f'{seconds:.0f}' for seconds in turns)} s to copy in the next. Producers are not switched "
            "before it has caught up: allow a higher rate, or more partitions at the same time, or run it again at a "
            "quieter hour"
        )


class TopicCutError(RedriveError):
    """A partition ends before the place where reading is to go on.

    Attributes:
        topic: the topic.
        partition: the partition.
        end: where it ends.
        at: where reading is to go on.
    """

    def __init__(self, topic: str, partition: int, end: int, at: int) -> None:
        self.topic, self.partition, self.end, self.at = topic, partition, end, at
        super().__init__(
            f"partition {partition} of {topic} ends at {end}, and was read up to {at} before: the topic was deleted "
            "and made again, or an unclean election has cut it; nothing can go on from there. A backfill begins anew "
            "after `redrive backfill abandon`"
        )
