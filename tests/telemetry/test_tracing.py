import sys

import pytest

from proxy.domain.errors import ConfigFault
from proxy.telemetry.tracing import Settings, open_traces


def test_nothing_is_traced_unless_it_is_wanted_and_then_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "proxy.telemetry.traces", raising=False)
    assert open_traces(Settings()) is None
    assert "proxy.telemetry.traces" not in sys.modules


def test_without_the_extra_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.telemetry.tracing.NEEDED", ("no_such_library.sdk",))
    with pytest.raises(ConfigFault, match=r"pip install 'standby-proxy\[otel\]'"):
        open_traces(Settings(enabled=True))


def test_with_it_spans_are_made() -> None:
    made = open_traces(Settings(enabled=True, endpoint="http://127.0.0.1:4318/"))
    assert made is not None
    made.close()


@pytest.mark.parametrize("endpoint", ["127.0.0.1:4318", "ftp://h", "http://", "http://user:word@h"])
def test_an_endpoint_that_cannot_be_meant_is_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match="endpoint: must be a URL") as caught:
        Settings(endpoint=endpoint)
    assert "word" not in str(caught.value)
