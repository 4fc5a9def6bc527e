"""The keys of who issues tokens: fetched, kept, and fetched again when they may have changed.

A key is trusted if the issuer has told it within the last five minutes, so one that it takes back is refused by then:
keys are renewed in the background from the fourth minute on, and a token that comes after the fifth waits for that. An
unknown key id has them renewed at once, since issuers change their keys, but at most every ten seconds, whoever invents
key ids: if the issuer has answered within these, there is no such key.

While the issuer can't be reached, the last good keys stay good for an hour, and once that is known, no token waits for
it. Whether there is a key that is not known here nobody can say then: whoever sends its id, the holder of a good token
or somebody who has invented it, is to come again. The issuer is asked again every thirty seconds, while tokens come or
somebody looks whether the gateway is ready. After the hour no token is taken until it is back: they seldom live longer,
and an issuer that is away gives out none. One that answers, and has no key that is good for us, is not away: it has
taken its keys back, and no token is taken.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import httpx2

from redrive.errors import UnavailableError
from redrive.gateway.key_sets import Fetch, IssuerKey, read_keys
from redrive.gateway.metrics import KEY_SET_ASKS

log = logging.getLogger(__name__)

RENEW_EARLY = 240.0
RENEW_AFTER = 300.0
TRUSTED_FOR = 3_600.0
AT_MOST_EVERY = 10.0
AFTER_FAILURE = 30.0
"""The same, if the issuer did not answer when it was asked last."""
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

    @property
    def is_away(self) -> bool:
        """Tell whether the issuer did not answer, or not soon, when it was asked last."""
        return self._away

    @property
    def known_in(self) -> float:
        """Give the seconds after which to come again, while it is away: by then it has answered, or is asked again."""
        return max(0.0, self._asked + (IN_ALL if self._is_asked() else AFTER_FAILURE) - self._clock())

    def are_good(self) -> bool:
        """Tell whether tokens can be checked; if not, or the issuer is away, the keys are asked for."""
        good = self._age() <= TRUSTED_FOR
        if not good or self._away:
            self._renew()
        return good

    async def key(self, kid: str) -> IssuerKey | None:
        """Return the key with this id; None if the issuer has none, by what it has told since ten seconds at most.

        Raises:
            UnavailableError: no keys are good, or this one is not known, and they can't be fetched now.
        """
        good, known = self._age() <= TRUSTED_FOR, kid in self._keys
        # Of an issuer that failed long ago nobody knows by now.
        failed_lately = self._away and self._clock() - self._asked < _AWAY_FOR
        if not good or not known or self._away or self._age() > RENEW_EARLY:
            fetching = self._renew()
            if fetching is not None and not good:
                await asyncio.wait({fetching})
            elif fetching is not None and not failed_lately and (not known or self._age() > RENEW_AFTER):
                await asyncio.wait({fetching}, timeout=_PATIENCE)
                self._away |= not fetching.done()
        if self._age() > TRUSTED_FOR:
            raise UnavailableError(f"key set {self._place}", "no keys of the issuer are good, and it tells none now")
        if kid not in self._keys and self._away:
            raise UnavailableError(f"key set {self._place}", "it can't be asked now for a key that is not known here")
        return self._keys.get(kid)

    def _age(self) -> float:
        return self._clock() - self._fetched

    def _renew(self) -> asyncio.Task[None] | None:
        """Have the keys fetched, unless that was tried just now; return what fetches them."""
        if self._is_asked():
            return self._fetching
        now = self._clock()
        if now - self._asked < (AFTER_FAILURE if self._away else AT_MOST_EVERY):
            return None
        self._asked = now
        self._fetching = asyncio.get_running_loop().create_task(self._load(now))
        return self._fetching

    def _is_asked(self) -> bool:
        return self._fetching is not None and not self._fetching.done()

    async def _load(self, asked: float) -> None:
        try:
            async with asyncio.timeout(IN_ALL):
                keys = read_keys(await self._fetch())
        except Exception as error:  # whatever an issuer sends: without this, no key would be renewed any more
            self._away = True
            KEY_SET_ASKS.labels("failed").inc()
            left = (TRUSTED_FOR - self._age()) / 60
            kept = f"keys that are known stay good for {left:.0f} minutes, and a token of any other key gets 503"
            kept = kept if left > 0 else "no token can be checked"
            log.warning(
                "gateway.tokens.jwks: the key set %s can't be read (%s): %s. Check the URL or file, and the way there "
                "(names, proxy, firewall, certificates); it is asked for again while it is needed",
                self._place, _why(error), kept,
            )  # fmt: skip
            return
        if not keys:
            # It has answered, so those of before are taken back: they must not stay good as if it had not.
            self._keys, self._fetched, self._away = {}, float("-inf"), True
            KEY_SET_ASKS.labels("failed").inc()
            log.warning(
                "gateway.tokens.jwks: the key set %s has no key for RS256 or ES256 with a kid: no token can be "
                "checked. See that it is the issuer's, and ask who runs that; it is asked for again while it is needed",
                self._place,
            )  # fmt: skip
            return
        KEY_SET_ASKS.labels("good").inc()
        if self._away:
            took = self._clock() - asked
            log.warning("gateway.tokens.jwks: the key set %s is read again, this time within %.1f s", self._place, took)
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
