import pytest

from proxy.batching.settings import Settings


@pytest.mark.parametrize("field", ["tick_seconds", "look_seconds", "backoff_seconds", "sweep_seconds"])
@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_pace_of_nothing_is_refused_by_its_name(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{field}: "):
        Settings(**{field: value})  # type: ignore[arg-type]  # names come from the table above


@pytest.mark.parametrize("field", ["tries_max", "calls_max", "collect_tries"])
def test_a_count_below_one_is_refused_by_its_name(field: str) -> None:
    with pytest.raises(ValueError, match=rf"^{field}: "):
        Settings(**{field: 0})  # type: ignore[arg-type]  # names come from the table above


@pytest.mark.parametrize("value", [3599, 2_592_001])
def test_a_file_expiry_that_the_provider_would_refuse_is_refused_here(value: int) -> None:
    with pytest.raises(ValueError, match=r"^input_file_expiry_seconds: "):
        Settings(input_file_expiry_seconds=value)


def test_fractions_of_a_second_are_fine() -> None:
    assert Settings(tick_seconds=0.01, look_seconds=0.2).tick_seconds == 0.01
