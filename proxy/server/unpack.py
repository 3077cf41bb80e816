"""Reading compressed bodies: a copy to look into, never what is passed on."""

import zlib

from proxy.domain.errors import ClientFault

GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
"""zlib's own code for: gzip or zlib, whichever the header says."""


def unpacked(content: bytes, encoding: str | None) -> bytes:
    """The content as it was before compression; empty where that cannot be told."""
    if not encoding or encoding.lower() == "identity":
        return content
    if encoding.lower() not in {"gzip", "x-gzip", "deflate"}:
        return b""
    try:
        return zlib.decompress(content, GZIP_OR_ZLIB)
    except zlib.error:
        return b""


def unpacked_request(content: bytes, encoding: str, bytes_max: int) -> bytes:
    """A client's body as it was before compression; raises `ClientFault` where that is impossible or too large."""
    if encoding.lower() not in {"gzip", "x-gzip", "deflate"}:
        raise ClientFault(
            f"Content-Encoding {encoding[:40]!r} cannot be read here; send gzip, deflate or no compression.",
            status=415,
            code="unsupported_encoding",
            param="Content-Encoding",
        )
    unpacker = zlib.decompressobj(GZIP_OR_ZLIB)
    try:
        plain = unpacker.decompress(content, bytes_max + 1)
    except zlib.error as error:
        raise ClientFault("The compressed body is damaged.", code="invalid_body") from error
    if len(plain) > bytes_max:
        raise ClientFault("The body is too large once unpacked.", status=413, code="body_too_large")
    if not unpacker.eof:
        raise ClientFault("The compressed body is cut off.", code="invalid_body")
    return plain
