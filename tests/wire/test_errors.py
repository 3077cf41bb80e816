import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.errors import ClientFault
from proxy.wire.errors import error_body, render


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "invalid_request_error"),
        (403, "permission_error"),
        (404, "invalid_request_error"),
        (409, "conflict_error"),
        (413, "invalid_request_error"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (499, "invalid_request_error"),
        (500, "server_error"),
        (502, "server_error"),
        (508, "server_error"),
    ],
)
def test_the_type_follows_from_the_status(status: int, kind: str) -> None:
    error = json.loads(error_body(status=status, message="m", code="c"))
    assert error == {"error": {"message": "m", "type": kind, "param": None, "code": "c"}}


def test_a_clients_fault_is_rendered_in_openais_shape() -> None:
    status, body = render(ClientFault("what is wrong", status=404, code="unknown", param="model"))
    assert status == 404
    assert json.loads(body)["error"] == {
        "message": "what is wrong",
        "type": "invalid_request_error",
        "param": "model",
        "code": "unknown",
    }


def test_words_from_a_header_that_is_not_utf_8_can_be_told() -> None:
    header = b"\xff2h".decode("utf-8", "surrogateescape")
    error = json.loads(error_body(status=400, message=f"bad {header}", code=header, param=header))["error"]
    assert error["message"] == "bad \\udcff2h"
    assert (error["code"], error["param"]) == ("\\udcff2h", "\\udcff2h")


@given(st.text(), st.none() | st.text(), st.none() | st.text())
def test_any_words_can_be_told(message: str, code: str | None, param: str | None) -> None:
    assert "error" in json.loads(error_body(status=400, message=message, code=code, param=param))
