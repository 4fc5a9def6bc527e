"""The keys of who issues tokens: fetched, kept, and fetched again when they may have changed.

A key is trusted if the issuer has told it within the last five minutes, so one that it takes back is refused by then:
keys are renewed in the background from the fourth minute on, and a token that comes after the fifth waits for that. An
unknown key id has them renewed at once, since issuers change their keys, but at most every ten seconds, whoever invents
key ids: and one that can't be asked for now, or not within two seconds, is not known. So nobody who invents key ids
gets more than a refusal: no failure of the gateway's, which alarms and partners would take for one, and no long wait.

While the issuer can't be reached, the last good keys stay good for an hour, and once that is known, no token waits for
it. After the hour none is taken until it is back: tokens seldom live longer, and an issuer that is away gives out none.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import httpx2

from redrive.errors import UnavailableError
from redrive.gateway.key_sets import Fetch, IssuerKey, read_keys

log = logging.getLogger(__name__)

RENEW_EARLY = 240.0
RENEW_AFTER = 300.0
TRUSTED_FOR = 3_600.0
AT_MOST_EVERY = 10.0
_PATIENCE = 2.0
"""How long a token waits for keys to be renewed, while others are good."""
_AWAY_FOR = 60.0
"""How long after a failed renewal no token waits for another one."""
IN_ALL = 10.0
"""How long an issuer may take to answer: it may send a byte now and then, for ever."""


class IssuerKeys:
    """The keys of one issuer. For one event loop.

    Args:
        place: where they come from, for messages.
        fetch: reads the key set.
        clock: seconds, only rising.
    """

    def __init__(self, place: str, fetch: Fetch, clock: Callable[[], float] = time.monotonic) -> None:
        self._place, self._fetch, self._clock = place, fetch, clock
        self._keys: dict[str, IssuerKey] = {}
        self._fetched = self._asked = float("-inf")
        self._away = False
        """Whether the issuer did not answer, or not soon, when it was asked last."""
        self._fetching: asyncio.Task[None] | None = None

    async def ask(self) -> None:
        """Fetch the keys for the first time; logs what is wrong if that fails."""
        if (fetching := self._renew()) is not None:
            await asyncio.wait({fetching})

    def are_good(self) -> bool:
        """Tell whether tokens can be checked; if not, the keys are asked for."""
        good = self._age() <= TRUSTED_FOR
        if not good:
            self._renew()
        return good

    async def key(self, kid: str) -> IssuerKey | None:
        """Return the key with this id; None if none is known, also where the issuer can't be asked for it just now.

        Raises:
            UnavailableError: no keys are good, and they can't be fetched now.
        """
        good, known = self._age() <= TRUSTED_FOR, kid in self._keys
        # Of an issuer that failed long ago nobody knows by now.
        is_away = self._away and self._clock() - self._asked < _AWAY_FOR
        if not good or not known or self._age() > RENEW_EARLY:
            fetching = self._renew()
            if fetching is not None and not good:
                await asyncio.wait({fetching})
            elif fetching is not None and not is_away and (not known or self._age() > RENEW_AFTER):
                await asyncio.wait({fetching}, timeout=_PATIENCE)
                self._away |= not fetching.done()
        if self._age() > TRUSTED_FOR:
            raise UnavailableError(f"key set {self._place}", "no keys of the issuer are good, and it does not answer")
        return self._keys.get(kid)

    def _age(self) -> float:
        return self._clock() - self._fetched

    def _renew(self) -> asyncio.Task[None] | None:
        """Have the keys fetched, unless that was tried just now; return what fetches them."""
        if self._fetching is not None and not self._fetching.done():
            return self._fetching
        now = self._clock()
        if now - self._asked < AT_MOST_EVERY:
            return None
        self._asked = now
        self._fetching = asyncio.get_running_loop().create_task(self._load(now))
        return self._fetching

    async def _load(self, asked: float) -> None:
        try:
            async with asyncio.timeout(IN_ALL):
                keys = read_keys(await self._fetch())
        except Exception as error:  # whatever an issuer sends: without this, no key would be renewed any more
            self._away = True
            left = (TRUSTED_FOR - self._age()) / 60
            kept = f"keys that are known stay good for {left:.0f} minutes" if left > 0 else "no token can be checked"
            log.warning(
                "gateway.tokens.jwks: the key set %s can't be read (%s): %s. Check the URL or file, and the way there "
                "(names, proxy, firewall, certificates); it is asked for again while it is needed",
                self._place, _why(error), kept,
            )  # fmt: skip
            return
        self._keys, self._fetched, self._away = keys, asked, False


def _why(error: Exception) -> str:
    """Say what is wrong with an issuer, without what it sent."""
    match error:
        case httpx2.HTTPStatusError():
            return f"it answered {error.response.status_code}"
        case TimeoutError():
            return f"it did not answer within {IN_ALL:g} s"
        case httpx2.TransportError() | OSError():
            return f"{type(error).__name__}: {error}"
        case _:
            return type(error).__name__
