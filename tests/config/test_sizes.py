import pytest

from proxy.config.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("512B", 512),
        ("10_000", 10_000),
        ("1kB", 1000),
        ("200MB", 200_000_000),
        ("200 MiB", 209_715_200),
        ("1.5KiB", 1536),
        ("0.001GB", 1_000_000),
        ("2GiB", 2**31),
    ],
)
def test_powers_of_ten_and_of_two_are_told_apart(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1MB", "1TB", "1e3", "one", "1MB 2MB", "0x10", "٣MB", "9" * 16])
def test_what_is_no_size_is_none(text: str) -> None:
    assert parse_size(text) is None
