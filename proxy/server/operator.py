"""For whoever runs the proxy: the built-in page at `/`, and the data that it shows.

The page is one file and holds nothing of anybody's, so that it is served to everybody. Its data is behind the
operator's key, which the page asks for and sends as any client sends a key.
"""

import base64
import hashlib
import re
from pathlib import Path

import msgspec
from aiohttp import web

from proxy import __version__
from proxy.domain.errors import ClientFault
from proxy.server.house import House
from proxy.server.replies import JSON, reply

OVERVIEW = "/operator/overview"
METHOD_NOT_ALLOWED = 405
READING = frozenset({"GET", "HEAD"})
PAGE = Path(__file__).with_name("page.html").read_bytes()

FRONT = {
    "service": "standby",
    "version": __version__,
    "base_url": "/v1",
    "deferred_requests": "/v1/deferred",
    "health": "/healthz",
    "readiness": "/readyz",
    "metrics": "/metrics",
    "overview": f"{OVERVIEW}, with the operator's key; this address in a browser shows it",
}
"""What `/` says to machines."""


def content_policy(page: bytes) -> str:
    """The page's own script and style may run, and ask this origin; nothing else may be loaded, sent or framed."""
    script, style = (_hash_of(tag, page) for tag in (b"script", b"style"))
    return (
        f"default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
        "trusted-types 'none'"
    )


def _hash_of(tag: bytes, page: bytes) -> str:
    content = re.search(rb"<%s>(.*?)</%s>" % (tag, tag), page, re.DOTALL)
    if content is None:
        raise AssertionError(f"the page has no <{tag.decode()}>")
    return f"'sha256-{base64.b64encode(hashlib.sha256(content[1]).digest()).decode()}'"


_NEVER_KEPT = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"))
_PAGE_HEADERS = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Security-Policy", content_policy(PAGE)),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Vary", "Accept"),
    *_NEVER_KEPT,
)


async def serve(house: House, request: web.BaseRequest) -> web.Response | None:
    """The answer to one of these routes, None for every other. Raises `ClientFault` for who is not the operator."""
    if request.path == "/" and request.method in READING:
        return _front(request)
    if request.path != OVERVIEW:
        return None
    house.doorman.require_operator(request.headers)
    if request.method not in READING:
        message = f"{request.method} is not possible here."
        raise ClientFault(message, status=METHOD_NOT_ALLOWED, code="method_not_allowed")
    return reply(200, msgspec.json.encode(await house.showcase.overview()), (JSON, *_NEVER_KEPT))


def _front(request: web.BaseRequest) -> web.Response:
    """The page for browsers, a few words for everything else."""
    if "text/html" in request.headers.get("Accept", "").lower():
        return reply(200, PAGE, _PAGE_HEADERS)
    front = msgspec.json.format(msgspec.json.encode(FRONT), indent=2) + b"\n"
    return reply(200, front, (JSON, ("Vary", "Accept"), *_NEVER_KEPT))
