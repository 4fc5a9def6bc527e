"""Runs that are cancelled in Prefect as its button does it: their worker tells them to end, and they are *Cancelled*.

A run that gets SIGTERM without that is *Crashed* to Prefect, and people are told.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

PATIENCE = 5.0
"""Seconds for an answer of Prefect's; nothing is tried again, as whoever ends runs has little time."""


def cancel(run: UUID) -> bool:
    """Have a run cancelled by the worker that it is of; say whether Prefect has taken that.

    A run that has just come to its end, or was suspended, such as to ask for approval, is left as it is: its process
    ends by itself.
    """
    from httpx import HTTPError
    from prefect.exceptions import ObjectNotFound
    from prefect.states import Cancelling

    try:
        with _client() as client:
            state = client.read_flow_run(run).state
            if state is not None and not state.is_paused():
                client.set_flow_run_state(run, Cancelling(message="its worker is being stopped"))
    except (HTTPError, ObjectNotFound):
        return False
    return True


def has_ended(run: UUID) -> None:
    """Make a run *Cancelled* that is being cancelled and whose process has gone: its worker may end before it does."""
    from httpx import HTTPError
    from prefect.exceptions import ObjectNotFound
    from prefect.states import Cancelled

    try:
        with _client() as client:
            state = client.read_flow_run(run).state
            if state is not None and state.is_cancelling():
                client.set_flow_run_state(run, Cancelled(message="its worker was stopped; the next run goes on"))
    except (HTTPError, ObjectNotFound):
        return  # it stays *Cancelling*, which is told to nobody, until Prefect's server ends it after five minutes


@contextmanager
def _client() -> Iterator[SyncPrefectClient]:
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    with (
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
        get_client(httpx_settings={"timeout": PATIENCE}, sync_client=True) as client,
    ):
        yield client
