import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.ids import TenantId, UpstreamName
from proxy.domain.request import Lane
from proxy.store.redis_codec import hour_of, lane_word, pair_word, total_field, undelivered_word

WORDS = st.text(alphabet="a: 1/é\0", max_size=6)


@given(first=st.tuples(WORDS, WORDS), second=st.tuples(WORDS, WORDS))
def test_two_pairs_of_words_never_make_the_same_part_of_a_key(first: tuple[str, str], second: tuple[str, str]) -> None:
    """A tenant that is called `a b` and one that is called `a` must not share anything."""
    assert (pair_word(*first) == pair_word(*second)) == (first == second)


def test_the_length_is_in_bytes_as_lua_counts_it() -> None:
    assert pair_word("é", "x") == "2:é:x"


def test_lanes_and_bodies_have_words_of_their_own() -> None:
    assert lane_word(Lane(UpstreamName("openai"), "gpt-5")) == "6:openai:gpt-5"
    assert undelivered_word(TenantId("alice"), "/v1/responses", b"\xab") == "5:alice:/v1/responses ab"


def test_the_field_of_a_total_names_its_group_even_where_that_has_spaces() -> None:
    field = b'["team a","openai","my model","batch","primary"] unknown_paid'
    assert total_field(field) == (("team a", "openai", "my model", "batch", "primary"), "unknown_paid")


@pytest.mark.parametrize(("at", "hour"), [(0.0, 0), (3599.999, 0), (3600.0, 1), (1_800_014_400.5, 500_004)])
def test_an_instant_belongs_to_its_hour(at: float, hour: int) -> None:
    assert hour_of(at) == hour
