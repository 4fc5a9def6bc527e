"""How a dispatcher behaves."""

from __future__ import annotations

from dataclasses import dataclass

from redrive.config import Config
from redrive.errors import ConfigError


@dataclass(frozen=True, slots=True)
class DispatchSettings:
    """Deadlines and limits; times in seconds.

    Attributes:
        divert_after: how long the oldest event may stay unconfirmed by Kafka before all is taken back and stored. At
            most what the platform's settings say: who switches producers waits so long.
        gate_refresh: how old the view of who has diverted may be; also how long the first acknowledgement after a
            divert waits, so that everybody's view shows it. So it must be the same for all producers of a platform.
        gate_strict: when the gate can't be read: True refuses events with an `UnavailableError`; False (the default)
            goes on with Kafka, so that the store is no dependency of the healthy path. Then order *between* producers
            may suffer, if both the store fails for some of them and the cluster for others.
        seal_wait: how long to wait for a sealed lane to open before starting the next epoch.
        publish_timeout: after it, an event that neither path has taken is given up with a `PublishError`.
        max_unacknowledged: events that may be unacknowledged at once; publishing beyond that waits.
        max_unacknowledged_bytes: likewise, in bytes of their keys and values; memory takes about four times that.
        block_timeout: how long it waits before it raises a `BackPressureError`.
    """

    divert_after: float = 5.0
    gate_refresh: float = 1.0
    gate_strict: bool = False
    seal_wait: float = 15.0
    publish_timeout: float = 120.0
    max_unacknowledged: int = 100_000
    max_unacknowledged_bytes: int = 256 << 20
    block_timeout: float = 60.0


def see_that_others_count_on(settings: DispatchSettings, config: Config) -> None:
    """See that a producer with limits of its own keeps what others go by.

    Raises:
        ConfigError: it does not, and why.
    """
    refresh, longest = config.standby.gate_refresh, config.standby.divert_after
    if settings.gate_refresh != refresh:
        raise ConfigError(
            "gate_refresh",
            f"is {settings.gate_refresh:g} s here, and {refresh:g} s by the platform's (standby.gate_refresh): "
            "who diverts a lane waits so long for all other producers to see it. Give that, or set it there for all",
        )
    if settings.divert_after > longest:
        raise ConfigError(
            "divert_after",
            f"is {settings.divert_after:g} s here, and at most {longest:g} s by the platform's settings "
            "(standby.divert_after), since a switch of producers waits no longer: raise it there, for all of them",
        )
