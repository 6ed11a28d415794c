"""Header blocks (HPACK, RFC 7541): those of requests decoded and checked, those of replies made.

Replies use no dynamic table, so that their blocks are constants. Decoding is the hpack library's, but for what repeats:
a client sends nearly the same block with each request, most of it indexes of a byte each.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from hpack import Decoder, HPACKError, OversizedHeaderListError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from serinus_server.http2.errors import ConnectionFault, ErrorCode

Field = tuple[bytes, bytes]

MAX_LIST_BYTES: Final = 16_384
"""How large a request's header list may be, counted as RFC 9113 does (section 6.5.2)."""

MAX_BLOCK_BYTES: Final = 65_536
"""Beyond this, compressed or not, the connection ends: the list is not even decoded to its end."""

_ENTRY_BYTES: Final = 32
_MAX_REMEMBERED: Final = 64
_MAX_REMEMBERED_BYTES: Final = 512
_FIRST_INDEX: Final = 0x81  # fields that are one byte: an index of a table's entry
_LAST_INDEX: Final = 0xFE
_INDEX_MASK: Final = 0x7F
_FIRST_NAME: Final = 0x41  # the index of a name, before a value that enters the table
_LAST_NAME: Final = 0x7E
_NAME_MASK: Final = 0x3F
_STATIC_TABLE: Final = HeaderTable.STATIC_TABLE
_STATIC_ENTRIES: Final = len(_STATIC_TABLE)
_SIZE_UPDATE_MASK: Final = 0xE0
_SIZE_UPDATE: Final = 0x20
_LONGEST_SHORT_LENGTH: Final = 0x7F

_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_BAD_VALUE: Final = re.compile(rb"[\0\r\n]|^[ \t]|[ \t]\Z")
_OF_A_REQUEST: Final = frozenset({b":method", b":scheme", b":path", b":authority"})
_OF_A_CONNECTION: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
_MAX_LENGTH_DIGITS: Final = 19


class MalformedError(Exception):
    """The fields are not those of a request (RFC 9113, section 8.1.1): an error of the stream alone."""


class Head:
    """The head of a request: pseudo-header fields, and the others in order.

    `content_length` is None where none is told; `too_large` is whether the list is larger than allowed. `note` is the
    application's, kept as long as the same block may come again.
    """

    __slots__ = ("authority", "content_length", "fields", "method", "note", "path", "scheme", "too_large")

    def __init__(self, fields: Sequence[Field], valid: set[Field], *, too_large: bool = False) -> None:
        """Fields that are `valid` need not be looked at again; others are added, if they are.

        Raises MalformedError.
        """
        pseudo: dict[bytes, bytes] = {}
        regular: list[Field] = []
        self.content_length: int | None = None
        for field in fields:
            name, value = field
            if name[:1] == b":":
                if regular or name not in _OF_A_REQUEST or name in pseudo:
                    raise MalformedError(f"the pseudo-header field {name!r} is unknown, given twice or misplaced")
                pseudo[name] = value
            else:
                if field not in valid:
                    _require_valid(name, value)
                    if len(valid) < _MAX_REMEMBERED and len(value) <= _MAX_REMEMBERED_BYTES:
                        valid.add(field)
                regular.append(field)
                if name == b"content-length":
                    self._declare(value)
        self.method = pseudo.get(b":method", b"")
        self.scheme = pseudo.get(b":scheme", b"")
        self.path = pseudo.get(b":path", b"")
        self.authority = pseudo.get(b":authority", b"")
        if not self.method or (self.method != b"CONNECT" and not (self.scheme and self.path)):
            raise MalformedError("a request needs :method, :scheme and :path")
        self.fields: Sequence[Field] = regular
        self.too_large = too_large
        self.note: Any = None

    def _declare(self, value: bytes) -> None:
        if not value.isdigit() or len(value) > _MAX_LENGTH_DIGITS:
            raise MalformedError("content-length is no number")
        length = int(value)
        if self.content_length not in {None, length}:
            raise MalformedError("content-length is given twice")
        self.content_length = length


def _require_valid(name: bytes, value: bytes) -> None:
    if not _NAME.fullmatch(name):
        raise MalformedError(f"{name!r} is no field name in lower case")
    if _BAD_VALUE.search(value):
        raise MalformedError(f"the value of {name!r} holds what a field may not")
    if name in _OF_A_CONNECTION or (name == b"te" and value != b"trailers"):
        raise MalformedError(f"{name!r} belongs to HTTP/1.1")


def require_trailers(fields: Iterable[Field]) -> None:
    """Check that these may follow a request's body; they say nothing to this server.

    Raises MalformedError.
    """
    for name, value in fields:
        _require_valid(name, value)


class HeaderDecoder:
    """Decodes the header blocks of one connection, in order."""

    def __init__(self) -> None:
        self._decoder = Decoder(max_header_list_size=MAX_BLOCK_BYTES)
        self._table = self._decoder.header_table
        self._valid: set[Field] = set()
        self._heads: dict[bytes, Head] = {}  # of blocks that mean the same as long as the table stays as it is

    def head(self, block: bytes) -> Head:
        """The head of a request.

        Raises ConnectionFault, or MalformedError.
        """
        known = self._heads.get(block)
        if known is not None:
            return known
        entries = self._table.dynamic_entries
        newest, count = (entries[0] if entries else None), len(entries)
        fields, size = self._decoded(block)
        changed = len(entries) != count or (entries and entries[0] is not newest)
        if changed or (block and block[0] & _SIZE_UPDATE_MASK == _SIZE_UPDATE):
            self._heads.clear()
            return Head(fields, self._valid, too_large=size > MAX_LIST_BYTES)
        head = Head(fields, self._valid, too_large=size > MAX_LIST_BYTES)
        if len(self._heads) < _MAX_REMEMBERED and len(block) <= _MAX_REMEMBERED_BYTES:
            self._heads[block] = head
        return head

    def fields(self, block: bytes) -> list[Field]:
        """The fields of a block that is no request's head.

        Raises ConnectionFault.
        """
        self._heads.clear()
        fields, _ = self._decoded(block)
        return fields

    def _decoded(self, block: bytes) -> tuple[list[Field], int]:
        """The fields of a block, and how large they are in all."""
        fields: list[Field] = []
        try:
            size, end = self._short_fields(block, fields)
            if end < len(block):
                rest = self._decoder.decode(block[end:] if end else block, raw=True)
                fields += rest
                size += sum(_ENTRY_BYTES + len(name) + len(value) for name, value in rest)
        except OversizedHeaderListError as error:
            message = f"a header list of more than {MAX_BLOCK_BYTES} bytes"
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, message) from error
        except (HPACKError, IndexError) as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, "a header block that is not HPACK") from error
        return fields, size

    def _short_fields(self, block: bytes, fields: list[Field]) -> tuple[int, int]:
        """Add the fields that a block starts with, of the two short kinds that clients send over and over: an entry by
        its index, and an entry's name with a short value for the table. Returns their size, and where they end.

        Raises IndexError for an entry that is not there.
        """
        entries, position, end, size = self._table.dynamic_entries, 0, len(block), 0
        while position < end:
            byte = block[position]
            if _FIRST_INDEX <= byte <= _LAST_INDEX:
                index = byte & _INDEX_MASK
                field = _STATIC_TABLE[index - 1] if index <= _STATIC_ENTRIES else entries[index - _STATIC_ENTRIES - 1]
                position += 1
            elif _FIRST_NAME <= byte <= _LAST_NAME and position + 1 < end:
                length = block[position + 1] & _INDEX_MASK
                after = position + 2 + length
                if length == _INDEX_MASK or after > end:
                    break
                value = block[position + 2 : after]
                if block[position + 1] != length:
                    value = decode_huffman(value)
                name = self._table.get_by_index(byte & _NAME_MASK)[0]
                self._table.add(name, value)
                field = (name, value)
                position = after
            else:
                break
            fields.append(field)
            size += _ENTRY_BYTES + len(field[0]) + len(field[1])
            if size > MAX_BLOCK_BYTES:
                raise OversizedHeaderListError("larger than allowed")
        if 0 < position < end and block[position] & _SIZE_UPDATE_MASK == _SIZE_UPDATE:
            raise HPACKError("a size update after the first field")
        return size, position


def encoded(fields: Iterable[Field]) -> bytes:
    """The block of these fields: literals that leave the other side's dynamic table alone."""
    return b"".join(b"\x00" + _string(name) + _string(value) for name, value in fields)


def _string(text: bytes) -> bytes:
    length = len(text)
    if length < _LONGEST_SHORT_LENGTH:
        return bytes((length,)) + text
    prefix = bytearray((_LONGEST_SHORT_LENGTH,))
    length -= _LONGEST_SHORT_LENGTH
    while length > _LONGEST_SHORT_LENGTH:
        prefix.append(0x80 | length & _LONGEST_SHORT_LENGTH)
        length >>= 7
    prefix.append(length)
    return bytes(prefix) + text
