import pytest

from proxy.domain.failure import FailureKind, failure_of


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (None, FailureKind.UNREACHABLE),
        (429, FailureKind.RATE_LIMITED),
        (400, FailureKind.REFUSED),
        (404, FailureKind.REFUSED),
        (500, FailureKind.SERVER_ERROR),
        (503, FailureKind.SERVER_ERROR),
    ],
)
def test_a_status_says_how_the_provider_failed(status: int | None, kind: FailureKind) -> None:
    assert failure_of(status) is kind
