"""Reading and writing files on the shelf; the routes are in `tests/stories/test_virtual.py`."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.errors import ClientFault
from proxy.server.virtual_files import PART_BYTES, Volume, lines_of
from proxy.store.shelf import Document
from proxy.wire.virtual import FileRecord, part_number

FILE_ID = "file-1"


class Parts:
    """Only the parts of a shelf."""

    def __init__(self, parts: Mapping[int, bytes]) -> None:
        self.parts = dict(parts)

    async def part(self, document_id: str, number: int) -> bytes | None:
        return self.parts.get(number) if document_id == FILE_ID else None

    async def put_part(self, document_id: str, number: int, content: bytes) -> None:
        assert document_id == FILE_ID
        self.parts[number] = content

    async def put(self, document: Document) -> bool:
        raise NotImplementedError

    async def get(self, kind: str, document_id: str) -> Document | None:
        raise NotImplementedError

    async def page(self, kind: str, tenant: str, *, after: str | None, limit: int) -> list[Document]:
        raise NotImplementedError

    async def pending(self, kind: str) -> list[Document]:
        raise NotImplementedError

    async def stale(self, kind: str, *, created_before: float, limit: int) -> list[Document]:
        raise NotImplementedError

    async def remove(self, kind: str, document_id: str) -> None:
        raise NotImplementedError


def _lines(volumes: Sequence[Sequence[bytes]], line_max_bytes: int = 100) -> list[tuple[int, bytes | None]]:
    parts = {
        part_number(volume, number): content
        for volume, contents in enumerate(volumes)
        for number, content in enumerate(contents)
    }
    record = FileRecord("mine.jsonl", "batch", 0, tuple(len(contents) for contents in volumes))

    async def read() -> list[tuple[int, bytes | None]]:
        return [found async for found in lines_of(Parts(parts), FILE_ID, record, line_max_bytes)]

    return asyncio.run(read())


@given(
    st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b"")), max_size=6), st.integers(1, 7), st.data()
)
def test_lines_are_found_wherever_the_parts_are_cut(lines: list[bytes], size: int, data: st.DataObject) -> None:
    content = b"".join(line + b"\n" for line in lines) + data.draw(st.sampled_from([b"", b"last"]))
    parts = [content[at : at + size] for at in range(0, len(content), size)]
    cut = data.draw(st.integers(0, len(parts)))
    wanted = content.split(b"\n")
    if not wanted[-1]:
        wanted.pop()
    assert _lines([parts[:cut], parts[cut:]]) == list(enumerate(wanted, start=1))


@pytest.mark.parametrize("parts", [[b"a\n", b"x" * 11 + b"\nb"], [b"a\nxxxxxx", b"xxxxxx", b"xxxx\nb"]])
def test_a_line_that_is_too_long_is_not_kept_and_those_around_it_are(parts: list[bytes]) -> None:
    assert _lines([parts], line_max_bytes=10) == [(1, b"a"), (2, None), (3, b"b")]
    assert _lines([[*parts, b"y" * 20]], line_max_bytes=10)[2] == (3, None)


def test_a_file_that_is_deleted_while_it_is_read_is_said_to_be_gone() -> None:
    async def read() -> None:
        record = FileRecord("mine.jsonl", "batch", 0, (2,))
        assert [line async for line in lines_of(Parts({0: b"a\n"}), FILE_ID, record, 9)]

    with pytest.raises(ClientFault):
        asyncio.run(read())


def test_a_volume_gathers_lines_until_they_are_a_part() -> None:
    async def write() -> None:
        shelf = Parts({})
        volume = Volume(shelf, FILE_ID, 2)
        await volume.flush()
        await volume.add(b"a\n")
        assert not shelf.parts
        await volume.add(b"x" * PART_BYTES)
        await volume.add(b"b\n")
        await volume.flush()
        await volume.flush()
        assert [(number, len(content)) for number, content in shelf.parts.items()] == [
            (part_number(2, 0), PART_BYTES + 2),
            (part_number(2, 1), 2),
        ]
        assert (volume.parts, volume.size) == (2, PART_BYTES + 4)

    asyncio.run(write())
