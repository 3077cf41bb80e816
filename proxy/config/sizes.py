"""Sizes as people write them: `64MB` (powers of ten), `200MiB` (powers of two), or a number of bytes."""

import re
from decimal import Decimal

_UNITS = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,3})?)\s*([a-z]*)", re.ASCII)

SIZE = r"[0-9]{1,15}(?:\.[0-9]{1,3})?(?:[kKmMgG][iI]?[bB]|[bB])?"
"""What `parse_size` takes, as a pattern for a schema; blanks and _ aside."""


def parse_size(text: str) -> int | None:
    """Bytes, or None when the text is no size."""
    found = _SIZE.fullmatch(text.strip().lower().replace("_", ""))
    if found is None or found[2] not in _UNITS:
        return None
    return int(Decimal(found[1]) * _UNITS[found[2]])
