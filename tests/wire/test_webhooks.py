import base64
import json
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from proxy.domain.answer import Answer
from proxy.domain.errors import ClientFault
from proxy.domain.request import RequestState
from proxy.domain.tier import Tier
from proxy.wire.webhooks import headers, host_of, is_public, payload, require_allowed, require_secret
from tests.delivery.samples import view

HOSTS = ("hooks.example.com", "*.example.org", "10.0.0.1", "93.184.215.14", "localhost")
SECRET = "whsec_" + base64.b64encode(b"s" * 24).decode()


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/a?b=c#d",
        "https://HOOKS.example.com:8443",
        "https://deep.a.example.org/",
        "https://93.184.215.14/",
    ],
)
def test_an_allowed_host_may_be_named(url: str) -> None:
    require_allowed(url, hosts=HOSTS, allow_private=False)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://hooks.example.com/", "https://"),
        ("https://evil.example/", "webhooks.hosts"),
        ("https://hooks.example.com.evil.example/", "webhooks.hosts"),
        ("https://hooks.example.com@evil.example/", "user"),
        ("https://user:pass@hooks.example.com/", "user"),
        ("https://example.org/", "webhooks.hosts"),
        ("https://10.0.0.1/", "not a public one"),
        ("ftp://hooks.example.com/", "https://"),
        ("https://", "no URL"),
        ("https://[::1", "no URL"),
        ("https://hooks.example.com:port/", "no URL"),
        ("https://hooks.example.com/a b", "no URL"),
        ("https://hooks.example.com/\r\nX: y", "no URL"),
        ("https://hooks.example.com/" + "x" * 2_000, "no URL"),
        ("hooks.example.com", "no URL"),
        ("", "no URL"),
    ],
)
def test_any_other_url_is_refused_with_the_reason(url: str, why: str) -> None:
    with pytest.raises(ClientFault) as refused:
        require_allowed(url, hosts=HOSTS, allow_private=False)
    assert (refused.value.status, refused.value.code) == (400, "invalid_webhook")
    assert why in refused.value.message


def test_without_configured_hosts_nothing_may_be_named() -> None:
    with pytest.raises(ClientFault, match=r"webhooks\.hosts"):
        require_allowed("https://hooks.example.com/", hosts=(), allow_private=True)


@pytest.mark.parametrize("url", ["http://localhost:9/", "https://10.0.0.1/"])
def test_private_hosts_and_plain_http_may_be_allowed(url: str) -> None:
    require_allowed(url, hosts=HOSTS, allow_private=True)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.0.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1"),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "2001:0:7f00:1::", "64:ff9b::7f00:1"),
    ],
)
def test_an_address_of_this_machine_or_network_is_not(address: str) -> None:
    assert not is_public(address)


def test_only_the_host_of_a_url_is_shown() -> None:
    assert host_of("https://hooks.example.com:8443/token/secret?x=y") == "hooks.example.com"


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_short", "whsec_!!!", SECRET.removeprefix("whsec_")])
def test_what_is_no_secret_of_the_scheme_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_ and at least 24"):
        require_secret(secret)


def test_a_right_secret_is_one() -> None:
    require_secret(SECRET)


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        (RequestState.DONE, "deferred.completed"),
        (RequestState.FAILED, "deferred.failed"),
        (RequestState.CANCELLED, "deferred.cancelled"),
        (RequestState.EXPIRED, "deferred.expired"),
    ],
)
def test_the_event_says_what_became_of_the_request(state: RequestState, kind: str) -> None:
    event = json.loads(payload(view("req-1", state, finished_at=9.0), None, 10.0, response_bytes_max=9))
    assert (event["type"], event["timestamp"]) == (kind, "1970-01-01T00:00:10Z")
    assert event["data"]["id"] == "req-1"


def test_a_large_response_is_left_out() -> None:
    answer = Answer(200, (), b'{"a":1}', Tier.BATCH)
    done = view("req-1", RequestState.DONE, finished_at=9.0)
    told = json.loads(payload(done, answer, 10.0, response_bytes_max=7))
    assert told["data"]["response"]["body"] == {"a": 1}
    assert json.loads(payload(done, answer, 10.0, response_bytes_max=6))["data"]["response"] is None


def test_the_signature_is_the_one_that_receivers_compute() -> None:
    said = dict(headers("req-1", b'{"x":"\xc3\xa4"}', 1_700_000_000.9, SECRET))
    at = datetime.fromtimestamp(1_700_000_000, UTC)
    assert said["webhook-id"] == "req-1"
    assert said["webhook-timestamp"] == "1700000000"
    assert said["webhook-signature"] == Webhook(SECRET).sign("req-1", at, '{"x":"ä"}')
