"""Files over HTTP: upload, look, list, download, delete, expire."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest


def sizes_in(directory: Path) -> list[int]:
    return [path.stat().st_size for path in directory.iterdir()]


def test_what_is_uploaded_can_be_looked_at_downloaded_and_deleted(play: Any) -> None:
    async def story(site: Any) -> None:
        shown = (await site.upload(b'{"a": 1}\n', name="one.jsonl")).json
        assert (shown["object"], shown["bytes"], shown["filename"]) == ("file", 9, "one.jsonl")
        assert (shown["purpose"], shown["status"]) == ("batch", "processed")
        path = f"/v1/files/{shown['id']}"
        assert (await site.call("GET", path)).json == shown
        assert (await site.call("GET", f"{path}/content")).raw == b'{"a": 1}\n'
        assert (await site.call("DELETE", path)).json == {"id": shown["id"], "object": "file", "deleted": True}
        for method, gone in (("GET", path), ("GET", f"{path}/content"), ("DELETE", path)):
            assert (await site.call(method, gone)).status == 404
        assert (await site.emulator.account())["files"] == []

    play(story)


def test_another_key_sees_nothing_of_a_file(play: Any) -> None:
    async def story(site: Any) -> None:
        path = f"/v1/files/{(await site.upload(b'x')).json['id']}"
        assert (await site.call("GET", path, key="sk-other")).status == 404
        assert (await site.call("DELETE", path, key="sk-other")).status == 404
        assert (await site.call("GET", "/v1/files", key="sk-other")).json["data"] == []

    play(story)


def test_a_large_upload_goes_to_disk_and_comes_back_whole(play: Any, tmp_path: Path) -> None:
    async def story(site: Any) -> None:
        content = bytes(range(256)) * 4 * 3000
        shown = (await site.upload(content)).json
        assert shown["bytes"] == len(content)
        assert sizes_in(tmp_path) == [len(content)]
        assert (await site.call("GET", f"/v1/files/{shown['id']}/content")).raw == content

    play(story, directory=tmp_path)
    assert sizes_in(tmp_path) == []


def test_the_list_is_paged_ordered_and_filtered(play: Any) -> None:
    async def story(site: Any) -> None:
        ids = [(await site.upload(b"x", name=f"{n}.jsonl")).json["id"] for n in range(3)]
        vision = (await site.upload(b"x", name="cat.png", purpose="vision")).json["id"]
        newest = (await site.call("GET", "/v1/files?limit=2")).json
        assert ([one["id"] for one in newest["data"]], newest["has_more"]) == ([vision, ids[2]], True)
        rest = (await site.call("GET", f"/v1/files?after={newest['last_id']}")).json
        assert [one["id"] for one in rest["data"]] == [ids[1], ids[0]]
        oldest = (await site.call("GET", "/v1/files?order=asc&purpose=batch")).json
        assert [one["id"] for one in oldest["data"]] == ids
        for wrong in ("limit=0", "order=up", "after=nobody"):
            assert (await site.call("GET", f"/v1/files?{wrong}")).status == 400

    play(story)


@pytest.mark.parametrize(
    ("fields", "name", "content"),
    [
        ({"purpose": "nonsense"}, "a.jsonl", b"x"),
        ({}, "a.json", b"x"),
        ({}, "a.jsonl", b""),
        ({"surprise": "1"}, "a.jsonl", b"x"),
        ({"expires_after[anchor]": "created_at"}, "a.jsonl", b"x"),
        ({"expires_after[anchor]": "created_at", "expires_after[seconds]": "60"}, "a.jsonl", b"x"),
        ({"expires_after[anchor]": "now", "expires_after[seconds]": "3600"}, "a.jsonl", b"x"),
    ],
)
def test_a_wrong_upload_is_refused_and_leaves_nothing(
    play: Any, tmp_path: Path, fields: dict[str, str], name: str, content: bytes
) -> None:
    async def story(site: Any) -> None:
        assert (await site.upload(content, name=name, **fields)).status == 400
        assert sizes_in(tmp_path) == []
        assert (await site.emulator.account())["files"] == []

    play(story, directory=tmp_path)


def test_an_upload_without_file_or_purpose_or_form_is_refused(play: Any) -> None:
    async def story(site: Any) -> None:
        form = aiohttp.FormData(default_to_multipart=True)
        form.add_field("purpose", "batch")
        assert (await site.call("POST", "/v1/files", data=form)).json["error"]["param"] == "file"
        form = aiohttp.FormData()
        form.add_field("file", b"x", filename="a.jsonl")
        assert (await site.call("POST", "/v1/files", data=form)).json["error"]["param"] == "purpose"
        assert (await site.call("POST", "/v1/files", {"purpose": "batch"})).status == 400

    play(story)


def test_an_upload_over_the_limit_is_refused_and_leaves_nothing(play: Any, tmp_path: Path) -> None:
    async def story(site: Any) -> None:
        assert (await site.upload(b"x" * 5000)).status == 413
        assert sizes_in(tmp_path) == []

    play(story, directory=tmp_path, upload_bytes_max=4000)


def test_uploads_for_batches_expire_by_default_and_when_asked(play: Any) -> None:
    async def story(site: Any) -> None:
        default = (await site.upload(b"x")).json
        asked = await site.upload(b"x", **{"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"})
        assert default["expires_at"] - default["created_at"] == 30 * 86400
        assert asked.json["expires_at"] - asked.json["created_at"] == 3600
        site.clock.at += 3600
        assert [one["id"] for one in (await site.call("GET", "/v1/files")).json["data"]] == [default["id"]]

    play(story)


def test_uploads_are_limited_per_minute(play: Any) -> None:
    async def story(site: Any) -> None:
        assert (await site.upload(b"x")).status == 200
        assert (await site.upload(b"x")).status == 429
        site.clock.at += 60
        assert (await site.upload(b"x")).status == 200

    play(story, uploads_per_minute=1)


def test_nothing_is_left_in_a_directory_of_the_users_even_with_batches_at_work(
    play: Any, line: Any, tmp_path: Path
) -> None:
    async def story(site: Any) -> None:
        done = await site.look(await site.batch([line("a")]), after=480)
        assert done["status"] == "completed"
        await site.batch([line("b")])
        assert len(sizes_in(tmp_path)) == 4  # two inputs, one output, one input pinned by its batch

    play(story, directory=tmp_path)
    assert sizes_in(tmp_path) == []


def test_an_upload_that_breaks_off_leaves_nothing(play: Any, tmp_path: Path) -> None:
    async def broken_upload() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
        yield b"x" * 100_000
        raise ConnectionAbortedError

    async def story(site: Any) -> None:
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        with pytest.raises((aiohttp.ClientError, ConnectionAbortedError)):
            await site.call("POST", "/v1/files", data=broken_upload(), headers=headers)
        for _ in range(100):
            if (await site.emulator.account())["routes"]:
                break
            await asyncio.sleep(0.01)
        assert sizes_in(tmp_path) == []
        assert (await site.emulator.account())["files"] == []

    play(story, directory=tmp_path)
