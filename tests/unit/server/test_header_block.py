"""Header blocks: what is decoded is what hpack decodes, whether it was remembered or not, and what is made is valid."""

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from serinus_server.http2.errors import ConnectionFault
from serinus_server.http2.header_block import Field, HeaderDecoder, MalformedError, encoded

PSEUDO: list[Field] = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a"), (b":authority", b"h")]
TEXTS = st.text("abcdefg-0123456789", min_size=1, max_size=20).map(str.encode)
FIELDS = st.lists(st.tuples(st.sampled_from([b"te", b"x-a", b"x-b", b"grpc-timeout"]), TEXTS), max_size=5).map(
    lambda fields: [field if field[0] != b"te" else (b"te", b"trailers") for field in fields]
)


@given(st.lists(st.tuples(FIELDS, st.sampled_from([None, 0, 100, 4096]), st.booleans()), min_size=1, max_size=30))
def test_heads_are_what_their_client_has_encoded(requests: list[tuple[list[Field], int | None, bool]]) -> None:
    """However the client uses its table, and changes its size."""
    encoder, decoder = Encoder(), HeaderDecoder()
    for fields, table_size, repeats in requests:
        if table_size is not None:
            encoder.header_table_size = table_size
        for _ in range(3 if repeats else 1):
            head = decoder.head(encoder.encode([*PSEUDO, *fields]))
            assert list(head.fields) == fields
            assert (head.method, head.path, head.scheme, head.authority) == (b"POST", b"/a", b"http", b"h")


def test_a_block_is_remembered_only_while_it_means_the_same() -> None:
    encoder, decoder = Encoder(), HeaderDecoder()

    def head(number: int) -> bytes:
        return bytes(encoder.encode([*PSEUDO, (b"x-a", b"%d" % number)]))

    decoder.head(head(1))
    indexed = head(1)
    assert decoder.head(indexed) is decoder.head(indexed)
    before = decoder.head(indexed)
    decoder.head(head(2))  # moves every entry by one, so that the same indexes mean others
    again = head(1)
    assert decoder.head(again) is not before
    assert decoder.head(again).fields == [(b"x-a", b"1")]


@pytest.mark.parametrize(
    "block", [b"\x80", b"\xbe", b"\x82\x3f\x00", b"\x00\x85", b"\x40\x01a\x82\xff\xff\xff", b"\x7f"]
)
def test_what_is_no_hpack_is_refused(block: bytes) -> None:
    with pytest.raises(ConnectionFault):
        HeaderDecoder().head(block)


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_bytes_are_a_head_or_refused(first: bytes, second: bytes) -> None:
    decoder = HeaderDecoder()
    for block in (first, second, second):
        try:
            decoder.head(block)
        except MalformedError:
            continue
        except ConnectionFault:
            return


@pytest.mark.parametrize("length", [0, 1, 126, 127, 128, 254, 255, 300, 20_000])
def test_what_is_made_can_be_read(length: int) -> None:
    fields = [(b"name", b"v" * length), (b"n" * max(1, length), b"")]
    decoder = Decoder(max_header_list_size=100_000)
    assert decoder.decode(encoded(fields), raw=True) == fields
    assert not decoder.header_table.dynamic_entries
