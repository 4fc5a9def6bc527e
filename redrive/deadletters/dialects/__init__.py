"""What a record on any dead-letter topic is about, by whichever system wrote it: `sight`."""

from redrive.deadletters.dialects.sighting import DIALECTS, Dialect, Record, Sighting
from redrive.deadletters.dialects.sights import sight

__all__ = ["DIALECTS", "Dialect", "Record", "Sighting", "sight"]
