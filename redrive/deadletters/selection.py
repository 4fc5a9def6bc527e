"""Which dead letters: one model for run forms, the command line and plans."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from redrive.deadletters.dialects import Dialect
from redrive.deadletters.fate import ENDED, OPEN, FateOrNone
from redrive.deadletters.letter_id import LetterId

MOST = 1_000
"""Entries of one list; each is a parameter of a query, and databases have limits of those."""


def _key(text: str) -> str:
    key_bytes(text)
    return text


def _letter_id(text: str) -> str:
    LetterId.parse(text)
    return text


def key_bytes(text: str) -> bytes:
    """Give the key that is written as UTF-8 text, or as ``hex:`` and hexadecimal digits.

    Raises:
        ValueError: what follows ``hex:`` is not that.
    """
    if not text.startswith("hex:"):
        return text.encode()
    try:
        return bytes.fromhex(text.removeprefix("hex:"))
    except ValueError:
        raise ValueError(f"{text!r} is not hex: and hexadecimal digits, two a byte") from None


def key_text(key: bytes) -> str:
    """Write a key so that `key_bytes` gives it back: as text if all of it can be seen, else in hexadecimal."""
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return f"hex:{key.hex()}"
    return text if text.isprintable() and not text.startswith("hex:") else f"hex:{key.hex()}"


Text = Annotated[str, Field(max_length=260, pattern="^[^\\x00]*$")]
Key = Annotated[str, Field(max_length=10_000), AfterValidator(_key)]
Id = Annotated[str, Field(max_length=400), AfterValidator(_letter_id)]


class Selection(BaseModel):
    """Dead letters that meet *all* of these; of a list, any one entry. What is left empty selects everything."""

    # Prefect sets the fields of a run's parameters one by one, so that it can't be frozen; and it turns models to dicts
    # by dict(), so that no field can be called "keys".
    model_config = ConfigDict(extra="forbid")

    reasons: list[Text] = Field(
        default=[], max_length=MOST, description="Why they are dead letters: codes such as invalid-value."
    )
    producers: list[Text] = Field(
        default=[], max_length=MOST, description="Who wrote them: producers, consumer groups or connectors."
    )
    topics: list[Text] = Field(
        default=[],
        max_length=MOST,
        description="Main topics: where their events were meant to go, or came from. Those of letters that do not say "
        "it have the empty name.",
    )
    dead_letter_topics: list[Text] = Field(
        default=[],
        max_length=MOST,
        title="Dead-letter topics",
        description="Topics in which they stand, as Kafka names them.",
    )
    clusters: list[Text] = Field(default=[], max_length=MOST, description="Clusters on which they stand.")
    since: AwareDatetime | None = Field(
        default=None, description="Letters of this time or later, by the letter's own timestamp; with a time zone."
    )
    until: AwareDatetime | None = Field(default=None, description="Letters of before this time; with a time zone.")
    event_keys: list[Key] = Field(
        default=[],
        max_length=MOST,
        title="Keys",
        description="Keys of their events, as UTF-8 text, or in hexadecimal as hex:00ff.",
    )
    schema_ids: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field(
        default=[],
        max_length=MOST,
        title="Schema ids",
        description="Ids of the schemas of their values in the registry.",
    )
    dialects: list[Dialect] = Field(
        default=[], max_length=MOST, title="Systems", description="Whose dead letters, by the system that wrote them."
    )
    ids: list[Id] = Field(
        default=[],
        max_length=MOST,
        title="Letter ids",
        description="Letters by id, such as dlq.flights/2/4711, or east:dlq.flights/2/4711 to name the cluster.",
    )
    fates: list[FateOrNone] = Field(
        default=list(OPEN),
        max_length=MOST,
        description="What became of them last; none and held are the open ones. Empty means any.",
    )

    @property
    def takes_ended(self) -> bool:
        """Whether it may take in letters that have come to their end, which nothing may be done with any more."""
        return not self.fates or not ENDED.isdisjoint(self.fates)

    @property
    def insists(self) -> bool:
        """Whether a person has decided on letters that had failed too often."""
        return "parked" in self.fates

    @property
    def names_skipped(self) -> bool:
        """Whether a person has named letters one by one, also such as were given up: to publish events once more."""
        return bool(self.ids) and "skipped" in self.fates

    @model_validator(mode="after")
    def _ordered(self) -> Selection:
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ValueError(f"since ({self.since}) is not before until ({self.until}): this selects nothing")
        return self
