"""Asking what may never answer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from redrive.errors import ConfigError, RefusedByClusterError, UnavailableError
from redrive.health.facts import Unknown, fault
from redrive.standby.survey import OutOfTimeError

T = TypeVar("T")

log = logging.getLogger(__name__)


class Asked(Generic[T]):
    """A question under way, in a thread that keeps no program from ending. Whatever becomes of it is an answer."""

    def __init__(self, question: Callable[[], T]) -> None:
        self._question = question
        # That our time is up says nothing of whoever is asked: what does not answer at all says so itself, before.
        self._answer: T | Unknown = Unknown("not all was answered in time", "slow")
        self._thread = threading.Thread(target=self._ask, daemon=True, name="health")
        self._thread.start()

    def answer(self, seconds: float) -> T | Unknown:
        """Give the answer, or why there is none after so many seconds more."""
        self._thread.join(max(0.0, seconds))
        return self._answer

    def _ask(self) -> None:
        try:
            self._answer = self._question()
        except UnavailableError as error:
            self._answer = Unknown(error.reason)  # what it is about, is known where it is asked
        except OutOfTimeError as error:
            self._answer = Unknown(str(error), "slow")
        except (RefusedByClusterError, ConfigError) as error:
            self._answer = Unknown(str(error), "not-asked")
        except Exception as error:  # a mistake of ours; it must not hide the rest, of this cluster and of the others
            log.exception("a look at a cluster has met what it did not foresee")
            self._answer = fault(error)
