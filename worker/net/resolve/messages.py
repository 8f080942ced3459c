"""DNS messages as far as a name server for containers needs them: read a query, write an answer (RFC 1035, 6891). Pure.

Only the question is ever read, and answers hold addresses or one name. dnspython reads and writes everything, and takes
ten times as long; the tests compare with it. What is forwarded is passed on as it came.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

A, PTR, AAAA, OPT, ANY = 1, 12, 28, 41, 255
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16

# What any client takes without saying so, what we send at most, and all that fits TCP's length field.
CLASSIC_SIZE = 512
LARGEST_DATAGRAM = 1232
LARGEST_MESSAGE = 0xFFFF

HEADER_SIZE = 12
_HEADER = struct.Struct("!HHHHHH")
_QUESTION_END = struct.Struct("!HH")
# The owner of every answer is the question's own name, by a pointer to where it always is.
_ANSWER = struct.Struct("!HHHIH")
_OWNER = 0xC000 | HEADER_SIZE
_OPT_FIELDS = struct.Struct("!HHIH")
_QR, _AA, _TC, _RD, _RA, _CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0010
_OPCODE = 0x7800
_ECHOED = _OPCODE | _RD | _CD
_LONGEST_NAME = 255
_LONGEST_LABEL = 63
_POINTER = 0xC0
# Records that a query may have after its question: an OPT and perhaps a signature. More is no query.
_MOST_EXTRA = 4


@dataclass(frozen=True, slots=True)
class Query:
    """A question. `name` is in lower case without its last dot; `question` has the bytes as they came.

    payload: the largest datagram that the client takes; None when it does not speak EDNS.
    rcode: not NOERROR when there is nothing to look up and this is the answer.
    """

    id: int
    flags: int
    name: str = ""
    type: int = 0
    question: bytes = b""
    payload: int | None = None
    rcode: int = NOERROR

    @property
    def datagram_size(self) -> int:
        return CLASSIC_SIZE if self.payload is None else max(CLASSIC_SIZE, min(self.payload, LARGEST_DATAGRAM))


class _MalformedError(ValueError):
    pass


def parse(packet: bytes) -> Query | None:
    """Read a query; None for what is none at all and gets no answer: too short, or an answer itself."""
    if len(packet) < HEADER_SIZE:
        return None
    number, flags, questions, answers, authorities, additional = _HEADER.unpack_from(packet)
    if flags & _QR:
        return None
    if flags & _OPCODE:
        return Query(number, flags, rcode=NOTIMP)
    extra = answers + authorities + additional
    if questions != 1 or extra > _MOST_EXTRA:
        return Query(number, flags, rcode=FORMERR)
    try:
        name, end = _name(packet, HEADER_SIZE)
        kind, group = _QUESTION_END.unpack_from(packet, end)
        end += _QUESTION_END.size
        payload, version = _edns(packet, end, extra) if extra else (None, 0)
    except (_MalformedError, struct.error, IndexError):
        return Query(number, flags, rcode=FORMERR)
    rcode = BADVERS if version else NOERROR if group in (IN, ANY) else REFUSED
    return Query(number, flags, name, kind, packet[HEADER_SIZE:end], payload, rcode)


def addresses_message(query: Query, addresses: Sequence[bytes], ttl: int, limit: int) -> bytes:
    """Write an answer with addresses (four bytes each, IPv6 ones sixteen): as many as fit `limit` bytes.

    It is marked if not all do.
    """
    room = limit - HEADER_SIZE - len(query.question) - _opt_size(query)
    fields = {4: _ANSWER.pack(_OWNER, A, IN, ttl, 4), 16: _ANSWER.pack(_OWNER, AAAA, IN, ttl, 16)}
    records = []
    for address in addresses:
        room -= _ANSWER.size + len(address)
        if room < 0:
            break
        records.append(fields[len(address)] + address)
    return _message(query, NOERROR, b"".join(records), len(records), own=True, cut=len(records) < len(addresses))


def name_message(query: Query, target: str, ttl: int) -> bytes:
    """Write an answer with a name (PTR)."""
    data = encode_name(target)
    return _message(query, NOERROR, _ANSWER.pack(_OWNER, PTR, IN, ttl, len(data)) + data, 1, own=True)


def empty_message(query: Query, rcode: int, *, own: bool) -> bytes:
    """Write an answer without records. `own`: with authority, not because somebody else could not be asked."""
    return _message(query, rcode, b"", 0, own=own)


def is_name(name: str) -> bool:
    """Whether a message can hold it as a name: what people call containers may be longer."""
    return len(name) <= _LONGEST_NAME - 2 and all(len(label) <= _LONGEST_LABEL for label in name.split("."))


def encode_name(name: str) -> bytes:
    """Write a name (`is_name`), each label with its length in front."""
    labels = [label.encode("latin-1") for label in name.split(".") if label]
    return b"".join([bytes((len(label),)) + label for label in labels]) + b"\0"


def answers_question(packet: bytes, number: int, question: bytes) -> bool:
    """Whether a packet answers what we asked: our number, and our question, byte for byte but for its case."""
    if len(packet) < HEADER_SIZE or packet[:2] != number.to_bytes(2) or not packet[2] & 0x80:
        return False
    return packet[HEADER_SIZE : HEADER_SIZE + len(question)].lower() == question.lower()


def is_truncated(packet: bytes) -> bool:
    return bool(packet[2] & (_TC >> 8))


def rcode_of(packet: bytes) -> int:
    return packet[3] & 0x0F


def _message(query: Query, rcode: int, records: bytes, count: int, *, own: bool, cut: bool = False) -> bytes:
    flags = _QR | _RA | (query.flags & _ECHOED) | (rcode & 0x0F)
    if own:
        flags |= _AA
    if cut:
        flags |= _TC
    speaks_edns = query.payload is not None
    header = _HEADER.pack(query.id, flags, 1 if query.question else 0, count, 0, 1 if speaks_edns else 0)
    opt = b"\0" + _OPT_FIELDS.pack(OPT, LARGEST_DATAGRAM, (rcode >> 4) << 24, 0) if speaks_edns else b""
    return b"".join((header, query.question, records, opt))


def _opt_size(query: Query) -> int:
    return 0 if query.payload is None else 1 + _OPT_FIELDS.size


def _name(packet: bytes, at: int) -> tuple[str, int]:
    """Read a name that is not compressed; return it and where it ends."""
    labels = []
    start = at
    while length := packet[at]:
        if length > _LONGEST_LABEL or at + length >= len(packet) or at + length - start > _LONGEST_NAME - 2:
            raise _MalformedError
        labels.append(packet[at + 1 : at + 1 + length])
        at += 1 + length
    return b".".join(labels).lower().decode("latin-1"), at + 1


def _edns(packet: bytes, at: int, records: int) -> tuple[int | None, int]:
    """Look for the OPT record among those after the question; return its payload size and version."""
    for _ in range(records):
        root = packet[at] == 0
        at = _skip_name(packet, at)
        kind, size, ttl, length = _OPT_FIELDS.unpack_from(packet, at)
        at += _OPT_FIELDS.size + length
        if at > len(packet):
            raise _MalformedError
        if kind == OPT:
            if not root:
                raise _MalformedError
            return size, ttl >> 16 & 0xFF
    return None, 0


def _skip_name(packet: bytes, at: int) -> int:
    while length := packet[at]:
        if length & _POINTER == _POINTER:
            return at + 2
        if length > _LONGEST_LABEL:
            raise _MalformedError
        at += 1 + length
    return at + 1
