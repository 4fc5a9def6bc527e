"""The end of a server: not ready any more at once, and a little later no new connections."""

from __future__ import annotations

import asyncio
import signal
import threading
from types import FrameType


class Draining:
    """Delays the server's stop, so that a load balancer can first learn that no more should be sent here.

    Args:
        seconds: for how long requests are still taken.

    Attributes:
        begun: whether the server was told to stop.
    """

    def __init__(self, seconds: float) -> None:
        self.begun = False
        self._seconds = seconds

    def listen(self) -> None:
        """Stand before the server's own handler of SIGTERM.

        It is told once: worker processes may get the signal from their parent and from whoever stops them all. SIGINT
        stops without a delay.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        stop = signal.getsignal(signal.SIGTERM)

        def begin(number: int, frame: FrameType | None) -> None:
            if callable(stop) and not self.begun:
                self.begun = True
                loop.call_soon_threadsafe(loop.call_later, self._seconds, stop, number, frame)

        signal.signal(signal.SIGTERM, begin)
