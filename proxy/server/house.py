"""Everything that a handler needs, built once by the runtime."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Protocol

import aiohttp

from proxy.delivery.holds import Holds
from proxy.delivery.webhooks import Webhooks
from proxy.domain.clock import Clock
from proxy.domain.events import Announce
from proxy.domain.ids import IdSource, UpstreamName
from proxy.routing.limitbook import LimitBook
from proxy.routing.planner import Outlook
from proxy.routing.policy import Policy
from proxy.routing.pricing import PriceBook
from proxy.server.accounts import Account, Accounts
from proxy.server.arrivals import Arrivals
from proxy.server.auth import Doorman
from proxy.server.booking import Bookings
from proxy.server.budgets import Budgets
from proxy.server.leavers import Leavers
from proxy.server.settings import Settings, VirtualSettings
from proxy.store.interface import Store
from proxy.store.vault import Vault
from proxy.telemetry.overview import Overview


class Showcase(Protocol):
    """What can be shown of the whole, to machines and to the operator."""

    async def metrics(self, *, openmetrics: bool, alone: bool) -> tuple[bytes, str]:
        """The exposition of all metrics, and its content type; `alone`: of this process, whoever else is behind its
        address.
        """

    async def overview(self) -> Overview:
        """One look at everything, a second old at most."""


@dataclass(slots=True)
class House:
    """The seams of the server.

    `policy` is the one in force: a reload replaces it whole. `batch_is_sold` says whether an account has the batch
    tier right now, `outlook` what the planner has to know of an upstream's model now, for
    a deadline that is to be met with some confidence.
    `observes`: nothing is deferred where the policy does not say otherwise. `billed_twice_share` is how often a batch
    that is late is reckoned to be billed as well.
    `own_port` is that of this process, where it shares its address with others.
    `hop` is this process's name in `Via`: a call that carries it has come round in a circle. `showcase` looks at the
    house too, and so it is set once the rest is built.
    """

    settings: Settings
    virtual: VirtualSettings
    store: Store
    vault: Vault
    doorman: Doorman
    accounts: Accounts
    session: aiohttp.ClientSession
    prices: PriceBook
    limits: LimitBook
    holds: Holds
    bookings: Bookings
    leavers: Leavers
    webhooks: Webhooks
    budgets: Budgets
    policy: Policy
    timezone: tzinfo
    clock: Clock
    ids: IdSource
    announce: Announce
    poke_engine: Callable[[], None]
    batch_is_sold: Callable[[Account, float], bool]
    outlook: Callable[[UpstreamName, str, float, float], Outlook]
    hop: str
    observes: bool = False
    billed_twice_share: float = 0.0
    arrivals: Arrivals = field(default_factory=Arrivals)
    draining: bool = False
    calls_under_way: int = field(default=0)
    own_port: int | None = None
    showcase: Showcase = field(init=False)
