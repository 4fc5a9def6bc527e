"""Letters of the same event: it is to be published again once, however many letters it has become.

A consumer that dies between its letter and the commit of its offsets writes the letter once more; several consumer
groups, or a connector beside them, have each a letter of an event that none of them can take. All of them read the main
topic: published from one letter, the event comes to all.

Which letters are of the same event is what the ledger says, see `redrive.ledger.letters.Letters.twins`. An event that
was published again and has failed again is another one in this: it was read from another place.

Where producers were switched from one topic to another, an event has a place in both, and its letters may name either:
those from before the switch the one, and those from after it the other. Which topics are one is for `called_alike` to
say. Published from a letter of one name, it has not always come to those who read the other: see `has_reached`.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping

from redrive.deadletters.correction.batch import Batch, Unit
from redrive.deadletters.fate import OPEN
from redrive.deadletters.letter_id import LetterId
from redrive.ledger.letter_twins import Twin

SAME_EVENT = "same-event"
"""The reason of letters that are skipped since their event was published again from another letter."""

ANOTHER_FIRST = "another-first"
"""The reason of letters that are left since another letter of their event goes first, or may have gone."""

OTHER_READERS = "other-readers"
"""The reason of letters that are left since their event was published, and may not have come to who reads them."""

REASONS = {
    SAME_EVENT: "its event was published again already, from another letter of it; if that is wrong, name its id, "
    "with --fate skipped",
    ANOTHER_FIRST: "another letter of the same event goes first, or is doubtful; once that is published, the next "
    "correction gives this one up. If that one stays open (redrive dlq history EVENT_ID names it), select this one "
    "without it",
    OTHER_READERS: "its event was published from a letter that names another topic, one that producers were switched "
    "to or came back from; whether it came to those who read it now by the name of this one is not known. Look where "
    "it went (redrive dlq history EVENT_ID); if they have it, discard this letter; if not, publish it: name its id, "
    "with --fate none --fate held --fate skipped",
}


def united(few: Iterable[list[Twin]], many: Iterable[list[Twin]]) -> Iterator[list[Twin]]:
    """Unite groups of letters that have one in common.

    Args:
        few: the groups by other names; all are held in memory.
        many: those by one name; no letter is in two of them.
    """
    of: dict[LetterId, dict[LetterId, Twin]] = {}

    def unite(group: list[Twin]) -> None:
        whole = {twin.letter: twin for twin in group}
        for letter in list(whole):
            whole |= of.get(letter, {})
        of.update(dict.fromkeys(whole, whole))

    for group in few:
        unite(group)
    for group in many:
        if any(twin.letter in of for twin in group):
            unite(group)
        else:
            yield group
    yield from (list(whole.values()) for whole in {id(each): each for each in of.values()}.values())


def mark_doubles(
    batch: Batch,
    groups: Iterable[Iterable[Twin]],
    settled: Container[LetterId] = frozenset(),
    *,
    once_more: bool = False,
) -> None:
    """Note on a batch's units which letters are not to be published, since another one of their event is.

    It goes by what the ledger knows of letters, where topics' events go, and what the settings and this worker can do
    with them, so that a plan and its run, also one that goes on after a crash, agree; on a worker of another state,
    such as one that lacks a migration's function, they may not, and the run ends as stale.

    Args:
        batch: the letters.
        groups: the letters of each event that has several; no letter is in two of them.
        settled: letters that only look open: nobody has entered yet what became of them.
        once_more: a person has named the letters, to publish events once more that other letters were published of.
    """
    units: dict[tuple[str | None, str, int], Unit] = {
        (unit.cluster, unit.topic, unit.partition): unit for unit in batch.units
    }
    for group in groups:
        inside: list[Twin] = []
        outside: list[Twin] = []
        for each in group:
            unit = units.get(each.letter[:3])
            (inside if unit is not None and unit.has(each.letter.offset) else outside).append(each)
        apart, queue = _apart(inside, outside, settled, once_more=once_more)
        for letter, reason in apart.items():
            units[letter[:3]].doubles[letter.offset] = reason
        if len(queue) > 1:
            units[queue[0][:3]].behind[queue[0].offset] = queue[1:]


def give_way(batch: Batch, stuck: Mapping[LetterId, str]) -> bool:
    """Have the next letter of an event go in the place of one of which nothing can; False: there is none.

    Args:
        batch: the letters, marked.
        stuck: those of which nothing can go → why. They stay so, also if that could change. If that is all of an event,
            its last one is not marked: it says itself why it does not go.
    """
    units: dict[tuple[str | None, str, int], Unit] = {
        (unit.cluster, unit.topic, unit.partition): unit for unit in batch.units
    }
    gives = False
    for unit in batch.units:
        for offset in [
            each for each in unit.behind if LetterId(unit.cluster, unit.topic, unit.partition, each) in stuck
        ]:
            gives = True
            queue = [LetterId(unit.cluster, unit.topic, unit.partition, offset), *unit.behind.pop(offset)]
            goes = next((at for at, letter in enumerate(queue) if letter not in stuck), len(queue) - 1)
            for letter in queue[:goes]:
                units[letter[:3]].doubles[letter.offset] = stuck[letter]
            first, rest = queue[goes], queue[goes + 1 :]
            del units[first[:3]].doubles[first.offset]
            if rest:
                units[first[:3]].behind[first.offset] = rest
    return gives


def to_settle(batch: Batch, groups: Iterable[Iterable[Twin]]) -> list[Unit]:
    """Give a batch's units, and those of other letters of its events that look as if nothing was published of them.

    A run that was killed may have published one of these from another partition, which no other run looks at. Of one
    that is doubtful that is said already: to look there again would find the same again.

    Args:
        batch: the letters.
        groups: the letters of each event that has several.
    """
    units = {(unit.cluster, unit.topic, unit.partition): unit for unit in batch.units}
    further: defaultdict[tuple[str, str, int], list[int]] = defaultdict(list)
    for group in groups:
        letters = list(group)
        mine = (unit.has(each.letter.offset) for each in letters if (unit := units.get(_partition(each.letter))))
        if any(mine):
            for each in letters:
                if each.fate in (*OPEN, "parked") and _partition(each.letter) not in units:
                    further[_partition(each.letter)].append(each.letter.offset)
    return [*batch.units, *(Unit(*place, array("q", sorted(offsets))) for place, offsets in sorted(further.items()))]


def _partition(letter: LetterId) -> tuple[str, str, int]:
    return letter.cluster or "", letter.topic, letter.partition


def _apart(
    inside: list[Twin], outside: list[Twin], settled: Container[LetterId], *, once_more: bool
) -> tuple[dict[LetterId, str], list[LetterId]]:
    """Say which letters of an event that are in the batch do not go, and why; and in which order others would."""
    published = [] if once_more else [each for each in outside if each.fate == "published"]
    reached = {name for each in published for name in (each.main_topic, *each.reached)}
    apart: dict[LetterId, str] = {}
    free: list[Twin] = []
    for each in inside:
        if each.main_topic in reached:
            apart[each.letter] = SAME_EVENT
        elif each.waits:  # no other one has to wait for it
            apart[each.letter] = each.waits
        elif published:
            apart[each.letter] = OTHER_READERS
        else:
            free.append(each)
    queue = [each.letter for each in sorted(free, key=_turn)]
    if any(each.fate == "doubtful" or each.letter in settled for each in outside):
        return apart | dict.fromkeys(queue, ANOTHER_FIRST), []
    return apart | dict.fromkeys(queue[1:], ANOTHER_FIRST), queue


def _turn(twin: Twin) -> tuple[bool, bool, int, LetterId]:
    # One that is at home where it goes needs no rules to be taken there, which might not take it.
    return not twin.correctable, twin.moves, twin.written, twin.letter
