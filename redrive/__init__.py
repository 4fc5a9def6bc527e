"""Redrive brings every event back: an SDK that survives outages of Kafka, and the replay that puts things right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redrive.config import Config
    from redrive.consumer import EventConsumer
    from redrive.errors import RedriveError
    from redrive.producer import EventProducer
    from redrive.receipts import Receipt

__all__ = ["Config", "EventConsumer", "EventProducer", "Receipt", "RedriveError"]

_HOMES = {
    "Config": "config",
    "EventConsumer": "consumer",
    "EventProducer": "producer",
    "Receipt": "receipts",
    "RedriveError": "errors",
}


def __getattr__(name: str) -> Any:
    """Load what is asked for: a process that judges letters, for one, needs none of the producer's libraries."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
