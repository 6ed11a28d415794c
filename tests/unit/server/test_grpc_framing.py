"""gRPC's own layer over HTTP/2: messages out of bodies, what heads say, and how a status is written."""

import gzip
import zlib
from http import HTTPStatus
from urllib.parse import unquote

import pytest
from hpack import Decoder

from serinus_server.grpc_api.framing import IDENTITY, MessageReader, RefusedError, framed
from serinus_server.grpc_api.request_head import understood
from serinus_server.grpc_api.status import StatusCode, percent_encoded, trailers
from serinus_server.http2.header_block import Head
from serinus_server.inference import NOT_READY
from serinus_server.refusal import Refusal

LIMIT = 1000
MESSAGE = b"message" * 20


def read(body: bytes, encoding: bytes = IDENTITY, step: int = LIMIT) -> bytes:
    reader = MessageReader(LIMIT)
    for start in range(0, len(body), step):
        reader.feed(body[start : start + step])
    return reader.finish(encoding)


def compressed(content: bytes) -> bytes:
    return b"\1" + len(content).to_bytes(4, "big") + content


@pytest.mark.parametrize("step", [1, 3, 5, 6, 50, LIMIT])
@pytest.mark.parametrize("message", [b"", b"x", MESSAGE])
def test_a_message_is_the_same_however_it_comes(message: bytes, step: int) -> None:
    assert read(framed(message), step=step) == message


@pytest.mark.parametrize(("encoding", "deflate"), [(b"gzip", gzip.compress), (b"deflate", zlib.compress)])
def test_compressed_messages(encoding: bytes, deflate: object) -> None:
    assert callable(deflate)
    assert read(compressed(deflate(MESSAGE)), encoding) == MESSAGE
    assert read(framed(MESSAGE), encoding) == MESSAGE  # a message need not be compressed even so
    for wrong in (deflate(MESSAGE)[:-3], deflate(MESSAGE) + b"more", b"none"):
        assert refused(compressed(wrong), encoding).status == HTTPStatus.BAD_REQUEST
    bomb = compressed(deflate(b"\0" * 1_000_000)[:LIMIT])
    assert refused(bomb, encoding).status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE


def refused(body: bytes, encoding: bytes = IDENTITY) -> Refusal:
    with pytest.raises(RefusedError) as caught:
        read(body, encoding)
    return caught.value.refusal


@pytest.mark.parametrize(
    ("body", "status", "complaint"),
    [
        (b"", HTTPStatus.BAD_REQUEST, "the call has no message"),
        (b"\0\0", HTTPStatus.BAD_REQUEST, "the message ends within its prefix"),
        (framed(b"abc")[:-1], HTTPStatus.BAD_REQUEST, "the message ends after 2 of its 3 bytes"),
        (framed(b"abc") + b"d", HTTPStatus.BAD_REQUEST, "the call has more than one message"),
        (framed(b"") + framed(b""), HTTPStatus.BAD_REQUEST, "the call has more than one message"),
        (b"\2\0\0\0\0", HTTPStatus.BAD_REQUEST, "a message starts with 0 or 1, not with 2"),
        (compressed(b"x"), HTTPStatus.BAD_REQUEST, "there is no grpc-encoding"),
        (b"\0\0\0\3\xe9", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the message has 1001 bytes or more"),
    ],
)
def test_what_is_no_message_is_named(body: bytes, status: HTTPStatus, complaint: str) -> None:
    refusal = refused(body)
    assert refusal.status == status
    assert complaint in refusal.message


def head(*fields: tuple[bytes, bytes], method: bytes = b"POST") -> Head:
    pseudo = [(b":method", method), (b":scheme", b"http"), (b":path", b"/a/b")]
    return Head([*pseudo, (b"content-type", b"application/grpc"), *fields], set())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(b"1H", 3600), (b"2M", 120), (b"3S", 3), (b"40m", 0.04), (b"5u", 5e-6), (b"99999999n", 0.099999999), (b"0S", 0)],
)
def test_timeouts(text: bytes, seconds: float) -> None:
    assert understood(head((b"grpc-timeout", text))).timeout == pytest.approx(seconds)


@pytest.mark.parametrize("text", [b"", b"1", b"S", b"123456789S", b"-1S", b"1.5S", b"1s", b"1 S"])
def test_timeouts_that_are_none(text: bytes) -> None:
    refusal = understood(head((b"grpc-timeout", text))).refusal
    assert refusal is not None
    assert refusal.status == HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (b"application/grpc", None),
        (b"application/grpc+proto", None),
        (b"application/grpc;charset=utf-8", None),
        (b"application/grpc+json", HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
        (b"application/grpc-web", HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
        (b"application/json", HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    ],
)
def test_content_types(content_type: bytes, status: HTTPStatus | None) -> None:
    assert understood(head((b"content-type", content_type))).http_status == status


def test_other_methods_and_encodings_are_refused() -> None:
    assert understood(head(method=b"GET")).http_status == HTTPStatus.METHOD_NOT_ALLOWED
    refusal = understood(head((b"grpc-encoding", b"snappy"))).refusal
    assert refusal is not None
    assert "only with gzip or deflate" in refusal.message


def test_metadata_identify_the_client() -> None:
    found = understood(head((b"authorization", b"Bearer t"), (b"x-api-key", b"k"))).credentials
    assert (found.bearer, found.api_key) == (b"t", b"k")


@pytest.mark.parametrize("message", ["plain text: 'x' [1, 2]", "100 %", "é\n", "", "€" * 5000, "\ud800"])
def test_messages_are_percent_encoded(message: str) -> None:
    encoded = percent_encoded(message)
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    assert len(encoded) < 8000
    decoded = unquote(encoded.decode())
    assert decoded == message.encode(errors="replace").decode() or decoded == "€" * 682 + "..."


def test_trailers_of_a_refusal() -> None:
    refusal = Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "wait", "in_flight_requests", 0.0015)
    found = dict(Decoder().decode(trailers(refusal, (b"serinus-model-version", b"1")), raw=True))
    assert found == {
        b"grpc-status": b"%d" % StatusCode.RESOURCE_EXHAUSTED,
        b"grpc-message": b"wait",
        b"serinus-model-version": b"1",
        b"grpc-retry-pushback-ms": b"2",
    }
    loading = Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "loading", NOT_READY)
    assert dict(Decoder().decode(trailers(loading), raw=True))[b"grpc-status"] == b"%d" % StatusCode.UNAVAILABLE
