"""Webhooks as bytes: which URLs may be named, what is sent, and its signature by the Standard Webhooks scheme.

https://github.com/standard-webhooks/standard-webhooks: the signed text is `id.timestamp.body`, HMAC-SHA256 with the
secret behind `whsec_`; a receiver drops what it has seen by `webhook-id`, which stays the same over repetitions.
"""

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

import msgspec
from standardwebhooks import Webhook

from proxy.domain.answer import Answer
from proxy.domain.errors import ClientFault
from proxy.domain.request import RequestState, RequestView
from proxy.wire.resource import resource

HEADER = "X-Standby-Webhook"
URL_CHARACTERS_MAX = 2_000
SECRET_PREFIX = "whsec_"  # noqa: S105  what every secret begins with
SECRET_BYTES_MIN = 24
"""The least that the scheme allows."""
_TYPES = {
    RequestState.DONE: "deferred.completed",
    RequestState.FAILED: "deferred.failed",
    RequestState.CANCELLED: "deferred.cancelled",
    RequestState.EXPIRED: "deferred.expired",
}


def require_allowed(url: str, *, hosts: Sequence[str], allow_private: bool) -> None:
    """Raise `ClientFault` 400 for a URL that may not be called: `hosts` are globs, plain http is for private ones only.

    That a host's addresses are public can only be known when it is called.
    """
    if not hosts:
        raise _refused("webhooks are not switched on here; the configuration has to name the hosts (webhooks.hosts).")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise _refused("this is no URL.") from None
    if len(url) > URL_CHARACTERS_MAX or not url.isascii() or not url.isprintable() or " " in url or not host:
        raise _refused("this is no URL; write one as https://hooks.example.com/standby.")
    if parts.username is not None or parts.password is not None:
        raise _refused("a user or a password does not belong into it.")
    if parts.scheme != "https" and not (allow_private and parts.scheme == "http"):
        raise _refused("it must begin with https://.")
    if not any(fnmatchcase(host.lower(), glob.lower()) for glob in hosts):
        raise _refused(f"the host {host[:80]!r} is not among those that may be called (webhooks.hosts).")
    if not allow_private and is_address(host) and not is_public(host):
        raise _refused(f"the address {host} is not a public one.")


def host_of(url: str) -> str:
    """The host of an allowed URL, without what may be secret in the rest of it."""
    return urlsplit(url).hostname or ""


def is_address(host: str) -> bool:
    """Whether a host is an address and no name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_public(address: str) -> bool:
    """Whether an address belongs to somebody on the internet, and to none of this machine's or this network's own.

    Addresses that carry an IPv4 address to another network (6to4, Teredo, NAT64) are not public: what they reach is
    not what they look like.
    """
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif ip.sixtofour is not None or ip.teredo is not None:
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def require_secret(secret: str) -> None:
    """Raise ValueError for what is no secret of the scheme: `whsec_` and at least 24 bytes in base64."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or len(key) < SECRET_BYTES_MIN:
        raise ValueError(f"must be {SECRET_PREFIX} and at least {SECRET_BYTES_MIN} random bytes in base64")


def payload(view: RequestView, answer: Answer | None, at: float, *, response_bytes_max: int) -> bytes:
    """What a webhook is told: an event whose `data` is the deferred request. A larger response is left out of it."""
    told = answer if answer is not None and len(answer.body) <= response_bytes_max else None
    event = {
        "type": _TYPES[view.state],
        "timestamp": datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "data": resource(view, told),
    }
    return msgspec.json.encode(event)


def headers(message_id: str, content: bytes, at: float, secret: str) -> list[tuple[str, str]]:
    """The headers of one call, with its signature."""
    signed_at = datetime.fromtimestamp(int(at), UTC)
    return [
        ("Content-Type", "application/json"),
        ("webhook-id", message_id),
        ("webhook-timestamp", str(int(at))),
        ("webhook-signature", Webhook(secret).sign(message_id, signed_at, content.decode())),
    ]


def _refused(reason: str) -> ClientFault:
    return ClientFault(f"{HEADER}: {reason}", code="invalid_webhook", param=HEADER)
