"""Fleets: what runs a cluster's brokers, tells how loaded they are, and adds more."""

from redrive.fleets.command import CommandFleet
from redrive.fleets.fleet import Fleet, Sample, Shape
from redrive.fleets.msk import MskFleet
from redrive.fleets.opening import open_fleet

__all__ = ["CommandFleet", "Fleet", "MskFleet", "Sample", "Shape", "open_fleet"]
