import pytest

from proxy.server.settings import Settings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_these_addresses_are_this_machine_alone(host: str) -> None:
    assert Settings(host=host).loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "standby.example", ""])
def test_these_are_not(host: str) -> None:
    assert not Settings(host=host).loopback


@pytest.mark.parametrize(("field", "value"), [("port", -1), ("port", 65536), ("backlog", 0), ("body_max_bytes", 0)])
def test_what_cannot_be_meant_is_refused_by_its_name(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        Settings(**{field: value})  # type: ignore[arg-type]  # names come from the table above
