"""Embeddings out of a hash: unit vectors that are equal for equal inputs and nearly orthogonal for others."""

import math
from array import array
from base64 import b64encode
from hashlib import shake_128

from proxy.emulator.shape import canonical

MIDDLE = 32_768


def embedding(model: str, given: str | list[object], size: int, *, packed: bool) -> list[float] | str:
    """Return the vector of one input; `packed` gives OpenAI's base64 of little-endian 32-bit floats."""
    digest = shake_128(model.encode() + b"\n" + canonical(given)).digest(size * 2)
    raw = [int.from_bytes(digest[at : at + 2]) - MIDDLE for at in range(0, size * 2, 2)]
    length = math.sqrt(sum(value * value for value in raw)) or 1.0
    vector = [round(value / length, 8) for value in raw]
    if not packed:
        return vector
    floats = array("f", vector)
    return b64encode(floats.tobytes()).decode()
