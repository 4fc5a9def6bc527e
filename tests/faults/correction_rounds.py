"""Rounds of corrections that are killed: letters of all kinds, lives, and the judgement of what came of it."""

from __future__ import annotations

import ast
import json
import os
import random
import signal
import sqlite3
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from confluent_kafka import Message, Producer

from redrive.config import Config
from redrive.deadletters.correction.batch import unit_name
from redrive.deadletters.letter import letter_of_bytes, letter_of_value
from redrive.deadletters.letter_id import LetterId
from redrive.deadletters.selection import Selection
from redrive.deadletters.triage import triage
from redrive.ledger import Ledger
from redrive.pump.names import PARKING_TOPIC
from redrive.pump.readback import scan
from redrive.pump.sink import TransactionalSink
from redrive.schemas import SchemaRegistry
from redrive.topics import apply_topics
from tests.faults.correcting import JOB, RULES, Life, correct_batch
from tests.faults.processes import _context
from tests.stack.platform import ORDER

DLQ_PARTITIONS = 3
ATTEMPTS = 3
PATIENCE = 120.0
"""Seconds that one life may take, on a busy machine."""

KINDS = {"good": 12, "reject": 2, "park": 1, "skip": 2, "hold": 2, "left": 1, "broken": 1}
"""Kinds of letters, and how many of each there are among 21."""
FATES = {"good": "published", "reject": "rejected", "park": "parked", "skip": "skipped", "hold": "held"}
"""What becomes of each kind; of the others nothing does."""


@dataclass(frozen=True)
class Sent:
    """A letter of a round."""

    id: str
    key: str
    number: int
    kind: str


class Ward:
    """Topics of a round's own with dead letters in them, triaged into a ledger of its own.

    Attributes:
        sent: event id → letter.
        folder: settings, rules, journals and logs.
    """

    def __init__(
        self,
        endpoints: Any,
        folder: Path,
        *,
        letters: int = 400,
        seed: int = 0,
        ledger: str = "",
        kinds: Mapping[str, int] = KINDS,
        triaged: bool = True,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = uuid.uuid4().hex[:8]
        self.folder, self.bootstrap = folder, endpoints.bootstrap
        self.client = {"bootstrap.servers": endpoints.bootstrap}
        self.orders, self.dead_letters = f"orders-{name}", f"dlq.orders-{name}"
        (folder / "order.avsc").write_text(json.dumps(ORDER))
        (folder / "rules.yaml").write_text(RULES)
        self.config_file = folder / "redrive.toml"
        self.config_file.write_text(f"""\
[standby]
table = "standby-{name}"
endpoint = "{endpoints.dynamodb}"
[registry]
url = "{endpoints.registry}"
[clusters.one]
bootstrap = "{endpoints.bootstrap}"
[domains.sales]
cluster = "one"
[topics."{self.orders}"]
domain = "sales"
partitions = 2
schema = "order.avsc"
[topics."{self.dead_letters}"]
domain = "sales"
partitions = {DLQ_PARTITIONS}
[ledger]
url = "{ledger or "sqlite:///ledger.db"}"
[corrections]
approval = "none"
attempts = {ATTEMPTS}
""")
        self.config = Config.load(self.config_file)
        failed = [change for change in apply_topics(self.config) if change.outcome == "failed"]
        assert not failed, failed
        self.sent = self._send(letters, random.Random(seed), kinds)
        if triaged:
            self.triage()

    def triage(self) -> None:
        """Enter all letters in the ledger."""
        with Ledger.open(self.config.ledger_url()) as opened:
            operation = opened.begin("dlq-triage", "run", cluster="one", resources=[], who="tests", parameters={})
            found = triage(self.client, "one", self.dead_letters, opened.letters, operation)
            operation.finish("done")
        assert found.new == len(self.sent)

    def _send(self, letters: int, chance: random.Random, kind_weights: Mapping[str, int]) -> dict[str, Sent]:
        writer = SchemaRegistry(self.config.registry_client_config()).writer(self.orders)
        now = time.time_ns() // 1_000_000
        kinds = chance.choices(list(kind_weights), list(kind_weights.values()), k=letters)
        sent = {}
        producer = Producer(self.client | {"acks": "all", "partitioner": "murmur2_random"})
        for late in range(3):
            value = writer.encode({"id": -1, "note": "newer"})
            producer.produce(self.orders, value, f"late-{late}", timestamp=now + 60_000, headers=[("ce_id", b"newer")])
        for number, kind in enumerate(kinds):
            key = f"late-{number % 3}" if kind == "hold" else f"key-{chance.randrange(12)}"
            letter = Sent(f"{self.dead_letters}-{number}", key, number, kind)
            sent[letter.id] = letter
            attempt = ATTEMPTS - 1 if kind == "park" else 0
            headers = [("ce_id", letter.id.encode()), ("redrive-attempt", b"%d" % attempt)]
            about: dict[str, Any] = {
                "event_id": letter.id, "key": key.encode(), "headers": headers, "topic": self.orders,
                "reason": "invalid-value", "detail": "", "producer": "orders", "timestamp": now + number,
            }  # fmt: skip
            if kind == "broken":
                event = letter_of_bytes(self.dead_letters, value=b"\x01 no frame", **about)
            else:
                event = letter_of_value(self.dead_letters, value=_value(letter), **about)
            producer.produce(event.topic, event.value, event.key, headers=event.headers, timestamp=event.timestamp)
            producer.poll(0)
        assert producer.flush(30) == 0
        return sent

    # -- lives -------------------------------------------------------------------------------------------------------

    def start(self, operation: str, program: Callable[[Life], None] = correct_batch, **more: Any) -> Living:
        """Start a life of an operation."""
        number = len(list(self.folder.glob(f"{operation}.*.journal"))) + 1
        life = Life(f"{operation}.{number}", self.folder, self.config_file, operation, **more)
        (self.folder / f"{life.name}.journal").touch()
        process = _context.Process(target=program, args=(life,), daemon=True)
        process.start()
        return Living(life, process)

    def live(self, operation: str, program: Callable[[Life], None] = correct_batch, **more: Any) -> Living:
        """Run a life to its end, whichever that is."""
        living = self.start(operation, program, **more)
        living.wait()
        return living

    # -- what is lost of what it has written down ----------------------------------------------------------------------

    def back_up(self) -> Path:
        """Copy the ledger, which is a SQLite file."""
        copy = self.folder / "backup.db"
        with closing(sqlite3.connect(self.folder / "ledger.db")) as there, closing(sqlite3.connect(copy)) as here:
            there.backup(here)
        return copy

    def restore(self, backup: Path) -> None:
        """Put a copy in the place of the ledger."""
        for file in self.folder.glob("ledger.db*"):
            file.unlink()
        backup.rename(self.folder / "ledger.db")

    def forget_cursors(self) -> None:
        """Take the units' cursors away."""
        for partition in range(DLQ_PARTITIONS):
            sink = TransactionalSink(self.client, unit_name("one", self.dead_letters, partition))
            sink.start()
            sink.forget()
            sink.close()

    # -- judgement ---------------------------------------------------------------------------------------------------

    def violations(self) -> list[str]:
        """Say what is not as it must be, once all is done."""
        wrong: list[str] = []
        letters = self.read(self.dead_letters)
        first, again = self._by_attempt(letters)
        orders = self.read(self.orders)
        parked = [message for message in self.read(PARKING_TOPIC) if _id(message) in self.sent]
        written = {"published": orders, "rejected": again, "parked": parked}
        places: dict[str, tuple[str, tuple[Any, ...]]] = {}
        for fate, messages in written.items():
            counted = Counter(_id(message) for message in messages if _id(message) in self.sent)
            expected = {letter.id for letter in self.sent.values() if FATES.get(letter.kind) == fate}
            wrong += [f"{fate} twice: {each} ({times})" for each, times in counted.items() if times > 1]
            wrong += [f"not {fate}: {each}" for each in expected - counted.keys()]
            wrong += [f"{fate}, and should not be: {each}" for each in counted.keys() - expected]
            places |= {_id(m): (fate, (m.topic(), m.partition(), m.offset())) for m in messages}
        wrong += self._disorder(orders)
        wrong += self._ledger(first, places)
        return wrong

    def _by_attempt(self, letters: Sequence[Message]) -> tuple[list[Message], list[Message]]:
        first, again = [], []
        for message in letters:
            came_back = "redrive-correction" in dict(message.headers() or [])
            (again if came_back else first).append(message)
        return first, again

    def _disorder(self, orders: Sequence[Message]) -> list[str]:
        last: defaultdict[bytes | None, int] = defaultdict(lambda: -1)
        wrong = []
        for message in orders:
            letter = self.sent.get(_id(message))
            if letter is None:
                continue
            if letter.number < last[message.key()]:
                wrong.append(f"out of order: {letter.id} after {last[message.key()]}")
            last[message.key()] = letter.number
        return wrong

    def _ledger(self, first: Sequence[Message], places: dict[str, tuple[str, tuple[Any, ...]]]) -> list[str]:
        """Compare each letter's fates in the ledger with what Kafka has."""
        wrong = []
        with Ledger.open(self.config.ledger_url()) as ledger:
            wrong += [f"ledger: {finding}" for finding in ledger.verify_chain()]
            known = {each.id: each.fate for each in ledger.letters.find(Selection(fates=[]), limit=100_000)}
            for message in first:
                letter = self.sent[_id(message)]
                where = LetterId("one", self.dead_letters, message.partition() or 0, message.offset() or 0)
                expected = FATES.get(letter.kind, "none")
                if known[where] != expected:
                    wrong.append(f"{letter}: the ledger says {known[where]}, not {expected}")
                if letter.kind in ("good", "reject", "park"):
                    fates = [decision.fate for decision in ledger.letters.story(where).decisions]
                    told = {(fate.name, (fate.topic, fate.partition, fate.offset)) for fate in fates if fate.topic}
                    if told != {places.get(letter.id)}:
                        wrong.append(f"{letter}: the ledger tells of {told}, Kafka of {places.get(letter.id)}")
        return wrong

    def read(self, topic: str) -> list[Message]:
        """Read what is committed of a topic, each partition in order."""
        return [message for messages in scan(self.client, topic, patience=60) for message in messages]

    def verdicts(self) -> dict[str, str | None]:
        """Operation → its verdict."""
        with Ledger.open(self.config.ledger_url()) as ledger:
            return {row.id: row.verdict for row in ledger.operations(100, JOB)}


@dataclass
class Living:
    """A life that has begun."""

    life: Life
    process: ForkServerProcess
    killed: bool = False

    def wait(self, seconds: float = PATIENCE) -> None:
        """Wait for its end."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.kill()
            raise AssertionError(f"{self.life} has not ended after {seconds:.0f} s")

    def kill(self) -> None:
        self.killed = True
        self.process.kill()
        self.process.join(10)

    def wake(self) -> None:
        assert self.process.pid
        os.kill(self.process.pid, signal.SIGCONT)

    def wait_for_crash(self, seconds: float = PATIENCE) -> bool:
        """Wait until it has come to its crash point, or has ended without."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.exitcode is None:
            if self.told("crash"):
                return True
            time.sleep(0.02)
        return bool(self.told("crash"))

    @property
    def crashed(self) -> bool:
        return self.process.exitcode == -signal.SIGKILL

    def told(self, what: str) -> list[list[str]]:
        """What its journal says of something."""
        text = (self.life.folder / f"{self.life.name}.journal").read_text()
        lines = [line.split("\t") for line in text.split("\n")[:-1]]
        return [line[2:] for line in lines if line[0] == what]

    @property
    def how(self) -> str:
        """How it ended: its verdict, ``refused``, ``fenced``, ``raised …``, or ``killed``."""
        if self.crashed:
            return "killed"
        for what in ("raised", "refused"):
            if self.told(what):
                return f"{what} {' '.join(self.told(what)[0])}"
        if self.told("fenced"):
            return "fenced"
        ended = self.told("ended")
        return ended[0][0] if ended else f"exit code {self.process.exitcode}"

    @property
    def counts(self) -> dict[str, int]:
        return dict(ast.literal_eval(self.told("ended")[0][1]))

    @property
    def findings(self) -> list[str]:
        return list(ast.literal_eval(self.told("ended")[0][2]))


def _value(letter: Sent) -> dict[str, Any]:
    match letter.kind:
        case "reject" | "park":
            return {"id": "none"}
        case "skip":
            return {"id": None, "note": "test"}
        case "left":
            return {"id": "what?", "note": "now"}
    return {"id": str(letter.number)}


def _id(message: Message) -> str:
    return (dict(message.headers() or []).get("ce_id") or b"").decode()
