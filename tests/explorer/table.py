"""A model of the standby table: each call is one step of the world, and may fail or lose its answer there."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from typing import Any

import msgspec

from redrive.errors import UnavailableError
from redrive.standby.store import Slot
from tests.explorer.parts import Option
from tests.explorer.world import World


class ModelStore:
    """The standby table.

    Attributes:
        data: pk → slot number → slot.
        away: until then, the table does not answer.
        at_once: a beginning of the ``pk`` of items whose access is no step, to keep runs short.
    """

    def __init__(self, world: World, *, page: int = 2, at_once: str = "topics|", away: int = 0) -> None:
        self.data: dict[str, dict[int, Slot]] = {}
        self.versions: dict[str, int] = {}
        self.hash = 0
        self.at_once = at_once
        self.away = away
        self._world = world
        self._page = page

    def _call(self, what: str, pk: str, effect: Callable[[], Any], *detail: Hashable, changes: bool = False) -> Any:
        world = self._world
        if self.at_once and pk.startswith(self.at_once):
            result = effect()
            world.learned(result)
            return result
        world.step(what, pk, *detail)
        if world.time < self.away:
            world.learned("away")
            raise UnavailableError("standby store", "it is away")
        outcome = "ok"
        if world.may("fail") or (changes and world.may("lose")):
            options = [Option(0, "ok")]
            if world.may("fail"):
                options.append(Option(1, "fail"))
            if changes and world.may("lose"):
                options.append(Option(1, "lose"))
            outcome = world.choose(options).name
        if outcome == "fail":
            world.take("fail")
            result = "no answer, nothing done"
        else:
            result = effect()
        if outcome == "lose":
            world.take("lose")
            world.tell(f"{what} {pk} {detail}", f"done, but the answer ({result}) is lost")
            result = "no answer"
        elif world.record:
            world.tell(f"{what} {pk} {detail}", _short(result))
        world.learned(result)
        if outcome != "ok":
            raise UnavailableError("standby store", "no answer")
        return result

    def put_new(self, pk: str, sk: int, slot: Slot) -> Slot | None:
        def effect() -> Slot | None:
            log = self.data.setdefault(pk, {})
            there = log.get(sk)
            if there is None:
                log[sk] = slot
                self.hash ^= hash((pk, sk, slot))
                return None
            return None if there.token == slot.token else there

        result: Slot | None = self._call("put", pk, effect, sk, slot.kind, changes=True)
        return result

    def last(self, pk: str) -> tuple[int, Slot] | None:
        def effect() -> tuple[int, Slot] | None:
            log = self.data.get(pk)
            return max(log.items(), key=lambda item: item[0]) if log else None

        result: tuple[int, Slot] | None = self._call("last", pk, effect)
        return result

    def read(self, pk: str, after: int) -> Iterator[tuple[int, Slot]]:
        while True:

            def effect(after: int = after) -> tuple[tuple[int, Slot], ...]:
                log = self.data.get(pk, {})
                return tuple((sk, log[sk]) for sk in sorted(log) if sk > after)[: self._page]

            page = self._call("read", pk, effect, after)
            yield from page
            if len(page) < self._page:
                return
            after = page[-1][0]

    def outline(self, pk: str, after: int = 0) -> Iterator[tuple[int, Slot]]:
        return self.read(pk, after)

    def delete(self, pk: str, sks: Sequence[int]) -> None:
        for sk in sks:
            self._call("delete", pk, partial(self._remove, pk, sk), sk, changes=True)

    def _remove(self, pk: str, sk: int) -> None:
        slot = self.data.get(pk, {}).pop(sk, None)
        if slot is not None:
            self.hash ^= hash((pk, sk, slot))

    def expire(self, pk: str, sks: Sequence[int], at: int) -> None:
        def effect() -> None:
            log = self.data.get(pk, {})
            for sk in sks:
                if sk in log and log[sk].kind in ("events", "part"):
                    self._world.fail(f"slot {sk} of {pk} holds events and is given to TTL")
                if sk in log and not log[sk].expires:
                    slot = msgspec.structs.replace(log[sk], expires=1)
                    self.hash ^= hash((pk, sk, log[sk])) ^ hash((pk, sk, slot))
                    log[sk] = slot
            if pk.startswith("lane|") and sks and max(sks) == max(log):
                self._world.fail(f"the last entry of {pk} is given to TTL")

        self._call("expire", pk, effect, tuple(sks), changes=True)

    def version(self, pk: str) -> int:
        result: int = self._call("version", pk, lambda: self.versions.get(pk, 0))
        return result

    def bump(self, pk: str) -> None:
        def effect() -> None:
            self.versions[pk] = self.versions.get(pk, 0) + 1

        self._call("bump", pk, effect, changes=True)

    def key(self) -> Hashable:
        return self.hash, tuple(self.versions.items())

    def backlog(self) -> list[tuple[str, int]]:
        """Return the slots that still hold events."""
        return [
            (pk, sk) for pk, log in self.data.items() for sk, slot in log.items() if slot.kind in ("events", "part")
        ]


def _short(result: Any) -> Any:
    """Return a slot, or slots with numbers, as a few letters."""
    if isinstance(result, Slot):
        about = result.epoch or f"{result.events} events, {result.doubtful} doubtful" if result.kind != "seal" else ""
        return f"{result.kind}({about}) {result.token}"
    return [_short(part) for part in result] if isinstance(result, tuple) else result
