"""One client's call as the handlers see it: the request, who makes it, where it goes, and what was decided."""

from dataclasses import dataclass

from aiohttp import web

from proxy.domain.decision import Decision, Reason
from proxy.domain.ids import RequestId
from proxy.domain.tier import Tier
from proxy.server.accounts import Account
from proxy.server.auth import Caller
from proxy.wire.body import BodyHints

RELAYED = Decision(Tier.STANDARD, Reason.PASSTHROUGH, "default")
"""The decision for calls that nothing is decided about."""


@dataclass(slots=True)
class Exchange:
    """`path` is the raw `/v1/...` path with its query, `endpoint` the same without. `body` is None where it streams.

    `model` is empty where the call names none. `started_at` is wall time, `started` the monotonic twin. `decision` and
    `body` are replaced once, when the call is decided upon.
    """

    request: web.BaseRequest
    request_id: RequestId
    caller: Caller
    account: Account
    path: str
    endpoint: str
    model: str
    body: bytes | None
    hints: BodyHints | None
    started_at: float
    started: float
    decision: Decision = RELAYED

    @property
    def buys(self) -> bool:
        """Whether the call buys tokens: files, lists and unknown routes do not, as far as can be known."""
        return self.decision.reason is not Reason.PASSTHROUGH
