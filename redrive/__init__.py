"""Redrive brings every event back: an SDK that survives outages of Kafka, and the replay that puts things right."""

from redrive.config import Config
from redrive.errors import RedriveError
from redrive.producer import EventProducer
from redrive.receipts import Receipt

__all__ = ["Config", "EventProducer", "Receipt", "RedriveError"]
