"""Judging letters in other processes, so that it takes no time of the one that reads and writes Kafka."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from redrive.avro.schema import AvroSchema
from redrive.coding import Reader, Schemas, Writer
from redrive.deadletters.dialects import Record
from redrive.deadletters.judging.judge import Decision, Judge, Piece
from redrive.deadletters.judging.targets import MovedWriter, Targets
from redrive.errors import StalePlanError
from redrive.pump.workers import Workers
from redrive.rules import Direction, RuleFile, RuleSet

if TYPE_CHECKING:
    from redrive.aliases.alias import Alias


class JudgeElsewhere:
    """Judges as `Judge` does, in other processes; see `redrive.deadletters.judging.judge.Judging`.

    Args:
        workers: the processes.
        rules: see `Judge`, likewise ``targets``, ``attempts`` and ``insisted``.
        registry: what a client of the registry needs, for values written by schemas that a process has not seen yet.

    Raises, beside what `Judge` does:
        StalePlanError: a function that the rules name is no longer what it was when they were read.
    """

    def __init__(
        self,
        workers: Workers,
        rules: RuleSet | None,
        targets: Targets,
        registry: Mapping[str, Any],
        *,
        attempts: int,
        insisted: bool = False,
    ) -> None:
        self._workers = workers
        spec = _Spec(
            rules=rules.file if rules else None,
            digest=rules.digest if rules else "",
            targets={
                topic: target if isinstance(target, str) else (target.schema_id, target.version, target.schema)
                for topic, target in targets.items()
            },
            aliases={topic: target.alias for topic, target in targets.items() if isinstance(target, MovedWriter)},
            registry=dict(registry),
            attempts=attempts,
            insisted=insisted,
        )
        self._spec = pickle.dumps(spec)
        workers.warm_up(judge_batch, self._spec, _encode(_Batch("", [])))

    def judged(self, pieces: Iterable[Piece], origins: str) -> Iterator[tuple[Piece, Iterable[Decision]]]:
        """Judge pieces, some of them ahead."""

        def pack(piece: Piece) -> bytes:
            return _encode(_Batch(origins, [record for record in piece if isinstance(record, Record)]))

        for piece, decisions in self._workers.map(judge_batch, self._spec, pieces, pack):
            yield piece, _decisions.decode(decisions)


def judge_batch(spec: bytes, batch: bytes) -> bytes:
    """Judge a batch of letters, as `Judge` does; gives their decisions. For `Workers.map`."""
    judge, given = _judge(spec), _batches.decode(batch)
    judgements = (judge.judge(record, given.origins % record.offset) for record in given.records)
    # Without what only people look at.
    return _encode([Decision(made.kind, made.reason, made.rules, made.event) for made in judgements])


@dataclass(frozen=True, slots=True)
class _Spec:
    """What a judge is made of, in a form that travels."""

    rules: RuleFile | Direction | None
    digest: str
    targets: dict[str, tuple[int, int, AvroSchema] | str]
    aliases: dict[str, Alias]
    registry: dict[str, Any]
    attempts: int
    insisted: bool

    def judge(self) -> Judge:
        registry = _LateRegistry(self.registry)
        targets = {topic: self._target(topic, given, registry) for topic, given in self.targets.items()}
        reader = Reader(registry, None)
        return Judge(self._rules(), targets, reader, attempts=self.attempts, insisted=self.insisted)

    def _target(self, topic: str, given: tuple[int, int, AvroSchema] | str, registry: _LateRegistry) -> Writer | str:
        if isinstance(given, str):
            return given
        writer, alias = Writer(topic, *given), self.aliases.get(topic)
        if alias is None:
            return writer
        from redrive.aliases.destination import Moved  # slow to import

        return MovedWriter(writer, alias, Moved(alias, registry.schema, {writer.schema_id: writer.schema}))

    def _rules(self) -> RuleSet | None:
        if self.rules is None:
            return None
        try:
            rules = RuleSet(self.rules)
        except ValueError as error:
            raise StalePlanError(f"the rules can't be read any more: {error}") from error
        if rules.digest != self.digest:
            raise StalePlanError("a function that the rules name has changed")
        return rules


class _LateRegistry:
    """Connects when the first schema is asked for: values of letters that Redrive has written mostly are no frames."""

    def __init__(self, client_config: Mapping[str, Any]) -> None:
        self._client_config = client_config

    def schema(self, schema_id: int) -> AvroSchema:
        return self._registry.schema(schema_id)

    @cached_property
    def _registry(self) -> Schemas:
        from redrive.schemas import SchemaRegistry  # slow to import

        return SchemaRegistry(self._client_config)


class _Batch(msgspec.Struct, array_like=True):
    origins: str
    records: list[Record]


_encode = msgspec.msgpack.Encoder().encode
_batches = msgspec.msgpack.Decoder(_Batch)
_decisions = msgspec.msgpack.Decoder(list[Decision])


@lru_cache(maxsize=8)
def _judge(spec: bytes) -> Judge:
    made: _Spec = pickle.loads(spec)
    return made.judge()
