from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.ids import TenantId, UpstreamName
from proxy.domain.request import Lane
from proxy.store.redis_codec import lane_word, pair_word, undelivered_word

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
