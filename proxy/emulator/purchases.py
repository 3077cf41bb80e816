"""Which answers were bought how often, so that a test can prove that each was bought once."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256

from proxy.emulator.shape import JsonObject, canonical
from proxy.emulator.tokens import last_user_text

TRANSPORT_FIELDS = frozenset({"stream", "stream_options", "service_tier"})
"""Fields that say how an answer is delivered, not which: they differ between a call and the line that replaces it."""
TEXT_MAX = 200
CUSTOM_IDS_MAX = 20


def body_key(body: JsonObject) -> str:
    """Return 32 hex digits that are equal for equal requests, however they are delivered."""
    essence = {name: value for name, value in body.items() if name not in TRANSPORT_FIELDS}
    return sha256(canonical(essence)).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Bought:
    """One answer that was billed. `custom_id` is None for a synchronous call."""

    key: str
    text: str
    custom_id: str | None = None


def bought(endpoint: str, body: JsonObject, custom_id: str | None = None) -> Bought:
    """Describe a billed answer to this request."""
    return Bought(body_key(body), last_user_text(endpoint, body)[:TEXT_MAX], custom_id)


@dataclass(slots=True)
class Purchase:
    """How often one body was bought, on either way."""

    text: str
    sync: int = 0
    batch: int = 0
    custom_ids: list[str] = field(default_factory=list)


class Purchases:
    """Counts per body and per custom_id. At most `entries_max` bodies and as many custom_ids are told apart.

    What comes after that is only counted as untold, so that memory stays bounded.
    """

    def __init__(self, entries_max: int) -> None:
        self._entries_max = entries_max
        self._bodies: dict[str, Purchase] = {}
        self._custom_ids: dict[str, int] = {}
        self._untold = 0

    def book(self, bought_now: Iterable[Bought]) -> None:
        """Count these."""
        for one in bought_now:
            self._book_body(one)
            if one.custom_id is not None and self._has_room(self._custom_ids, one.custom_id):
                self._custom_ids[one.custom_id] = self._custom_ids.get(one.custom_id, 0) + 1

    def _book_body(self, one: Bought) -> None:
        if not self._has_room(self._bodies, one.key):
            self._untold += 1
            return
        purchase = self._bodies.setdefault(one.key, Purchase(one.text))
        if one.custom_id is None:
            purchase.sync += 1
            return
        purchase.batch += 1
        if len(purchase.custom_ids) < CUSTOM_IDS_MAX:
            purchase.custom_ids.append(one.custom_id)

    def _has_room(self, entries: dict[str, Purchase] | dict[str, int], key: str) -> bool:
        return key in entries or len(entries) < self._entries_max

    def shown(self, text: str | None = None) -> JsonObject:
        """Return the counts as JSON; with `text`, only the bodies whose user text contains it."""
        bodies = [
            {"body": key, "text": p.text, "sync": p.sync, "batch": p.batch, "custom_ids": p.custom_ids}
            for key, p in self._bodies.items()
            if text is None or text in p.text
        ]
        return {"bodies": bodies, "custom_ids": dict(self._custom_ids), "untold": self._untold}
