"""What is to happen in a round: drawn from a seed, or written out by a test. Nothing happens here."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from redrive.dispatch import DispatchSettings
from tests.faults.fuses import PRODUCER_CALLS, REPLAYER_CALLS
from tests.faults.proxy import DOWN, NONE, Faults

BROKERS = ("kafka-1", "kafka-2", "kafka-3")

SETTINGS = DispatchSettings(
    divert_after=1.0,
    gate_refresh=0.4,
    seal_wait=2.0,
    publish_timeout=90.0,
    max_unacknowledged=5_000,
    block_timeout=60.0,
)


@dataclass(frozen=True)
class Action:
    """Something that is done to the system.

    Attributes:
        at: seconds after the round's start.
        do: ``kill``, ``start``, ``freeze`` or ``thaw`` something; ``faults``: change what the proxy does.
        to: nodes, or the name of a program.
        faults: with ``faults``.
    """

    at: float
    do: str
    to: tuple[str, ...] = ()
    faults: Faults = NONE

    def __str__(self) -> str:
        what = self.faults if self.do == "faults" else " ".join(self.to)
        return f"{self.at:.1f} s {self.do} {what}"


@dataclass(frozen=True)
class Member:
    """A program that takes part.

    Attributes:
        name: ``a``, ``b``, … publish; ``r``, ``s``, … replay.
        at: seconds after the round's start at which it starts.
        fuses: crash points, one a life; later lives have none.
        cut_off: it can't reach Kafka, but everything else.
        clock: see `Producing`.
    """

    name: str
    at: float = 0.0
    fuses: tuple[str, ...] = ()
    cut_off: bool = False
    clock: tuple[tuple[float, int], ...] = ()

    def __str__(self) -> str:
        more = (" cut off from Kafka" if self.cut_off else "") + (f" clock {self.clock}" if self.clock else "")
        return f"{self.name} from {self.at:.1f} s{more}: {', '.join(self.fuses) or 'no fuses'}"


@dataclass(frozen=True)
class Plan:
    """A round.

    Attributes:
        seed: of everything drawn by chance in it.
        seconds: how long producers publish.
        lanes: lanes of the topic.
        rate: events a second of each producer.
        settle: seconds that a replay leaves events in doubt alone.
        large: share of events that fill more than one item of the table.
        transaction_timeout: of replayers, in seconds.
    """

    seed: int
    producers: tuple[Member, ...] = (Member("a"), Member("b"))
    replayers: tuple[Member, ...] = (Member("r", 3.0),)
    actions: tuple[Action, ...] = ()
    seconds: float = 8.0
    lanes: int = 3
    rate: float = 250.0
    settle: float = 1.0
    large: float = 0.0
    transaction_timeout: float = 10.0
    settings: DispatchSettings = field(default=SETTINGS)

    @property
    def one_view(self) -> bool:
        """Whether order between producers is promised: see `redrive.producer`."""
        store_faults = any(action.do == "faults" for action in self.actions)
        return not any(member.clock for member in self.producers) and (self.settings.gate_strict or not store_faults)

    def __str__(self) -> str:
        lines = [
            f"seed {self.seed}: {self.lanes} lanes, {self.rate:.0f} events/s each for {self.seconds:.1f} s, settle "
            f"{self.settle} s, gate_strict {self.settings.gate_strict}, large {self.large}, transaction timeout "
            f"{self.transaction_timeout} s"
        ]
        lines += [f"  {member}" for member in (*self.producers, *self.replayers)]
        lines += [f"  {action}" for action in self.actions]
        return "\n".join(lines)


def draw(seed: int) -> Plan:
    """Draw a round."""
    chance = random.Random(seed)
    plan = Plan(
        seed,
        producers=tuple(Member(name, fuses=_fuses(chance, PRODUCER_CALLS, 3)) for name in "ab"),
        replayers=(Member("r", chance.uniform(1.5, 5), _fuses(chance, REPLAYER_CALLS, 5)),),
        lanes=chance.choice((1, 2, 3, 6)),
        large=chance.choice((0.0, 0.0, 0.003)),
    )
    outage = chance.choice((_kill_all, _freeze_all, _freeze_all, _kill_some, _freeze_some, _cut_off, _cut_off, _twice))
    plan = outage(plan, chance)
    for more in (_store_faults, _second_replayer, _zombie, _killed_by_hand, _registry_down, _clock_set):
        if chance.random() < 0.3:
            plan = more(plan, chance)
    return replace(plan, actions=tuple(sorted(plan.actions, key=lambda action: action.at)))


def _fuses(chance: random.Random, calls: dict[str, int], most: int) -> tuple[str, ...]:
    def fuse() -> str:
        call = chance.choice(sorted(calls))
        number = 1 + int(calls[call] * chance.random() ** 2)  # most often an early one: late ones may never come
        return f"{chance.choice(('before', 'after'))} {call}:{number}"

    return tuple(fuse() for _ in range(chance.randint(1, most)))


def _with(plan: Plan, *actions: Action) -> Plan:
    return replace(plan, actions=(*plan.actions, *actions))


def _kill_all(plan: Plan, chance: random.Random) -> Plan:
    at = chance.uniform(0.5, 2.5)
    return _with(plan, Action(at, "kill", BROKERS), Action(at + chance.uniform(1, 3), "start", BROKERS))


def _kill_some(plan: Plan, chance: random.Random) -> Plan:
    """One broker is a nuisance; without two, the third takes no more writes (min.insync.replicas)."""
    some = tuple(chance.sample(BROKERS, chance.choice((1, 2, 2))))
    at = chance.uniform(0.5, 2.5)
    return _with(plan, Action(at, "kill", some), Action(at + chance.uniform(2, 4), "start", some))


def _freeze_all(plan: Plan, chance: random.Random) -> Plan:
    at = chance.uniform(0.5, 2.5)
    plan = _with(plan, Action(at, "freeze", BROKERS), Action(at + chance.uniform(1.5, 4), "thaw", BROKERS))
    return replace(plan, settle=5.0)


def _freeze_some(plan: Plan, chance: random.Random) -> Plan:
    some = tuple(chance.sample(BROKERS, chance.choice((1, 2))))
    at = chance.uniform(0.5, 2.5)
    plan = _with(plan, Action(at, "freeze", some), Action(at + chance.uniform(1.5, 5), "thaw", some))
    return replace(plan, settle=5.0)


def _cut_off(plan: Plan, chance: random.Random) -> Plan:
    first, *others = plan.producers
    return replace(plan, producers=(*others, replace(first, cut_off=True, at=chance.uniform(0, 2))))


def _twice(plan: Plan, chance: random.Random) -> Plan:
    """A second outage, likely in the middle of the replay of the first."""
    at = chance.uniform(0.5, 1.5)
    again = at + chance.uniform(4, 7)
    plan = replace(plan, settle=5.0, seconds=plan.seconds + 3)
    return _with(
        plan,
        Action(at, "freeze", BROKERS),
        Action(at + chance.uniform(1.5, 2.5), "thaw", BROKERS),
        Action(again, "kill", BROKERS),
        Action(again + chance.uniform(0.5, 2), "start", BROKERS),
    )


def _store_faults(plan: Plan, chance: random.Random) -> Plan:
    kinds = chance.sample(
        ["throttled", "failing", "slow", "lost", "dropped", "late", "unprocessed"], chance.randint(1, 4)
    )
    faults = Faults(
        **{kind: 0.5 if kind == "unprocessed" else chance.uniform(0.02, 0.2) for kind in kinds},
        slow_seconds=chance.choice((0.5, 3.0)),
    )
    at = chance.uniform(0, 3)
    plan = _with(plan, Action(at, "faults", faults=faults))
    if chance.random() < 0.4:
        dark = at + chance.uniform(0.5, 4)
        plan = _with(
            plan,
            Action(dark, "faults", faults=DOWN),
            Action(dark + chance.uniform(0.5, 3), "faults", faults=faults),
        )
    return replace(plan, settings=replace(plan.settings, gate_strict=chance.random() < 0.5))


def _second_replayer(plan: Plan, chance: random.Random) -> Plan:
    second = Member("s", plan.replayers[0].at + chance.uniform(0, 2), _fuses(chance, REPLAYER_CALLS, 2))
    return replace(plan, replayers=(*plan.replayers, second))


def _zombie(plan: Plan, chance: random.Random) -> Plan:
    """One stands still past its transaction's time-out while another does its work, and wakes."""
    at = plan.replayers[0].at + chance.uniform(0.3, 3)
    plan = replace(plan, transaction_timeout=2.0)
    if len(plan.replayers) == 1 and chance.random() < 0.7:
        plan = replace(plan, replayers=(*plan.replayers, Member("s", at + 0.5)))
    return _with(plan, Action(at, "freeze", ("r",)), Action(at + chance.uniform(3.5, 6), "thaw", ("r",)))


def _killed_by_hand(plan: Plan, chance: random.Random) -> Plan:
    names = [member.name for member in (*plan.producers, *plan.replayers)]
    kills = [Action(chance.uniform(1, plan.seconds + 3), "kill", (chance.choice(names),)) for _ in range(3)]
    return _with(plan, *kills)


def _registry_down(plan: Plan, chance: random.Random) -> Plan:
    at = chance.uniform(0.2, 2)
    return _with(
        plan,
        Action(at, "freeze", ("registry",)),
        Action(at + 0.1, "kill", (plan.producers[0].name,)),
        Action(at + chance.uniform(1, 4), "thaw", ("registry",)),
    )


def _clock_set(plan: Plan, chance: random.Random) -> Plan:
    first, *others = plan.producers
    changes = tuple((chance.uniform(0.5, 6), chance.choice((-3_600_000, -5_000, -500, 800, 20_000))) for _ in range(2))
    return replace(plan, producers=(replace(first, clock=tuple(sorted(changes))), *others))
