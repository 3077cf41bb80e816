import re
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.ids import IdSource, line_request

NOW = 1_790_000_000.123


def test_each_kind_of_id_has_its_prefix_and_128_bits_in_hex() -> None:
    ids = IdSource()
    for made, prefix in ((ids.request(NOW), "req"), (ids.attempt(NOW), "att"), (ids.batch(NOW), "bat")):
        assert re.fullmatch(prefix + r"-[0-9a-f]{32}", made)


def test_the_first_48_bits_are_the_milliseconds_of_its_making() -> None:
    made = IdSource().request(NOW)
    assert int(made.removeprefix("req-")[:12], 16) == 1_790_000_000_123


@given(earlier=st.integers(0, 10**10), gap=st.integers(1, 10**10), seed=st.integers())
def test_ids_sort_by_the_second_of_their_making(earlier: int, gap: int, seed: int) -> None:
    ids = IdSource(Random(seed).getrandbits)
    assert ids.attempt(float(earlier)) < ids.attempt(float(earlier + gap))


def test_two_ids_of_one_instant_differ() -> None:
    ids = IdSource()
    assert len({ids.request(NOW) for _ in range(1000)}) == 1000


def test_a_simulation_makes_the_same_ids_from_the_same_seed() -> None:
    def some(seed: int) -> list[str]:
        ids = IdSource(Random(seed).getrandbits)
        return [ids.request(NOW), ids.attempt(NOW), ids.batch(NOW + 1)]

    assert some(7) == some(7)
    assert some(7) != some(8)


def test_randomness_of_few_bits_is_padded_to_full_width() -> None:
    made = IdSource(lambda _: 5).batch(0.001)
    assert made == "bat-" + "000000000001" + "00000000000000000005"


def test_the_request_of_a_line_follows_from_batch_and_number_and_sorts_by_it() -> None:
    ids = IdSource(Random(1).getrandbits)
    batch, other = ids.kept("batch_", 5.0), ids.kept("batch_", 5.0)
    made = [line_request(batch, number) for number in (1, 2, 10, 50_000)]
    assert made == sorted(made) == [line_request(batch, number) for number in (1, 2, 10, 50_000)]
    assert all(re.fullmatch(r"req-[0-9a-f]{32}", request_id) for request_id in made)
    assert line_request(other, 1) not in made
