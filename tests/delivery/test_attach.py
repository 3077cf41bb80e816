import pytest

from proxy.delivery.attach import choose
from proxy.domain.request import RequestState, RequestView
from tests.delivery.samples import view


@pytest.mark.parametrize(
    ("earlier", "held", "chosen"),
    [
        ([], set(), None),
        ([view("a")], set(), "a"),
        ([view("a"), view("b")], {"a"}, "b"),
        ([view("a"), view("b")], {"a", "b"}, "a"),
        ([view("a", RequestState.DONE), view("b")], set(), "a"),
        ([view("a", RequestState.CANCELLED)], set(), None),
        ([view("a", RequestState.CANCELLED), view("b")], {"b"}, "b"),
    ],
)
def test_a_retry_goes_to_the_work_whose_client_is_gone(
    earlier: list[RequestView], held: set[str], chosen: str | None
) -> None:
    found = choose(earlier, lambda request_id: request_id in held)
    assert (found.id if found else None) == chosen
