"""API keys: 256 random bits, of which the settings keep a hash only.

A plain SHA-256 is enough for that: what makes hashes of passwords slow is that people choose them, and nobody guesses
256 random bits.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Mapping
from hashlib import sha256

from redrive.config.gateway import PartnerConfig

_PREFIX = "rdgw_"
"""So that scanners for secrets in code and logs can tell what it is."""
_KEY = re.compile(rf"{_PREFIX}[A-Za-z0-9_-]{{43}}")


def new_key() -> str:
    """Make a key."""
    return _PREFIX + secrets.token_urlsafe(32)


def hash_of(key: str) -> str:
    """Return what the settings keep of a key."""
    return "sha256:" + sha256(key.encode()).hexdigest()


class ApiKeys:
    """All partners' keys, as hashes."""

    def __init__(self, partners: Mapping[str, PartnerConfig]) -> None:
        self._hashes = [(each, name) for name, partner in partners.items() for each in sorted(partner.api_keys)]

    def partner(self, key: str) -> str | None:
        """Return whose key it is; None if it is nobody's. Takes as long for a wrong key as for a right one."""
        if not _KEY.fullmatch(key):
            return None
        given, found = hash_of(key), None
        for known, name in self._hashes:
            if hmac.compare_digest(known, given):
                found = name
        return found
