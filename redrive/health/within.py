"""Asking what may never answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from redrive.errors import ConfigError, RefusedByClusterError, UnavailableError
from redrive.health.facts import Unknown

T = TypeVar("T")


class Asked(Generic[T]):
    """A question under way, in a thread that keeps no program from ending."""

    def __init__(self, question: Callable[[], T]) -> None:
        self._question = question
        self._answer: T | Unknown = Unknown("it did not answer in time")
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._ask, daemon=True, name="health")
        self._thread.start()

    def answer(self, seconds: float) -> T | Unknown:
        """Give the answer, or why there is none after so many seconds more."""
        self._thread.join(max(0.0, seconds))
        if self._error is not None:
            raise self._error
        return self._answer

    def _ask(self) -> None:
        try:
            self._answer = self._question()
        except UnavailableError as error:
            self._answer = Unknown(error.reason)  # what it is about, is known where it is asked
        except (RefusedByClusterError, ConfigError) as error:
            self._answer = Unknown(str(error), not_asked=True)
        except BaseException as error:  # a mistake of ours: it is raised where the answer is asked for
            self._error = error
