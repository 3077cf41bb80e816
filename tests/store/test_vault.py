"""Keys of clients: sealed on disk, named without telling anything, opened again after a restart."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from cryptography.fernet import Fernet

from proxy.domain.credential import Auth
from proxy.domain.errors import ConfigFault, StoreFault
from proxy.domain.ids import CredentialId
from proxy.runtime.clock import SystemClock
from proxy.store.sqlite import SqliteStore
from proxy.store.vault import Vault, read_secret

KEY = Auth((("authorization", "Bearer sk-very-secret-key"), ("openai-project", "p1")))
SECRET = Fernet.generate_key()


def _with_store(folder: Path, story: Callable[[SqliteStore], Awaitable[None]]) -> None:
    async def whole() -> None:
        store = SqliteStore(folder / "a.db", SystemClock())
        await store.start()
        try:
            await story(store)
        finally:
            await store.close()

    asyncio.run(whole())


def test_a_key_is_never_on_disk_in_the_clear_and_opens_again_after_a_restart(tmp_path: Path) -> None:
    kept: list[CredentialId] = []

    async def before(store: SqliteStore) -> None:
        kept.append(await Vault(store, SECRET, {}).keep(KEY))

    async def after(store: SqliteStore) -> None:
        assert await Vault(store, SECRET, {}).open(kept[0]) == KEY

    _with_store(tmp_path, before)
    for file in tmp_path.iterdir():
        assert b"very-secret" not in file.read_bytes(), file
    _with_store(tmp_path, after)


def test_the_same_headers_have_the_same_name_and_others_another(tmp_path: Path) -> None:
    async def story(store: SqliteStore) -> None:
        vault = Vault(store, SECRET, {})
        assert vault.name(KEY) == await vault.keep(KEY)
        assert vault.name(Auth(KEY.headers[:1])) != vault.name(KEY)
        assert "secret" not in vault.name(KEY)

    _with_store(tmp_path, story)


def test_another_secret_opens_nothing(tmp_path: Path) -> None:
    async def story(store: SqliteStore) -> None:
        name = await Vault(store, SECRET, {}).keep(KEY)
        with pytest.raises(StoreFault, match="sealed with another secret"):
            await Vault(store, Fernet.generate_key(), {}).open(name)
        with pytest.raises(StoreFault, match="not in the store"):
            await Vault(store, SECRET, {}).open(CredentialId("unknown"))

    _with_store(tmp_path, story)


def test_a_configured_credential_is_opened_and_never_stored(tmp_path: Path) -> None:
    async def story(store: SqliteStore) -> None:
        name = CredentialId("configured-openai")
        assert await Vault(store, SECRET, {name: KEY}).open(name) == KEY
        assert await store.credential(name) is None

    _with_store(tmp_path, story)


def test_a_tenant_is_the_same_for_the_same_key_and_tells_nothing_about_it(tmp_path: Path) -> None:
    async def story(store: SqliteStore) -> None:
        vault = Vault(store, SECRET, {})
        assert vault.tenant_of("Bearer sk-1") == vault.tenant_of("Bearer sk-1")
        assert vault.tenant_of("Bearer sk-1") != vault.tenant_of("Bearer sk-2")
        assert "sk-1" not in vault.tenant_of("Bearer sk-1")
        assert vault.tenant_of("Bearer sk-1") != Vault(store, Fernet.generate_key(), {}).tenant_of("Bearer sk-1")

    _with_store(tmp_path, story)


def test_the_key_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "standby.key"
    secret = read_secret({}, file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert read_secret({}, file) == secret


def test_workers_that_start_together_on_an_empty_folder_agree_on_one_key(tmp_path: Path) -> None:
    workers = 8
    for start in range(30):
        folder = tmp_path / str(start)
        folder.mkdir()
        together = Barrier(workers)

        def worker(file: Path, together: Barrier) -> bytes:
            together.wait()
            return read_secret({}, file)

        with ThreadPoolExecutor(workers) as pool:
            begun = [pool.submit(worker, folder / "standby.key", together) for _ in range(workers)]
        secrets = {done.result() for done in begun}
        assert len(secrets) == 1
        assert [file.name for file in folder.iterdir()] == ["standby.key"]


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "standby.key"
    read_secret({}, file)
    file.chmod(0o644)
    with pytest.raises(ConfigFault, match="chmod 600"):
        read_secret({}, file)


def test_the_environment_comes_before_the_file(tmp_path: Path) -> None:
    assert read_secret({"STANDBY_SECRET_KEY": SECRET.decode()}, tmp_path / "standby.key") == SECRET
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("garbage", ["hunter2", "x" * 44])
def test_a_secret_that_is_no_key_is_refused_without_being_repeated(tmp_path: Path, garbage: str) -> None:
    with pytest.raises(ConfigFault, match="holds no key") as caught:
        read_secret({"STANDBY_SECRET_KEY": garbage}, tmp_path / "standby.key")
    assert garbage not in str(caught.value)
    with pytest.raises(ConfigFault, match="cannot be used"):
        read_secret({}, tmp_path / "missing" / "standby.key")
