import gzip
import zlib

import pytest

from proxy.domain.errors import ClientFault
from proxy.server.unpack import unpacked, unpacked_request

PLAIN = b'{"model": "gpt-4o-mini"}' * 10


def test_gzip_and_deflate_answers_are_read() -> None:
    assert unpacked(gzip.compress(PLAIN, mtime=0), "gzip") == PLAIN
    assert unpacked(zlib.compress(PLAIN), "Deflate") == PLAIN


def test_an_answer_without_compression_is_read_as_it_is() -> None:
    assert unpacked(PLAIN, None) == PLAIN
    assert unpacked(PLAIN, "identity") == PLAIN


def test_an_answer_that_cannot_be_read_is_empty_and_no_error() -> None:
    assert unpacked(PLAIN, "br") == b""
    assert unpacked(PLAIN, "gzip") == b""


def test_a_gzip_request_body_is_unpacked() -> None:
    assert unpacked_request(gzip.compress(PLAIN, mtime=0), "gzip", 10_000) == PLAIN


@pytest.mark.parametrize(
    ("content", "encoding", "limit", "status"),
    [
        (gzip.compress(PLAIN, mtime=0), "br", 10_000, 415),
        (b"not gzip at all", "gzip", 10_000, 400),
        (gzip.compress(PLAIN, mtime=0)[:-12], "gzip", 10_000, 400),
        (gzip.compress(b"x" * 1000, mtime=0), "gzip", 999, 413),
    ],
)
def test_a_compressed_body_that_cannot_be_used_says_why(content: bytes, encoding: str, limit: int, status: int) -> None:
    with pytest.raises(ClientFault) as caught:
        unpacked_request(content, encoding, limit)
    assert caught.value.status == status


def test_a_small_bomb_is_not_unpacked_beyond_the_limit() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000, mtime=0)
    with pytest.raises(ClientFault) as caught:
        unpacked_request(bomb, "gzip", 1_000_000)
    assert caught.value.status == 413
