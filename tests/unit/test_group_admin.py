"""How long the client lives that asks about consumer groups."""

from __future__ import annotations

import gc
import weakref

import pytest
from confluent_kafka import KafkaError, KafkaException

from redrive.pump import group_admin
from redrive.pump.group_admin import GroupAdmin


class Client:
    """That it is there is all that counts."""


@pytest.fixture
def admin(monkeypatch: pytest.MonkeyPatch) -> GroupAdmin:
    monkeypatch.setattr(group_admin, "admin_client", lambda _: Client())
    return GroupAdmin({})


def fail(admin: GroupAdmin) -> KafkaException:
    """Ask in vain; whoever tells of the error holds it."""
    with pytest.raises(KafkaException) as caught, admin.asking():
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
    return caught.value


def is_there(client: weakref.ref[object]) -> bool:
    gc.collect()
    return client() is not None


def test_a_client_that_has_given_a_question_up_is_gone_also_while_somebody_holds_the_error(admin: GroupAdmin) -> None:
    client = weakref.ref[object](admin.client)
    error = fail(admin)
    assert not is_there(client)
    assert error.__traceback__ is not None
    assert admin.client is not None


def test_a_client_of_which_somebody_still_awaits_an_answer_stays_though_another_question_has_failed(
    admin: GroupAdmin,
) -> None:
    with admin.asking():
        client = weakref.ref[object](admin.client)
        fail(admin)
        assert is_there(client)
    assert not is_there(client)


def test_one_who_gives_up_later_leaves_the_new_client_alone(admin: GroupAdmin) -> None:
    late = admin.asking()
    late.__enter__()
    fail(admin)
    new = weakref.ref[object](admin.client)
    assert not late.__exit__(KafkaException, KafkaException(KafkaError(KafkaError._TIMED_OUT)), None)
    assert is_there(new)
