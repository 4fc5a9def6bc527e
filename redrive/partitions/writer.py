"""`PartitionWriter`: the few orders that move partitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kafka import TopicPartition
from kafka.admin import AlterConfigOp, ConfigResource
from kafka.errors import ElectionNotNeededError, NoReassignmentInProgressError, for_code

from redrive.errors import RefusedByClusterError, UnavailableError
from redrive.partitions.connection import BROKER_PATIENCE
from redrive.partitions.reader import PartitionReader, kafka_kind, why
from redrive.partitions.state import Key, Resource

_PREFERRED = 0
_OK = "OK"


class PartitionWriter(PartitionReader):
    """Reads, and gives orders. Each order may be given twice; what Kafka refuses of one is told part by part."""

    def reassign(self, replicas: Mapping[Key, tuple[int, ...]]) -> dict[Key, str]:
        """Order new replicas for partitions, over an order that may be under way; give why each refused one was.

        Returns when the orders are taken, not when they are carried out.
        """
        return self._alter(
            "reassigning partitions", {TopicPartition(*key): list(after) for key, after in replicas.items()}
        )

    def cancel(self, partitions: Iterable[Key]) -> dict[Key, str]:
        """Cancel reassignments that are under way; give why each refused one was.

        The partitions have their old replicas again, though not always in the old order.
        """
        refused = self._alter("cancelling reassignments", {TopicPartition(*key): None for key in partitions})
        return {key: reason for key, reason in refused.items() if reason != NoReassignmentInProgressError.__name__}

    def elect_preferred(self, partitions: Iterable[Key]) -> dict[Key, str]:
        """Have the first replica of each partition elected its leader; give why each refused one was."""
        wanted: dict[str, list[int]] = {}
        for topic, number in partitions:
            wanted.setdefault(topic, []).append(number)
        if not wanted:
            return {}

        def order(admin: Any) -> Any:
            return admin.elect_leaders(_PREFERRED, wanted, raise_errors=False)

        answer = self._connection.ask("electing preferred leaders", order)
        if answer.error_code:
            raise self._refused("electing preferred leaders", answer.error_code)
        return {
            (topic.topic, one.partition_id): for_code(one.error_code).__name__
            for topic in answer.replica_election_results
            for one in topic.partition_result
            if one.error_code not in (0, ElectionNotNeededError.errno)
        }

    def configure(
        self, changes: Mapping[Resource, Mapping[str, str | None]]
    ) -> dict[Resource, RefusedByClusterError | UnavailableError]:
        """Set settings, or take them away (None); all others stay. Give why those of a resource were not.

        A broker is asked itself, and may not answer; that keeps no other's from being set.
        """
        refused: dict[Resource, RefusedByClusterError | UnavailableError] = {}
        topics = {resource: change for resource, change in changes.items() if resource.kind == "topic"}
        if topics:
            refused |= self._configure(topics)
        for resource, change in changes.items():
            if resource.kind == "broker":
                try:
                    refused |= self._configure({resource: change}, patience=BROKER_PATIENCE)
                except (UnavailableError, RefusedByClusterError) as error:
                    refused[resource] = error
        return refused

    def _configure(
        self, changes: Mapping[Resource, Mapping[str, str | None]], **how: float
    ) -> dict[Resource, RefusedByClusterError | UnavailableError]:
        asked = [
            ConfigResource(
                kafka_kind(resource),
                resource.name,
                {
                    name: (AlterConfigOp.DELETE if value is None else AlterConfigOp.SET, value)
                    for name, value in change.items()
                },
            )
            for resource, change in changes.items()
        ]

        def order(admin: Any) -> Any:
            return admin.alter_configs(asked, raise_on_unknown=False, incremental=True)

        answer = self._connection.ask("changing settings", order, **how)
        said = {resource: str(answer[resource.kind][resource.name]) for resource in changes}
        return {
            resource: RefusedByClusterError(self._connection.named, f"changing settings of {resource}", text)
            for resource, text in said.items()
            if text != _OK
        }

    def _alter(self, doing: str, orders: Mapping[Any, list[int] | None]) -> dict[Key, str]:
        if not orders:
            return {}
        answer = self._connection.ask(doing, lambda admin: admin.alter_partition_reassignments(dict(orders)))
        return {(where.topic, where.partition): why(error) for where, error in answer.items() if error is not None}
