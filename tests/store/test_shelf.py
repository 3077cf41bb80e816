"""The shelf's contract, on every engine."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from proxy.domain.ids import TenantId
from proxy.store.interface import Store
from proxy.store.shelf import Document, Shelf
from tests.store.conftest import OpenStore

ALICE, BOB = TenantId("alice"), TenantId("bob")


def _document(name: str, *, tenant: TenantId = ALICE, at: float = 1.0, pending: bool = True) -> Document:
    return Document("box", name, tenant, 1, pending, at, f"{name} as it was first".encode())


def _changed(document: Document, content: bytes, *, pending: bool = True) -> Document:
    return replace(document, version=document.version + 1, content=content, pending=pending)


def _play(open_store: OpenStore, story: Callable[[Shelf], Awaitable[None]]) -> None:
    async def whole() -> None:
        store: Store = open_store()
        await store.start()
        try:
            await story(store.shelf)
        finally:
            await store.close()

    asyncio.run(whole())


def test_a_document_is_there_as_it_was_written_after_the_store_was_closed(open_store: OpenStore) -> None:
    async def write(shelf: Shelf) -> None:
        assert await shelf.put(_document("a"))
        await shelf.put_part("a", 0, b"\x00\xff")

    async def read(shelf: Shelf) -> None:
        assert await shelf.get("box", "a") == _document("a")
        assert await shelf.part("a", 0) == b"\x00\xff"
        assert await shelf.get("box", "b") is None
        assert await shelf.get("bag", "a") is None

    _play(open_store, write)
    _play(open_store, read)


def test_of_two_who_change_a_document_the_second_is_told(open_store: OpenStore) -> None:
    async def story(shelf: Shelf) -> None:
        first = _document("a")
        assert not await shelf.put(_changed(first, b"too early"))
        assert await shelf.put(first)
        assert not await shelf.put(replace(first, content=b"somebody else's"))
        one, other = _changed(first, b"one"), _changed(first, b"other")
        assert await shelf.put(one)
        assert not await shelf.put(other)
        assert await shelf.get("box", "a") == one

    _play(open_store, story)


def test_pages_are_newest_first_and_a_tenants_own(open_store: OpenStore) -> None:
    async def story(shelf: Shelf) -> None:
        for name in ("a", "b", "c"):
            await shelf.put(_document(name))
        await shelf.put(_document("d", tenant=BOB))
        await shelf.put(_changed(_document("a"), b"changed, and in its place"))

        async def names(tenant: TenantId, after: str | None = None, limit: int = 9) -> list[str]:
            return [document.id for document in await shelf.page("box", tenant, after=after, limit=limit)]

        assert await names(ALICE) == ["c", "b", "a"]
        assert await names(ALICE, limit=2) == ["c", "b"]
        assert await names(ALICE, after="b") == ["a"]
        assert await names(ALICE, after="nothing") == []
        assert await names(BOB) == ["d"]
        assert await shelf.page("bag", ALICE, after=None, limit=9) == []

    _play(open_store, story)


def test_what_is_pending_is_everybodys_and_oldest_first(open_store: OpenStore) -> None:
    async def story(shelf: Shelf) -> None:
        one, two, three = _document("a"), _document("b", tenant=BOB, at=2.0), _document("c", at=3.0, pending=False)
        for document in (one, two, three):
            await shelf.put(document)
        assert await shelf.pending("box") == [one, two]
        await shelf.put(_changed(one, b"done", pending=False))
        assert await shelf.pending("box") == [two]

    _play(open_store, story)


def test_what_is_stale_is_not_pending_and_goes_with_its_parts(open_store: OpenStore) -> None:
    async def story(shelf: Shelf) -> None:
        old, young = _document("a", at=1.0, pending=False), _document("b", at=9.0, pending=False)
        for document in (old, young, _document("c", at=1.0)):
            await shelf.put(document)
            await shelf.put_part(document.id, 0, b"x")
            await shelf.put_part(document.id, 7, b"y")
        assert await shelf.stale("box", created_before=9.0, limit=5) == [old]
        assert await shelf.stale("box", created_before=10.0, limit=1) == [old]
        await shelf.remove("box", "a")
        await shelf.remove("box", "a")
        assert await shelf.stale("box", created_before=9.0, limit=5) == []
        assert (await shelf.get("box", "a"), await shelf.part("a", 0), await shelf.part("a", 7)) == (None, None, None)
        assert await shelf.part("b", 7) == b"y"
        assert [document.id for document in await shelf.page("box", ALICE, after=None, limit=9)] == ["c", "b"]

    _play(open_store, story)


def test_a_part_that_is_written_again_is_replaced(open_store: OpenStore) -> None:
    async def story(shelf: Shelf) -> None:
        await shelf.put_part("a", 3, b"first")
        await shelf.put_part("a", 3, b"second")
        assert await shelf.part("a", 3) == b"second"
        assert await shelf.part("a", 4) is None

    _play(open_store, story)
