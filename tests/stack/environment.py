"""What a process is told of a stack when a file of settings of its own says which platform it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from deployments.local.stack import Stack


def besides_settings(stack: Stack) -> dict[str, str]:
    """Return what of a stack's environment is no setting of Redrive."""
    return {name: value for name, value in stack.environment().items() if not name.startswith("REDRIVE_")}


def forget_settings(stack: Stack, patch: pytest.MonkeyPatch) -> None:
    """Take a stack's settings out of this process's environment: a file says it all."""
    for name in stack.environment():
        if name.startswith("REDRIVE_"):
            patch.delenv(name, raising=False)
