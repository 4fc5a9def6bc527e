"""Which topic a name stands for: events that are published by the name of a topic may go to another one by now.

A cut-over of producers makes a topic's name an *alias* of the topic that it was copied to. The alias says where events
go and how they become what that topic takes; it is kept in one compacted topic of the cluster (``alias.py``). *When* a
producer goes over is said by its lanes, one by one: the entry that opens a lane names the topic that it opens to
(`redrive.standby.lanes`). That is what keeps order; see ``redrive/dispatch/destination.py`` for the argument.

``destination.py`` makes of an alias what producers and replays need; ``catching_up.py`` tells whether the topic that is
being left has been copied to its end; ``turning.py`` says what a name is to stand for next, ``followers.py`` which
consumer groups would be misled by that, and ``restoring.py`` what it stood for if the control topic has lost it;
``switching.py`` is the cut-over itself, and the way back.
"""

from redrive.aliases.alias import Alias, read_alias, read_aliases, write_alias
from redrive.aliases.catching_up import CatchingUp, is_copied
from redrive.aliases.destination import Destinations, Moved

__all__ = [
    "Alias",
    "CatchingUp",
    "Destinations",
    "Moved",
    "is_copied",
    "read_alias",
    "read_aliases",
    "write_alias",
]
