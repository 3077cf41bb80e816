from proxy.domain.ids import CredentialId, UpstreamName
from proxy.domain.request import Lane, Queue

QUEUE = Queue(UpstreamName("openai"), CredentialId("a"), "/v1/chat/completions", "gpt-4o-mini")


def test_queues_of_one_upstreams_model_share_a_lane_whoever_pays_and_whatever_the_endpoint() -> None:
    others = [
        Queue(QUEUE.upstream, CredentialId("b"), QUEUE.endpoint, QUEUE.model),
        Queue(QUEUE.upstream, QUEUE.credential, "/v1/responses", QUEUE.model),
    ]
    assert {queue.lane for queue in (QUEUE, *others)} == {Lane(UpstreamName("openai"), "gpt-4o-mini")}


def test_another_model_or_upstream_is_another_lane() -> None:
    other_model = Queue(QUEUE.upstream, QUEUE.credential, QUEUE.endpoint, "gpt-5")
    elsewhere = Queue(UpstreamName("mirror"), QUEUE.credential, QUEUE.endpoint, QUEUE.model)
    assert len({QUEUE.lane, other_model.lane, elsewhere.lane}) == 3
