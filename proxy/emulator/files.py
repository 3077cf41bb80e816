"""Files: the bytes on disk, what is known about them in memory, per account. Expired files are gone when looked at."""

import math
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from proxy.emulator.errors import ApiError, bad_request
from proxy.emulator.ids import Ids
from proxy.emulator.pace import Pace, unix
from proxy.emulator.settings import Settings
from proxy.emulator.shape import JsonObject

WRITE_BYTES = 1024 * 1024
READ_BYTES = 256 * 1024
PURPOSES = frozenset({"assistants", "batch", "fine-tune", "vision", "user_data", "evals"})


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of one account."""

    id: str
    account: str
    filename: str
    purpose: str
    size: int
    created_at: float
    expires_at: float
    path: Path

    def shown(self) -> JsonObject:
        """Return OpenAI's file object."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": self.size,
            "created_at": int(self.created_at),
            "expires_at": unix(self.expires_at),
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
            "status_details": None,
        }


class Shelf:
    """All files. `open` before use, `close` removes the directory if it was the shelf's own."""

    def __init__(self, settings: Settings, pace: Pace, ids: Ids) -> None:
        self._settings = settings
        self._pace = pace
        self._ids = ids
        self._files: dict[str, StoredFile] = {}
        self._paths: set[Path] = set()
        """Every path that was given out and not discarded: what has to be gone in the end."""
        self._directory: Path | None = None

    async def open(self) -> None:
        """Make the directory."""
        self._directory = await self._pace.off_loop(self._make_directory)

    def _make_directory(self) -> Path:
        if self._settings.directory is None:
            return Path(tempfile.mkdtemp(prefix="standby-emulator-"))
        self._settings.directory.mkdir(parents=True, exist_ok=True)
        return self._settings.directory

    async def close(self) -> None:
        """Forget and delete all files."""
        self._files.clear()
        if self._directory is not None and self._settings.directory is None:
            await self._pace.off_loop(shutil.rmtree, self._directory, ignore_errors=True)
        else:
            await self.discard(*self._paths)

    def path_for(self, name: str) -> Path:
        """Return where a file of this name shall lie; it is deleted in the end if nobody discards it before."""
        if self._directory is None:
            raise RuntimeError("the emulator has not been started")
        path = self._directory / name
        self._paths.add(path)
        return path

    async def receive(self, chunks: AsyncIterator[bytes]) -> tuple[Path, int]:
        """Write an upload to disk as it arrives, and return its path and size. Refuses what is too large."""
        path = self.path_for(self._ids.next("upload-"))
        handle: BinaryIO = await self._pace.off_loop(path.open, "wb")
        try:
            size = await self._write(chunks, handle)
        except BaseException:
            await self._pace.off_loop(handle.close)
            await self.discard(path)
            raise
        await self._pace.off_loop(handle.close)
        return path, size

    async def _write(self, chunks: AsyncIterator[bytes], handle: BinaryIO) -> int:
        size, waiting = 0, bytearray()
        async for chunk in chunks:
            waiting += chunk
            size += len(chunk)
            if size > self._settings.upload_bytes_max:
                raise ApiError(413, "The file is larger than the limit.", code="file_too_large")
            if len(waiting) >= WRITE_BYTES:
                await self._pace.off_loop(handle.write, bytes(waiting))
                waiting.clear()
        await self._pace.off_loop(handle.write, bytes(waiting))
        return size

    async def discard(self, *paths: Path) -> None:
        """Delete bytes that no file stands for."""
        self._paths.difference_update(paths)
        await self._pace.off_loop(_unlink, *paths)

    def add(
        self, account: str, path: Path, *, filename: str, purpose: str, size: int, at: float, keep_seconds: float | None
    ) -> StoredFile:
        """Enter a file whose bytes are on disk. `keep_seconds` are provider seconds; None: never expires."""
        expires_at = math.inf if keep_seconds is None else self._pace.after(at, keep_seconds)
        stored = StoredFile(self._ids.next("file-"), account, filename, purpose, size, at, expires_at, path)
        self._files[stored.id] = stored
        return stored

    async def get(self, account: str, file_id: str) -> StoredFile:
        """Return a file of this account, or refuse with a 404."""
        await self.sweep()
        stored = self._files.get(file_id)
        if stored is None or stored.account != account:
            raise ApiError(404, f"No such File object: {file_id}", param="id")
        return stored

    async def delete(self, account: str, file_id: str) -> None:
        """Delete a file of this account, or refuse with a 404."""
        stored = await self.get(account, file_id)
        del self._files[file_id]
        await self.discard(stored.path)

    async def page(
        self, account: str, *, after: str | None, limit: int, newest_first: bool, purpose: str | None
    ) -> tuple[list[StoredFile], bool]:
        """Return one page of this account's files, and whether there are more."""
        await self.sweep()
        mine = [one for one in self._files.values() if one.account == account]
        mine = list(reversed(mine)) if newest_first else mine
        if after is not None:
            position = next((place for place, one in enumerate(mine) if one.id == after), None)
            if position is None:
                raise bad_request(f"No file with id '{after}' to list after.", param="after")
            mine = mine[position + 1 :]
        wanted = [one for one in mine if purpose in (None, one.purpose)]
        return wanted[:limit], len(wanted) > limit

    async def everything(self) -> list[StoredFile]:
        """Return all files of all accounts."""
        await self.sweep()
        return list(self._files.values())

    async def sweep(self) -> None:
        """Delete what has expired."""
        now = self._pace.now()
        gone = [stored for stored in self._files.values() if stored.expires_at <= now]
        for stored in gone:
            self._files.pop(stored.id, None)
        if gone:
            await self.discard(*(stored.path for stored in gone))

    async def read(self, stored: StoredFile) -> AsyncIterator[bytes]:
        """Yield a file's bytes in pieces."""
        handle: BinaryIO = await self._pace.off_loop(stored.path.open, "rb")
        try:
            while piece := await self._pace.off_loop(handle.read, READ_BYTES):
                yield piece
        finally:
            await self._pace.off_loop(handle.close)

    async def pin(self, stored: StoredFile, name: str) -> Path:
        """Keep the bytes for a batch under another name, so that deleting the file does not break the batch."""
        path = self.path_for(name)
        await self._pace.off_loop(os.link, stored.path, path)
        return path


def _unlink(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
