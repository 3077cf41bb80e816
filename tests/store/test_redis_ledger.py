import pytest

from proxy.store.redis_ledger import hour_of, total_field


def test_the_field_of_a_total_names_its_group_even_where_that_has_spaces() -> None:
    field = b'["team a","openai","my model","batch","primary"] unknown_paid'
    assert total_field(field) == (("team a", "openai", "my model", "batch", "primary"), "unknown_paid")


@pytest.mark.parametrize(("at", "hour"), [(0.0, 0), (3599.999, 0), (3600.0, 1), (1_800_014_400.5, 500_004)])
def test_an_instant_belongs_to_its_hour(at: float, hour: int) -> None:
    assert hour_of(at) == hour
