"""The tables of arguments, compared with those that the openai package knows."""

from openai.types import completion_create_params, embedding_create_params, moderation_create_params
from openai.types.chat import completion_create_params as chat_create_params
from openai.types.responses import response_create_params

from proxy.emulator.catalog import CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS, RESPONSES
from proxy.emulator.kinds import ARGUMENTS, FLAG, REQUIRED, TEXT, either, integer, one_of

KNOWN = {
    CHAT: chat_create_params.CompletionCreateParamsBase,
    RESPONSES: response_create_params.ResponseCreateParamsBase,
    EMBEDDINGS: embedding_create_params.EmbeddingCreateParams,
    COMPLETIONS: completion_create_params.CompletionCreateParamsBase,
    MODERATIONS: moderation_create_params.ModerationCreateParams,
}
STREAMED = (CHAT, RESPONSES, COMPLETIONS)


def test_no_endpoint_takes_an_argument_that_the_sdk_has_never_heard_of() -> None:
    for endpoint, described in KNOWN.items():
        expected = set(described.__annotations__) | ({"stream"} if endpoint in STREAMED else set())
        assert set(ARGUMENTS[endpoint]) <= expected, endpoint


def test_required_arguments_are_among_the_known() -> None:
    for endpoint, names in REQUIRED.items():
        assert set(names) <= set(ARGUMENTS[endpoint])


def test_a_boolean_is_no_number_and_a_union_is_any_of_its_parts() -> None:
    yes: object = True
    assert not integer().fits(yes)
    assert FLAG.fits(yes)
    assert not FLAG.fits(1)
    union = either(one_of("auto"), integer())
    assert union.fits("auto")
    assert union.fits(3)
    assert not union.fits("other")
    assert TEXT.fits("")
