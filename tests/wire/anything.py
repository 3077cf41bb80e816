"""Hypothesis strategies: any JSON, and bytes that are nearly JSON."""

import json

from hypothesis import strategies as st

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
)
JSON_VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcé\n", max_size=3), inner, max_size=4),
    max_leaves=12,
)


def objects_with(*names: str) -> st.SearchStrategy[dict[str, object]]:
    """JSON objects whose fields have these names and values of any kind."""
    return st.dictionaries(st.sampled_from(names), JSON_VALUES, max_size=len(names))


def encoded(values: st.SearchStrategy[dict[str, object]]) -> st.SearchStrategy[bytes]:
    """The values as JSON, as different writers write it."""
    return st.builds(
        lambda value, indent, ascii_only: json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode(),
        values,
        st.sampled_from([None, 0, 2]),
        st.booleans(),
    )


def damaged(bodies: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """The bodies cut off, with a byte changed, or with any bytes put in; and any bytes at all."""
    place = st.floats(0, 1)

    def cut(body: bytes, where: float) -> bytes:
        return body[: int(len(body) * where)]

    def put_in(body: bytes, where: float, foreign: bytes) -> bytes:
        at = int(len(body) * where)
        return body[:at] + foreign + body[at:]

    return (
        bodies
        | st.binary(max_size=40)
        | st.builds(cut, bodies, place)
        | st.builds(put_in, bodies, place, st.binary(min_size=1, max_size=6) | st.just(rb"\ud83d"))
    )
