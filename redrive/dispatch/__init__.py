"""Which path an event takes: Kafka, or the standby store; and how a lane moves between the two without losing, doubling
or reordering any event. The producer's half of the protocol in ``redrive/standby``.

``dispatcher.py`` accepts events and does what is due; ``inflight.py`` is what Kafka has and ``standby.py`` what the
store is to get; ``lanes.py`` says how lanes change sides, and ``view.py`` who else has diverted one.
"""

from redrive.dispatch.dispatcher import Dispatcher
from redrive.dispatch.settings import DispatchSettings

__all__ = ["DispatchSettings", "Dispatcher"]
