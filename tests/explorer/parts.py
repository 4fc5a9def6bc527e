"""What a world is made of: actors in processes, options and who chooses, surroundings, and how a run ends."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Protocol

from greenlet import greenlet  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from tests.explorer.world import World


class ViolationError(Exception):
    """A run broke a promise of the protocol."""


class PrunedError(Exception):
    """The run has come to a state that was explored before."""


class Option:
    """One thing that may happen next.

    Attributes:
        cost: what it takes of the budget of deviations; the usual thing costs nothing.
        name: for people.
        act: what to do, if it is not to go on with an actor.
        actor: the actor to go on with.
    """

    __slots__ = ("act", "actor", "cost", "name")

    def __init__(self, cost: int, name: str, act: Callable[[], None] | None = None, actor: Actor | None = None) -> None:
        self.cost, self.name, self.act, self.actor = cost, name, act, actor


class Chooser(Protocol):
    """Decides; `options` has at least two."""

    def choose(self, world: World, options: Sequence[Option]) -> int:
        """Return the index of what happens next."""
        ...


class Process:
    """What dies together and shares memory: one or more actors.

    Attributes:
        history: a hash of all that its actors have learned from outside, in order; since they are deterministic, it
            stands for their whole state.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.history = hash(name)
        self.alive = True
        self.tokens = 0
        self.jobs = 0
        self.actors = 0

    @property
    def ended(self) -> bool:
        """Tell whether it was killed or all its actors are done."""
        return not self.alive or not self.actors


class Actor:
    """One thread of control."""

    __slots__ = ("body", "done", "enabled", "green", "label", "name", "process", "wakes")

    def __init__(self, name: str, process: Process, body: Callable[[], None]) -> None:
        self.name = name
        self.process = process
        self.body = body
        self.label: tuple[Hashable, ...] = ("begin",)
        self.enabled: Callable[[], bool] | None = None
        self.wakes = 0
        self.done = False
        self.green: greenlet | None = None


class Environment(Protocol):
    """What happens by itself, without an actor."""

    def options(self, busy: int) -> list[Option]:
        """Return what could happen; the first is the usual thing if ``busy`` (what a deviation costs) is 0."""
        ...

    def key(self) -> Hashable:
        """Return what the future depends on."""
        ...

    def pass_time(self) -> None:
        """Hear that time has moved on."""
        ...
