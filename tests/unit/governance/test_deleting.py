"""What is never asked for, since it could not be known."""

from __future__ import annotations

from typing import Any, cast

import pytest

from redrive.errors import SchemaError
from redrive.governance.deleting import check_deletion


@pytest.mark.parametrize("subject", ["orders.created-key", "orders.created", "com.acme.Order"])
def test_a_version_of_a_subject_that_is_not_one_of_values_is_not_deleted(subject: str) -> None:
    """Whether a key needs it, nobody looks for; nor does anybody look anywhere, here: there is nothing to look at."""
    nothing = cast(Any, None)
    with pytest.raises(SchemaError, match=f"{subject}: is no subject of values.* keys are not looked at"):
        check_deletion(nothing, nothing, nothing, subject, 1)
